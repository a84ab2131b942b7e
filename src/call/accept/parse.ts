/** Pure. A body and its headers become a message, or a refusal that still knows the id: both eras, strictly. */
import { foldsOnto, isScanFault, type JsonNode, member, scanJson, stringValue } from "../../json.ts";
import { malformed, type Refusal, refuse } from "../../refusal.ts";
import { headerText } from "./header-text.ts";
import { aimOf, courseOf, LEGACY_REVISIONS, MODERN_REVISION, nameMember, SUPPORTED_REVISIONS } from "./methods.ts";
import type { Course, Era, Span, Target } from "./request.ts";

/** The headers that have to agree with the body; null where absent. */
export type MessageHeaders = {
  readonly protocolVersion: string | null;
  readonly mcpMethod: string | null;
  readonly mcpName: string | null;
};

export type Message = {
  readonly course: Course;
  readonly era: Era;
  readonly revision: string | null;
  readonly method: string | null;
  readonly idText: string | null;
  readonly idSpan: Span | null;
  readonly target: Target | null;
  readonly targetSpan: Span | null;
  readonly argumentsSpan: Span | null;
  readonly progressTokenSpan: Span | null;
};

/** A refused message still carries what could be read of it, so that the answer can echo the id. */
export type ParsedMessage = { readonly message: Message; readonly refusal: Refusal | null };

export function parseMessage(body: Buffer, headers: MessageHeaders): ParsedMessage {
  const headerEra: Era = headers.protocolVersion === MODERN_REVISION ? "modern" : "legacy";
  const unread: Message = { ...NOTHING, era: headerEra, revision: headers.protocolVersion };
  const root = scanJson(body, { treeDepth: 4 });
  if (isScanFault(root)) return { message: unread, refusal: malformed(-32700, `${root.fault} at byte ${root.at}`) };
  if (root.kind === "array") return { message: unread, refusal: malformed(-32600, "a JSON-RPC batch") };
  if (root.kind !== "object") return { message: unread, refusal: malformed(-32600, "not an object") };
  return parseEnvelope(root, body, headers, unread);
}

function parseEnvelope(root: JsonNode, body: Buffer, headers: MessageHeaders, unread: Message): ParsedMessage {
  const idNode = member(root, "id");
  const idText = idNode === undefined ? null : readableId(body, idNode);
  const method = stringValue(body, member(root, "method")) ?? null;
  const partly: Message = { ...unread, method, idText, idSpan: idText === null || idNode === undefined ? null : spanOf(idNode) };
  const fault = envelopeFault(root, body, idNode !== undefined && idText === null);
  if (fault !== null) return { message: partly, refusal: malformed(-32600, fault) };
  const params = member(root, "params");
  const era = eraOf(params, body, headers);
  const known: Message = { ...partly, era: era.era, revision: era.revision };
  if (era.refusal !== null) return { message: known, refusal: era.refusal };
  return method === null ? parseResponse(known) : parseMethod(known, method, params, body, headers);
}

const ENVELOPE = new Set(["jsonrpc", "id", "method", "params", "result", "error"]);
const PARAMS = new Set(
  [
    "name",
    "uri",
    "arguments",
    "_meta",
    "cursor",
    "ref",
    "argument",
    "context",
    "level",
    "capabilities",
    "reason",
    "task",
    "total",
    "message",
    "progress",
  ].concat(
    // Folded forms of the camel-case ones: what a folding parser would take for them.
    ["inputresponses", "requeststate", "protocolversion", "clientinfo", "taskid", "requestid", "progresstoken"],
  ),
);
const CAMEL_PARAMS = new Set(["inputResponses", "requestState", "protocolVersion", "clientInfo", "taskId", "requestId", "progressToken"]);

function envelopeFault(root: JsonNode, body: Buffer, badId: boolean): string | null {
  for (const { name } of root.members) if (foldsOnto(name, ENVELOPE)) return "a member that folds onto one of JSON-RPC";
  if (stringValue(body, member(root, "jsonrpc")) !== "2.0") return 'jsonrpc must be "2.0"';
  if (badId) return "id must be a string or an integer";
  const method = member(root, "method");
  const result = member(root, "result");
  const error = member(root, "error");
  if (method !== undefined && method.kind !== "string") return "method must be a string";
  if (method !== undefined && (result !== undefined || error !== undefined)) return "a request and a response at once";
  if (method === undefined && (result === undefined) === (error === undefined)) return "neither a request nor a response";
  if (method !== undefined && method.end - method.start > 130) return "method is too long";
  const params = member(root, "params");
  if (params === undefined) return null;
  if (params.kind !== "object") return "params must be an object";
  for (const { name } of params.members) {
    if (!CAMEL_PARAMS.has(name) && foldsOnto(name, PARAMS)) return "a member that folds onto one of params";
    // `requeststate` itself is not a member of the protocol; a folding parser would read it as requestState.
    if (!CAMEL_PARAMS.has(name) && PARAMS.has(name) && FOLDED_CAMEL.has(name)) return "a member that folds onto one of params";
  }
  return null;
}

const FOLDED_CAMEL = new Set([...CAMEL_PARAMS].map((name) => name.toLowerCase()));

