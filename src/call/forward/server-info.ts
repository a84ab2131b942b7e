/** Pure. Which version a server says that it is: nobody vouches for it, and a policy may still hold the server to it. */

/** Longer ones are no version. */
const VERSION_CHARACTERS_MAX = 64;

/** `serverInfo` of an `initialize` or `_meta`; null: no version that a policy could name. */
export function versionIn(serverInfo: unknown): string | null {
  const version = typeof serverInfo === "object" && serverInfo !== null ? (serverInfo as { version?: unknown }).version : undefined;
  return typeof version === "string" && version.length > 0 && version.length <= VERSION_CHARACTERS_MAX ? version : null;
}

/** 2026-07-28: any result may say it of its server. */
export function versionInMeta(result: Readonly<Record<string, unknown>> | undefined): string | null {
  const meta = result?._meta;
  return typeof meta === "object" && meta !== null
    ? versionIn((meta as Record<string, unknown>)["io.modelcontextprotocol/serverInfo"])
    : null;
}
