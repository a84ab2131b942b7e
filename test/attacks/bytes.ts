/** Pure. An attack's request as the bytes that leave: placeholders filled in, nothing normalised, nothing repaired. */
import type { BuiltRequest, Request, Scene } from "./attack.ts";

/** What `{{...}}` stands for. */
export type Fill = {
  /** Unique to one request of one attack in one mode. */
  readonly mark: string;
  readonly userAgent: string;
  readonly host: string;
  readonly session: string;
  accessToken(who: string, server: string): string;
  /** What an attacker makes of a good token. */
  forged(name: string, token: string): string;
  readonly publicUrl: string;
  /** Of `agent`, as the authorization server knows it. */
  readonly client: { readonly id: string; readonly secret: string };
};

type Sender = Pick<Request, "as" | "server">;

/** node sends headers of any length: `{{times:200000:a}}` is 200,000 letters. */
const PLACEHOLDER =
  /\{\{(mark|agent|host|session|head|call|smuggled|token|token:([a-z-]+)@([a-z-]+)|forged:([a-z-]+)|secret|client|url|times:([0-9]+):((?:\{\{.*?\}\}|.)+?))\}\}/gs;

export function filled(text: string, request: Sender, fill: Fill): string {
  return text.replace(
    PLACEHOLDER,
    (_, what: string, who: string | undefined, server: string | undefined, forgery: string | undefined, times: string, each: string) => {
      if (what === "mark") return fill.mark;
      if (what === "agent") return fill.userAgent;
      if (what === "host") return fill.host;
      if (what === "session") return fill.session;
      if (what === "head") return headOf(request, fill);
      if (what === "call") return callOf(fill);
      if (what === "smuggled") return smuggled(request, fill);
      if (forgery !== undefined)
        return fill.forged(forgery, fill.accessToken(request.as === "nobody" ? "agent" : request.as, request.server));
      if (what === "url") return fill.publicUrl;
      if (what === "client") return fill.client.id;
      if (what === "secret") return fill.client.secret;
      if (what.startsWith("token")) return fill.accessToken(who ?? request.as, server ?? request.server);
      return filled(each, request, fill).repeat(Number(times));
    },
  );
}

/** Of a good request, but for what says how long it is. */
function headOf(request: Sender, fill: Fill): string {
  return filled(HEAD, request, fill);
}

const HEAD =
  "Host: {{host}}\r\nUser-Agent: {{agent}}\r\nAuthorization: Bearer {{token}}\r\nContent-Type: application/json\r\n" +
  "Accept: application/json, text/event-stream\r\n";

/** The end of a head, and its body. */
function callOf({ mark }: Fill): string {
  const call = { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "echo", arguments: { text: mark } } };
  const body = JSON.stringify(call);
  return `Content-Length: ${body.length}\r\n\r\n${body}`;
}

/** A whole good call: what an attacker hides behind a request whose end is in doubt. */
function smuggled(request: Sender, fill: Fill): string {
  return `POST /mcp/modern HTTP/1.1\r\n${headOf(request, fill)}${callOf(fill)}`;
}

export function piecesOf(request: Request, fill: Fill): Buffer[] {
  if ("raw" in request) return request.raw.map((piece) => Buffer.from(filled(piece, request, fill), "latin1"));
  const body = bodyOf(request, fill);
  const headers = headersOf(request, body, fill);
  const lines = [...headers].flatMap(([name, values]) => values.map((value) => `${name}: ${value}\r\n`));
  const target = filled(request.path ?? `/mcp/${request.server}`, request, fill);
  const head = Buffer.from(`${request.method} ${target} HTTP/1.1\r\n${lines.join("")}\r\n`, "latin1");
  return [Buffer.concat([head, ...(request.chunkBytes === undefined ? [body ?? EMPTY] : chunked(body ?? EMPTY, request.chunkBytes))])];
}

/** The audit record and the servers behind are searched for it: an attack without its mark would be judged by nothing. */
export function bearsMark(scene: Scene, pieces: readonly Buffer[], { userAgent }: Fill): boolean {
  return scene.recorded === "counted" || Buffer.concat(pieces).includes(userAgent);
}

