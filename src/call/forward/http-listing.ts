/** The gateway's own tools/list at an HTTP upstream, in whichever era the upstream speaks, page by page. */
import { isRefusal, type Refusal, refuse } from "../../refusal.ts";
import type { IssuedToken } from "../exchange/issued-token.ts";
import type { ToolListing } from "./catalogue.ts";
import { headerOf, letGo, type UpstreamAnswer, type Wire } from "./http-wire.ts";
import { carriesMessage, createEventCutter } from "./sse.ts";

const REVISION = "2026-07-28";
const LEGACY_REVISION = "2025-11-25";
const CLIENT = { name: "tollgate", version: "1" };
/** 10,000 tools are more than any agent can read. */
const PAGES_MAX = 100;
const TOOLS_MAX = 10_000;
const LIST_BYTES_MAX = 16_777_216;

type Message = { readonly id?: unknown; readonly result?: Record<string, unknown>; readonly error?: unknown };
type Said = { readonly status: number; readonly message: Message | null; readonly sessionId: string | null };
type Say = (method: string, params: Record<string, unknown>, session: Session) => Promise<Said>;
type Session = { readonly era: "modern" | "legacy"; readonly id: string | null; readonly revision: string };

class Unauthorized extends Error {}

export async function readListing(
  wire: Wire,
  issued: IssuedToken,
  timeoutMs: number,
  reissue: (failed: IssuedToken) => Promise<IssuedToken | Refusal> | IssuedToken | Refusal,
): Promise<ToolListing | Refusal> {
  try {
    return await readPages(sayer(wire, issued, timeoutMs));
  } catch (fault) {
    if (!(fault instanceof Unauthorized))
      return refuse("upstream_unreachable", {}, `tools/list: ${fault instanceof Error ? fault.message : "unknown"}`);
  }
  const again = await reissue(issued);
  if (isRefusal(again)) return again;
  try {
    return await readPages(sayer(wire, again, timeoutMs));
  } catch (fault) {
    if (fault instanceof Unauthorized) return refuse("exchange_failed", {}, "the upstream refuses the gateway's credential");
    return refuse("upstream_unreachable", {}, `tools/list: ${fault instanceof Error ? fault.message : "unknown"}`);
  }
}

async function readPages(say: Say): Promise<ToolListing> {
  const modern: Session = { era: "modern", id: null, revision: REVISION };
  const first = await say("tools/list", {}, modern);
  if (isPage(first)) return await collect(say, modern, first);
  const session = await handshake(say);
  const page = await say("tools/list", {}, session);
  if (!isPage(page)) throw new Error(`the upstream answered ${page.status}`);
  const tools = await collect(say, session, page);
  if (session.id !== null) await say("DELETE", {}, session).catch(() => {});
  return tools;
}

async function handshake(say: Say): Promise<Session> {
  const opening: Session = { era: "legacy", id: null, revision: LEGACY_REVISION };
  const said = await say("initialize", { protocolVersion: LEGACY_REVISION, capabilities: {}, clientInfo: CLIENT }, opening);
  const revision = said.message?.result?.protocolVersion;
  if (typeof revision !== "string") throw new Error(`the upstream answered ${said.status} to initialize`);
  const session: Session = { era: "legacy", id: said.sessionId, revision };
  await say("notifications/initialized", {}, session);
  return session;
}

function isPage({ message }: Said): boolean {
  return Array.isArray(message?.result?.tools);
}

async function collect(say: Say, session: Session, first: Said): Promise<ToolListing> {
  const tools: ToolListing[number][] = [];
  let said = first;
  for (let pages = 1; ; pages++) {
    const result = said.message?.result;
    for (const tool of (result?.tools as unknown[]) ?? []) if (isTool(tool)) tools.push(tool);
    if (tools.length > TOOLS_MAX) throw new Error("the list has no end");
    const cursor = result?.nextCursor;
    if (typeof cursor !== "string") return tools;
    if (pages === PAGES_MAX) throw new Error("the list has no end");
    said = await say("tools/list", { cursor }, session);
    if (!isPage(said)) throw new Error(`the upstream answered ${said.status} to a page`);
  }
}

function isTool(tool: unknown): tool is ToolListing[number] {
  return typeof tool === "object" && tool !== null && typeof (tool as { name?: unknown }).name === "string";
}

function sayer(wire: Wire, issued: IssuedToken, timeoutMs: number): Say {
  let lastId = 0;
  // One time for all pages: a call waits for them.
  const signal = AbortSignal.timeout(timeoutMs);
  return async (method, params, session) => {
    lastId += 1;
    if (method === "DELETE") return await read(await wire.send("DELETE", headersOf(null, session, issued), null, signal), null);
    const id = method.startsWith("notifications/") ? undefined : lastId;
    const meta =
      session.era === "modern"
        ? {
            _meta: {
              "io.modelcontextprotocol/protocolVersion": REVISION,
              "io.modelcontextprotocol/clientCapabilities": {},
              "io.modelcontextprotocol/clientInfo": CLIENT,
            },
          }
        : {};
    const body = Buffer.from(JSON.stringify({ jsonrpc: "2.0", id, method, params: { ...params, ...meta } }));
    return await read(await wire.send("POST", headersOf(method, session, issued), body, signal), id ?? null);
  };
}

function headersOf(method: string | null, session: Session, issued: IssuedToken): Record<string, string> {
  const headers: Record<string, string> = {
    accept: "application/json, text/event-stream",
    "accept-encoding": "identity",
    "content-type": "application/json",
    ...issued.headers,
  };
  if (method !== "initialize") headers["mcp-protocol-version"] = session.revision;
  if (session.era === "modern" && method !== null) headers["mcp-method"] = method;
  if (session.id !== null) headers["mcp-session-id"] = session.id;
  return headers;
}

async function read(answer: UpstreamAnswer, id: number | null): Promise<Said> {
  const { status, headers } = answer;
  if (status === 401 || status === 403) {
    letGo(answer);
    throw new Unauthorized(`the upstream answered ${status}`);
  }
  const type = headerOf(headers, "content-type") ?? "";
  const sessionId = headerOf(headers, "mcp-session-id");
  if (type.startsWith("text/event-stream")) return { status, message: await readEvents(answer, id), sessionId };
  const bytes = await answer.body.whole(LIST_BYTES_MAX);
  const message = type.startsWith("application/json") && bytes.length > 0 ? (JSON.parse(bytes.toString()) as Message | null) : null;
  return { status, message: message?.id === id ? message : null, sessionId };
}

async function readEvents(answer: UpstreamAnswer, id: number | null): Promise<Message | null> {
  const cutter = createEventCutter(LIST_BYTES_MAX);
  for await (const chunk of answer.body) {
    for (const event of cutter.push(chunk)) {
      if (!carriesMessage(event)) continue;
      const message = JSON.parse(event.data.toString()) as Message | null;
      if (message?.id !== id) continue;
      letGo(answer);
      return message;
    }
    if (cutter.oversized) throw new Error("an event is too large");
  }
  return null;
}
