/** Pure. Credentials that need no request: made once; one that cannot stand in a header stops the start, without being shown. */
import type { IssuedToken } from "./issued-token.ts";
import { isFieldValue, redacted } from "./redact.ts";
import type { ServerCredential } from "./server-credential.ts";

export function fixedTokens(servers: ReadonlyMap<string, ServerCredential>): ReadonlyMap<string, IssuedToken> {
  const fixed = new Map<string, IssuedToken>();
  for (const [server, credential] of servers) {
    const headers = fixedHeaders(credential);
    if (headers === null) continue;
    if (!Object.values(headers).every(isFieldValue)) throw new Error(`the credential of server ${server} cannot stand in a header`);
    fixed.set(server, { kind: credential.kind, headers: redacted(headers), expiresAtMs: null, shareKey: credential.kind });
  }
  return fixed;
}

function fixedHeaders(credential: ServerCredential): Readonly<Record<string, string>> | null {
  switch (credential.kind) {
    case "none":
    case "mtls":
      return {};
    case "bearer":
      return { authorization: `Bearer ${credential.bearer.reveal()}` };
    case "header":
      return { [credential.name.toLowerCase()]: credential.value.reveal() };
    case "basic":
      return { authorization: `Basic ${Buffer.from(`${credential.username}:${credential.password.reveal()}`).toString("base64")}` };
    default:
      return null;
  }
}
