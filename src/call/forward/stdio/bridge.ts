/** Pure. What a server of the older era says, as clients of either era expect it. */
const MODERN_REVISION = "2026-07-28";
const LEGACY_REVISIONS = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

export type Initialized = Readonly<Record<string, unknown>>;

/** What the gateway itself says to a server that it has started. */
export const INITIALIZE = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "tollgate", version: "1" } };

/** A server that speaks none of our revisions cannot be served to anybody. */
export function isSpoken(initialized: Initialized): boolean {
  return typeof initialized.protocolVersion === "string" && LEGACY_REVISIONS.includes(initialized.protocolVersion);
}

/** The answer to a client's own `initialize`: the server's, in the client's revision, less what does not cross. */
export function initializeResult(initialized: Initialized, requested: unknown): Record<string, unknown> {
  const protocolVersion = typeof requested === "string" && LEGACY_REVISIONS.includes(requested) ? requested : LEGACY_REVISIONS[0];
  return { ...initialized, protocolVersion, capabilities: crossing(initialized.capabilities) };
}

/** The answer to `server/discover`, from the same handshake. */
export function discoverResult(initialized: Initialized): Record<string, unknown> {
  const { instructions, serverInfo } = initialized;
  return {
    resultType: "complete",
    supportedVersions: [MODERN_REVISION, ...LEGACY_REVISIONS],
    capabilities: crossing(initialized.capabilities),
    ...(instructions === undefined ? {} : { instructions }),
    ttlMs: 0,
    cacheScope: "private",
    _meta: { "io.modelcontextprotocol/serverInfo": serverInfo },
  };
}

/** Notifications beside a call and requests to the client do not cross a stdio server's bridge, so nothing that needs them is offered. */
function crossing(capabilities: unknown): Record<string, unknown> {
  const offered: Record<string, unknown> = {};
  if (typeof capabilities !== "object" || capabilities === null) return offered;
  for (const name of ["tools", "prompts", "resources", "completions"]) if (name in capabilities) offered[name] = {};
  return offered;
}
