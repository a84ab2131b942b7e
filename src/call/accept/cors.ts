/** What a browser may do here: listed origins are echoed one by one, never `*`, never with credentials. */
import type { ServerResponse } from "node:http";
import type { Headers } from "./door.ts";

const REQUEST_HEADERS = new Set([
  ...["authorization", "content-type", "accept", "dpop", "last-event-id", "traceparent", "tracestate", "baggage"],
  ...["mcp-protocol-version", "mcp-method", "mcp-name", "mcp-session-id", "idempotency-key"],
]);
const EXPOSED = "mcp-session-id, mcp-protocol-version, www-authenticate, retry-after, ratelimit, ratelimit-policy";
/** Ten minutes: what browsers keep at most, give or take. */
const PREFLIGHT_SECONDS = "600";

/** An origin that reaches this point is an allowed one. */
export function allowOrigin(response: ServerResponse, origin: string | undefined, origins: ReadonlySet<string>): void {
  // Without an origin as well: a cached answer must not be reused for a page of another one.
  if (origins.size > 0) response.setHeader("vary", "Origin");
  if (origin === undefined) return;
  response.setHeader("access-control-allow-origin", origin);
  response.setHeader("access-control-expose-headers", EXPOSED);
}

export function isPreflight(method: string | undefined, headers: Headers): boolean {
  return method === "OPTIONS" && headers.has("origin") && headers.has("access-control-request-method");
}

export function answerPreflight(response: ServerResponse, headers: Headers): void {
  const asked = (headers.get("access-control-request-headers") ?? "").split(",").map((name) => name.trim().toLowerCase());
  const allowed = asked.filter((name) => REQUEST_HEADERS.has(name) || /^mcp-param-[a-z0-9-]{1,64}$/.test(name));
  response
    .writeHead(204, {
      "access-control-allow-methods": "POST, GET, DELETE",
      "access-control-allow-headers": allowed.join(", "),
      "access-control-max-age": PREFLIGHT_SECONDS,
    })
    .end();
}
