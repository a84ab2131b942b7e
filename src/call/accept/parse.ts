/** Pure. A body and its headers become a message, or a refusal that still knows the id: both eras, strictly. */
import { isScanFault, type JsonNode, member, scanJson, stringValue } from "../../json.ts";
import { isRefusal, malformed, type Refusal, refuse } from "../../refusal.ts";
import { envelopeFault, readableId, readableMethod } from "./envelope.ts";
import { headerText } from "./header-text.ts";
import { KEY_MEMBER, keyIn, keySpanIn } from "./idempotency-key.ts";
import {
  aimOf,
  CLAIMABLE_REVISIONS,
  courseOf,
  isKnownIn,
  LEGACY_REVISIONS,
  MODERN_REVISION,
  nameMember,
  takesArguments,
} from "./methods.ts";
import type { Course, Era, FollowUp, Span, Target } from "./request.ts";

/** The headers that have to agree with the body; null where absent. */
export type MessageHeaders = {
  readonly protocolVersion: string | null;
  readonly mcpMethod: string | null;
  readonly mcpName: string | null;
  readonly idempotencyKey?: string | null;
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
  readonly followUp: FollowUp | null;
  /** Of a metered call; null elsewhere. */
  readonly idempotencyKey: string | null;
  /** The key in `_meta`, with its comma: it is said to the gateway, and goes no further. */
  readonly keySpan: Span | null;
};

/** A refused message still carries what could be read of it, so that the answer can echo the id. `course` null: not known. */
export type ParsedMessage =
  | { readonly message: Message; readonly refusal: null }
  | { readonly message: Omit<Message, "course"> & { readonly course: Course | null }; readonly refusal: Refusal };

const PROTOCOL_VERSION = "io.modelcontextprotocol/protocolVersion";
const CLIENT_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities";

