/** Pure. What every JSON-RPC message has to be before its method is looked at, and which member names would be tricks. */
import { foldsOnto, type JsonNode, type KnownNames, knownNames, member, stringValue } from "../../json.ts";

const ENVELOPE = knownNames(["jsonrpc", "id", "method", "params", "result", "error"]);
/** Every member of `params` of either era: a Go upstream would read `Name` as `name`. */
const PARAMS = knownNames([
  ...["_meta", "name", "uri", "arguments", "inputResponses", "requestState", "task", "taskId", "cursor", "ref", "argument", "context"],
  ...["protocolVersion", "capabilities", "clientInfo", "level", "requestId", "reason", "progressToken", "progress", "total", "message"],
  ...["notifications", "logger", "data", "elicitationId"],
]);
/** Of `params.ref`: it names what a completion is about. */
const REFERENCE = knownNames(["type", "name", "uri"]);
/** Of `params._meta`: what the era and the life of a call hang on. */
const META = knownNames([
  ...["progressToken", "io.modelcontextprotocol/protocolVersion", "io.modelcontextprotocol/clientCapabilities"],
  ...["io.modelcontextprotocol/clientInfo", "io.modelcontextprotocol/logLevel"],
  "io.tollgate/idempotencyKey",
]);

/** Methods of the protocol have 42 characters at most; beyond this nothing is a method. */
const METHOD_BYTES_MAX = 128;
const ID_BYTES_MAX = 256;

/** What is wrong with the message, or null. `root` is an object. */
export function envelopeFault(root: JsonNode, body: Buffer): string | null {
  if (hasTwin(root, ENVELOPE)) return "a member that folds onto one of JSON-RPC";
  if (stringValue(body, member(root, "jsonrpc")) !== "2.0") return 'jsonrpc must be "2.0"';
  const id = member(root, "id");
  if (id !== undefined && readableId(body, id) === null) return "id must be a string or an integer";
  const method = member(root, "method");
  const result = member(root, "result");
  const error = member(root, "error");
  if (method !== undefined && readableMethod(body, method) === null) return "method must be a string of at most 128 bytes";
  if (method !== undefined && (result !== undefined || error !== undefined)) return "a request and a response at once";
  if (method === undefined && (result === undefined) === (error === undefined)) return "neither a request nor a response";
  const params = member(root, "params");
  return params === undefined ? null : paramsFault(params);
}

function paramsFault(params: JsonNode): string | null {
  if (params.kind !== "object") return "params must be an object";
  if (hasTwin(params, PARAMS)) return "a member that folds onto one of params";
  const ref = member(params, "ref");
  if (ref !== undefined && hasTwin(ref, REFERENCE)) return "a member that folds onto one of params.ref";
  const meta = member(params, "_meta");
  if (meta === undefined) return null;
  if (meta.kind !== "object") return "params._meta must be an object";
  return hasTwin(meta, META) ? "a member that folds onto one of params._meta" : null;
}

function hasTwin(node: JsonNode, known: KnownNames): boolean {
  return node.members.some(({ name }) => foldsOnto(name, known));
}

/** Null: no string, or longer than any method. */
export function readableMethod(body: Buffer, node: JsonNode | undefined): string | null {
  if (node === undefined || node.end - node.start > METHOD_BYTES_MAX + 2) return null;
  return stringValue(body, node) ?? null;
}

/** JSON-RPC ids in MCP are strings or integers; the text is kept as it stands, so that big integers survive. */
export function readableId(body: Buffer, node: JsonNode | undefined): string | null {
  if (node === undefined || node.end - node.start > ID_BYTES_MAX) return null;
  const text = body.toString("utf8", node.start, node.end);
  if (node.kind === "string") return text;
  return node.kind === "number" && /^-?(0|[1-9][0-9]*)$/.test(text) ? text : null;
}
