/** Pure. Which targets are ours, byte by byte: nothing is decoded, folded or tried a second time. */

/** What our routes are made of beside `/mcp/{server}`: no dot segments, no encodings, no doubled slashes, no parameters. */
const PLAIN = /^(?:\/\.well-known)?(?:\/[A-Za-z0-9_-][A-Za-z0-9._-]*)+(?:\?[!-~]*)?$/;
const OAUTH = /^\/(?:oauth\/|\.well-known\/(?:oauth-authorization-server|openid-configuration)(?:\?|$))/;

export function isPlainTarget(target: string): boolean {
  return PLAIN.test(target);
}

export function isOAuthRoute(target: string): boolean {
  return OAUTH.test(target);
}
