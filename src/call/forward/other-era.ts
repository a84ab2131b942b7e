/** Pure. A request as a server of another era, or in a session of the gateway's own, expects it. */
import { type Edit, isScanFault, type JsonNode, member, scanJson } from "../../json.ts";
import type { McpRequest } from "../accept/request.ts";
import { edited, headerValue } from "./edited-request.ts";
import type { Session } from "./http-own-words.ts";
import { type ParameterHeader, valuesOf } from "./parameter-headers.ts";

const REVISION = "2026-07-28";
const PREFIX = "io.modelcontextprotocol/";
/** The client's own capabilities are of another era: nothing is promised that it could not do (MCP 2026-07-28, `_meta`). */
const META = [
  [`${PREFIX}protocolVersion`, `"${REVISION}"`],
  [`${PREFIX}clientCapabilities`, "{}"],
] as const;

/** To a server of 2025-11-25 or older: under an id of ours, in the session, with none of the newer headers. */
export function withinSession(request: McpRequest, session: Session, idText: string): McpRequest {
  const { traceparent, tracestate, baggage, "idempotency-key": key } = request.forwarded;
  const kept = { traceparent, tracestate, baggage, "idempotency-key": key };
  const ofAnyEra = Object.fromEntries(Object.entries(kept).filter(([, value]) => value !== undefined));
  return {
    ...(request.idSpan === null ? request : edited(request, [{ ...request.idSpan, replacement: Buffer.from(idText) }])),
    era: "legacy",
    revision: session.revision,
    idText,
    sessionId: session.id,
    lastEventId: null,
    forwarded: { ...ofAnyEra, "mcp-protocol-version": session.revision },
  };
}

/** From a client of 2025-11-25 or older to a server of 2026-07-28: self-describing, with the headers that repeat the body. */
export function modernised(request: McpRequest, parameterHeaders: readonly ParameterHeader[] = []): McpRequest {
  const { method, target, forwarded } = request;
  const { "mcp-protocol-version": _, ...rest } = forwarded;
  const named = method === "tools/call" || method === "prompts/get" || method === "resources/read";
  return {
    ...edited(request, metaEdits(request.body)),
    era: "modern",
    revision: REVISION,
    sessionId: null,
    lastEventId: null,
    forwarded: {
      ...rest,
      "mcp-protocol-version": REVISION,
      "mcp-method": method ?? "",
      ...(named && target !== null ? { "mcp-name": headerValue(target.name) } : {}),
      ...valuesOf(request, parameterHeaders),
    },
  };
}

/** A client of the older era has no right to these names: what it put there is replaced. */
function metaEdits(body: Buffer): Edit[] {
  const root = scanJson(body, { treeDepth: 3 });
  if (isScanFault(root)) throw new Error("a request is judged before it crosses");
  const params = member(root, "params");
  const meta = params === undefined ? undefined : member(params, "_meta");
  const members = META.map(([name, value]) => `"${name}":${value}`).join(",");
  if (params === undefined) return [within(root, `"params":{"_meta":{${members}}}`)];
  if (meta?.kind !== "object") return [within(params, `"_meta":{${members}}`)];
  const edits: Edit[] = [];
  const missing: string[] = [];
  for (const [name, value] of META) {
    const there = member(meta, name);
    if (there === undefined) missing.push(`"${name}":${value}`);
    else edits.push({ start: there.start, end: there.end, replacement: Buffer.from(value) });
  }
  return missing.length === 0 ? edits : [within(meta, missing.join(",")), ...edits];
}

function within(object: JsonNode, members: string): Edit {
  const at = object.start + 1;
  return { start: at, end: at, replacement: Buffer.from(object.members.length === 0 ? members : `${members},`) };
}