type EraVerdict = { readonly era: Era; readonly revision: string | null; readonly refusal: Refusal | null };

/** The body decides; a header that disagrees is refused (MCP 2026-07-28, Streamable HTTP, Server Validation). */
function eraOf(params: JsonNode | undefined, body: Buffer, { protocolVersion }: MessageHeaders): EraVerdict {
  const meta = params === undefined ? undefined : member(params, "_meta");
  const claim = meta === undefined ? undefined : member(meta, "io.modelcontextprotocol/protocolVersion");
  if (claim !== undefined) {
    const claimed = stringValue(body, claim) ?? null;
    if (claimed !== protocolVersion)
      return { era: "modern", revision: claimed, refusal: refuse("header_mismatch", { header: "MCP-Protocol-Version" }) };
    return { era: "modern", revision: claimed, refusal: claimed === MODERN_REVISION ? null : unsupported(claimed) };
  }
  if (protocolVersion === null) return { era: "legacy", revision: null, refusal: null };
  if (protocolVersion === MODERN_REVISION) return { era: "modern", revision: protocolVersion, refusal: null };
  return {
    era: "legacy",
    revision: protocolVersion,
    refusal: LEGACY_REVISIONS.includes(protocolVersion) ? null : unsupported(protocolVersion),
  };
}

function unsupported(revision: string | null): Refusal {
  return refuse("revision_unsupported", { supported: SUPPORTED_REVISIONS, requested: (revision ?? "").slice(0, 32) });
}

/** Answers to a server's own requests exist in the legacy era only. */
function parseResponse(known: Message): ParsedMessage {
  const message: Message = { ...known, course: "response" };
  if (known.era === "modern") return { message, refusal: malformed(-32600, "a client posts no responses in this revision") };
  return { message, refusal: known.idText === null ? malformed(-32600, "a response without an id") : null };
}

function parseMethod(known: Message, method: string, params: JsonNode | undefined, body: Buffer, headers: MessageHeaders): ParsedMessage {
  const notification = method.startsWith("notifications/");
  const course = notification ? "notification" : courseOf(method);
  const message: Message = { ...known, course, target: { kind: "method", name: method } };
  if (notification !== (known.idText === null)) {
    return { message, refusal: malformed(-32600, notification ? "a notification with an id" : "a request without an id") };
  }
  const aim = aimOf(method, params, body);
  const disagreement = known.era === "modern" ? modernFault(method, params, body, headers, notification) : null;
  if (disagreement !== null) return { message, refusal: disagreement };
  if ("lacks" in aim) return { message, refusal: malformed(-32602, aim.lacks) };
  const args = params === undefined ? undefined : member(params, "arguments");
  if (args !== undefined && args.kind !== "object") return { message, refusal: malformed(-32602, "params.arguments must be an object") };
  const meta = params === undefined ? undefined : member(params, "_meta");
  const progressToken = meta === undefined ? undefined : member(meta, "progressToken");
  return {
    message: {
      ...message,
      target: aim.target,
      targetSpan: aim.node === null ? null : spanOf(aim.node),
      argumentsSpan: args === undefined ? null : spanOf(args),
      progressTokenSpan: progressToken === undefined ? null : spanOf(progressToken),
    },
    refusal: null,
  };
}

/** What 2026-07-28 asks of every request: its `_meta`, and headers that repeat the body (SEP-2243). */
function modernFault(
  method: string,
  params: JsonNode | undefined,
  body: Buffer,
  headers: MessageHeaders,
  notification: boolean,
): Refusal | null {
  const meta = params === undefined ? undefined : member(params, "_meta");
  if (!notification) {
    const version = meta === undefined ? undefined : member(meta, "io.modelcontextprotocol/protocolVersion");
    const capabilities = meta === undefined ? undefined : member(meta, "io.modelcontextprotocol/clientCapabilities");
    if (version === undefined || capabilities?.kind !== "object")
      return malformed(-32602, "params._meta lacks protocolVersion or clientCapabilities");
  }
  if (headers.mcpMethod !== method) return refuse("header_mismatch", { header: "Mcp-Method" });
  const key = nameMember(method);
  if (key === null) return null;
  const name = params === undefined ? undefined : stringValue(body, member(params, key));
  if (name === undefined) return malformed(-32602, `params.${key} must be a string`);
  const said = headers.mcpName === null ? null : headerText(headers.mcpName);
  return said === name ? null : refuse("header_mismatch", { header: "Mcp-Name" });
}

/** JSON-RPC ids in MCP are strings or integers; the text is kept as it stands, so that big integers survive. */
function readableId(body: Buffer, node: JsonNode): string | null {
  if (node.end - node.start > ID_BYTES_MAX) return null;
  const text = body.toString("utf8", node.start, node.end);
  if (node.kind === "string") return text;
  return node.kind === "number" && /^-?(0|[1-9][0-9]*)$/.test(text) ? text : null;
}

const ID_BYTES_MAX = 256;

function spanOf(node: JsonNode): Span {
  return { start: node.start, end: node.end };
}

const NOTHING: Message = {
  course: "other",
  era: "legacy",
  revision: null,
  method: null,
  idText: null,
  idSpan: null,
  target: null,
  targetSpan: null,
  argumentsSpan: null,
  progressTokenSpan: null,
};