export function parseMessage(body: Buffer, headers: MessageHeaders): ParsedMessage {
  const era: Era = headers.protocolVersion === MODERN_REVISION ? "modern" : "legacy";
  const unread = { ...NOTHING, era, revision: headers.protocolVersion };
  if (/^[ \t\r\n]*\[/.test(body.toString("latin1", 0, 64))) return { message: unread, refusal: malformed(-32600, "a JSON-RPC batch") };
  // Depth 3 holds the members of params.ref, params._meta and the names of params.arguments.
  const root = scanJson(body, { treeDepth: 3 });
  if (isScanFault(root)) return { message: unread, refusal: malformed(-32700, `${root.fault} at byte ${root.at}`) };
  if (root.kind === "array") return { message: unread, refusal: malformed(-32600, "a JSON-RPC batch") };
  if (root.kind !== "object") return { message: unread, refusal: malformed(-32600, "not an object") };
  const idNode = member(root, "id");
  const idText = readableId(body, idNode);
  const method = readableMethod(body, member(root, "method"));
  const partly = { ...unread, method, idText, idSpan: idText === null ? null : spanOf(idNode) };
  const fault = envelopeFault(root, body);
  if (fault !== null) return { message: partly, refusal: malformed(-32600, fault) };
  const params = member(root, "params");
  const verdict = eraOf(method, params, body, headers);
  const known = { ...partly, era: verdict.era, revision: verdict.revision };
  if (verdict.refusal !== null) return { message: { ...known, course: courseFor(method) }, refusal: verdict.refusal };
  return method === null ? parseResponse(known) : parseMethod(known, method, params, body, headers);
}

function courseFor(method: string | null): Course {
  if (method === null) return "response";
  return isNotification(method) ? "notification" : courseOf(method);
}

function isNotification(method: string): boolean {
  return method.startsWith("notifications/");
}

type EraVerdict = { readonly era: Era; readonly revision: string | null; readonly refusal: Refusal | null };

/** The body decides; a header that disagrees is refused (MCP 2026-07-28, Streamable HTTP, Server Validation). */
function eraOf(method: string | null, params: JsonNode | undefined, body: Buffer, { protocolVersion }: MessageHeaders): EraVerdict {
  const claim = metaMember(params, PROTOCOL_VERSION);
  if (claim !== undefined) {
    const claimed = stringValue(body, claim) ?? null;
    if (claimed === null) return { era: "modern", revision: null, refusal: malformed(-32602, "params._meta protocolVersion is no string") };
    if (claimed !== protocolVersion) return { era: "modern", revision: claimed, refusal: MISMATCHED_VERSION };
    return { era: "modern", revision: claimed, refusal: claimed === MODERN_REVISION ? null : unsupported(claimed) };
  }
  if (protocolVersion === null) return { era: "legacy", revision: null, refusal: null };
  if (protocolVersion === MODERN_REVISION) {
    // The handshake of the older era under the newer one's header: body and header disagree.
    return { era: "modern", revision: protocolVersion, refusal: method === "initialize" ? MISMATCHED_VERSION : null };
  }
  const isKnown = LEGACY_REVISIONS.includes(protocolVersion);
  return { era: "legacy", revision: protocolVersion, refusal: isKnown ? null : malformed(-32600, "an unknown MCP-Protocol-Version") };
}

const MISMATCHED_VERSION = refuse("header_mismatch", { header: "MCP-Protocol-Version" });

function unsupported(revision: string): Refusal {
  return refuse("revision_unsupported", { supported: CLAIMABLE_REVISIONS, requested: revision.slice(0, 32).toWellFormed() });
}

type Known = Omit<Message, "course">;

/** Answers to a server's own requests exist in the legacy era only. */
function parseResponse(known: Known): ParsedMessage {
  const message: Message = { ...known, course: "response" };
  if (known.era === "modern") return { message, refusal: malformed(-32600, "a client posts no responses in this revision") };
  return known.idText === null ? { message, refusal: malformed(-32600, "a response without an id") } : { message, refusal: null };
}

function parseMethod(known: Known, method: string, params: JsonNode | undefined, body: Buffer, headers: MessageHeaders): ParsedMessage {
  const message: Message = { ...known, course: courseFor(method), target: { kind: "method", name: method } };
  if (isNotification(method) && known.idText !== null) return { message, refusal: malformed(-32600, "a notification with an id") };
  if (!isNotification(method) && known.idText === null) {
    return { message: { ...message, course: null }, refusal: malformed(-32600, "a request without an id") };
  }
  const disagreement = known.era === "modern" ? modernFault(method, params, body, headers) : null;
  if (disagreement !== null) return { message, refusal: disagreement };
  if (!isKnownIn(known.era, method)) return { message, refusal: refuse("method_unknown") };
  const aim = aimOf(method, params, body);
  if ("lacks" in aim) return { message, refusal: malformed(-32602, aim.lacks) };
  // No text of PostgreSQL holds it: a call of such a tool could be made and never be billed there.
  if (aim.target.name.includes("\0")) return { message, refusal: malformed(-32602, "no name and no URI holds U+0000") };
  const args = params === undefined ? undefined : member(params, "arguments");
  if (takesArguments(method) && args !== undefined && args.kind !== "object") {
    return { message, refusal: malformed(-32602, "params.arguments must be an object") };
  }
  const key = message.course === "metered" ? keyIn(headers.idempotencyKey ?? null, body, metaMember(params, KEY_MEMBER)) : null;
  if (isRefusal(key)) return { message, refusal: key };
  return {
    message: {
      ...message,
      idempotencyKey: key,
      keySpan: params === undefined ? null : keySpanIn(member(params, "_meta")),
      target: aim.target,
      targetSpan: spanOf(aim.node),
      // Elsewhere a member of that name is nobody's: rules must not judge what the server does not read.
      argumentsSpan: args?.kind === "object" && takesArguments(method) ? spanOf(args) : null,
      progressTokenSpan: spanOf(metaMember(params, "progressToken")),
      followUp: known.era === "modern" ? followUpOf(params, body) : null,
    },
    refusal: null,
  };
}

/** What 2026-07-28 asks of every request: its `_meta`, and headers that repeat the body (SEP-2243). */
function modernFault(method: string, params: JsonNode | undefined, body: Buffer, headers: MessageHeaders): Refusal | null {
  // The headers are mandatory on requests; on a notification one that stands there must still be true.
  if (isNotification(method)) return headers.mcpMethod === null || headers.mcpMethod === method ? null : mismatch("Mcp-Method");
  if (metaMember(params, PROTOCOL_VERSION) === undefined) return malformed(-32602, "params._meta lacks protocolVersion");
  if (metaMember(params, CLIENT_CAPABILITIES)?.kind !== "object") return malformed(-32602, "params._meta lacks clientCapabilities");
  if (headers.mcpMethod !== method) return mismatch("Mcp-Method");
  const key = nameMember(method);
  if (key === null) return null;
  const name = params === undefined ? undefined : stringValue(body, member(params, key));
  if (name === undefined) return malformed(-32602, `params.${key} must be a string`);
  return headers.mcpName !== null && headerText(headers.mcpName) === name ? null : mismatch("Mcp-Name");
}

/** The client repeats its request with what the server asked for, or with the state that the server gave it. */
function followUpOf(params: JsonNode | undefined, body: Buffer): FollowUp | null {
  if (params === undefined) return null;
  const state = member(params, "requestState");
  if (state === undefined && member(params, "inputResponses") === undefined) return null;
  return { requestState: stringValue(body, state) ?? null };
}

function mismatch(header: string): Refusal {
  return refuse("header_mismatch", { header });
}

function metaMember(params: JsonNode | undefined, name: string): JsonNode | undefined {
  const meta = params === undefined ? undefined : member(params, "_meta");
  return meta === undefined ? undefined : member(meta, name);
}

function spanOf(node: JsonNode | null | undefined): Span | null {
  return node === null || node === undefined ? null : { start: node.start, end: node.end };
}

const NOTHING: Omit<Message, "course"> & { readonly course: null } = {
  course: null,
  era: "legacy",
  revision: null,
  method: null,
  idText: null,
  idSpan: null,
  target: null,
  targetSpan: null,
  argumentsSpan: null,
  progressTokenSpan: null,
  followUp: null,
  idempotencyKey: null,
  keySpan: null,
};