const EMPTY = Buffer.alloc(0);

function bodyOf(request: BuiltRequest, fill: Fill): Buffer | null {
  const { message, body, hex } = request;
  if (message !== undefined) return Buffer.from(filled(JSON.stringify(messageOf(message, request.era)), request, fill));
  if (body !== undefined) return Buffer.from(filled(body, request, fill));
  return hex === undefined ? null : Buffer.from(hexOf(hex, request, fill).replace(/\s/g, ""), "hex");
}

/** Placeholders in a hex body stand for their texts in UTF-8. */
function hexOf(hex: string, request: BuiltRequest, fill: Fill): string {
  return hex.replace(PLACEHOLDER, (placeholder) => Buffer.from(filled(placeholder, request, fill)).toString("hex"));
}

const MODERN_META = {
  "io.modelcontextprotocol/protocolVersion": "2026-07-28",
  // Without the extension nothing would be said of tasks.
  "io.modelcontextprotocol/clientCapabilities": { extensions: { "io.modelcontextprotocol/tasks": {} } },
};

function messageOf(message: Record<string, unknown>, era: BuiltRequest["era"]): Record<string, unknown> {
  const { params } = message;
  const isNotification = String(message.method).startsWith("notifications/");
  const whole = { jsonrpc: "2.0", ...(isNotification ? {} : { id: "{{mark}}" }), ...message };
  if (era === "legacy" || (params !== undefined && (typeof params !== "object" || params === null || Array.isArray(params)))) return whole;
  return { ...whole, params: { _meta: MODERN_META, ...params } };
}

/** Null takes a header away, a list gives it several times. */
function headersOf(request: BuiltRequest, body: Buffer | null, fill: Fill): Map<string, readonly string[]> {
  const headers = new Map<string, readonly string[]>();
  const set = (name: string, value: string | null | readonly string[]) => {
    if (value === null) headers.delete(name.toLowerCase());
    else headers.set(name.toLowerCase(), typeof value === "string" ? [value] : value);
  };
  set("host", fill.host);
  set("user-agent", fill.userAgent);
  set("connection", "close");
  set("accept", "application/json, text/event-stream");
  set("mcp-protocol-version", request.era === "modern" ? "2026-07-28" : "2025-11-25");
  if (request.as !== "nobody") set("authorization", `Bearer ${fill.accessToken(request.as, request.server)}`);
  if (body !== null) set("content-type", "application/json");
  if (body !== null && request.chunkBytes === undefined) set("content-length", String(body.length));
  if (request.chunkBytes !== undefined) set("transfer-encoding", "chunked");
  if (request.era === "modern") for (const [name, value] of modernHeaders(request.message)) set(name, filled(value, request, fill));
  for (const [name, value] of Object.entries(request.headers)) {
    set(name, value === null ? null : [value].flat().map((each) => filled(each, request, fill)));
  }
  return headers;
}

/** SEP-2243: the headers that repeat the body. */
function modernHeaders(message: Record<string, unknown> | undefined): [string, string][] {
  if (typeof message?.method !== "string") return [];
  const params = (message.params ?? {}) as { name?: unknown; uri?: unknown; taskId?: unknown };
  const name = params.name ?? params.uri ?? params.taskId;
  return [["mcp-method", message.method], ...(typeof name === "string" ? [["mcp-name", headerText(name)] as [string, string]] : [])];
}

/** What a header cannot hold stands there in base64. */
function headerText(value: string): string {
  return /^[!-~]([ -~]*[!-~])?$/.test(value) ? value : `=?base64?${Buffer.from(value).toString("base64")}?=`;
}

function chunked(body: Buffer, bytes: number): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0; at < body.length; at += bytes) {
    const piece = body.subarray(at, at + bytes);
    chunks.push(Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from("\r\n"));
  }
  return [...chunks, Buffer.from("0\r\n\r\n")];
}
