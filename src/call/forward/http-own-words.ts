/** What the gateway says to an HTTP upstream on its own behalf, in whichever era the upstream speaks. */
import { isRefusal, type Refusal, refuse } from "../../refusal.ts";
import type { IssuedToken } from "../exchange/issued-token.ts";
import { headerOf, letGo, type UpstreamAnswer, type Wire } from "./http-wire.ts";
import { versionIn } from "./server-info.ts";
import { carriesMessage, createEventCutter } from "./sse.ts";

const REVISION = "2026-07-28";
const LEGACY_REVISION = "2025-11-25";
const CLIENT = { name: "tollgate", version: "1" };
const ANSWER_BYTES_MAX = 16_777_216;

export type Message = { readonly id?: unknown; readonly result?: Record<string, unknown>; readonly error?: unknown };
export type Said = { readonly status: number; readonly message: Message | null; readonly sessionId: string | null };
/** `DELETE` ends the session; a method that begins with `notifications/` gets no answer. */
export type Say = (method: string, params: Record<string, unknown>, session: Session) => Promise<Said>;
export type Session = {
  readonly era: "modern" | "legacy";
  readonly id: string | null;
  readonly revision: string;
  /** The server's own, as the handshake gave it; null: it gave none. */
  readonly version: string | null;
};
export type Reissue = (failed: IssuedToken) => Promise<IssuedToken | Refusal> | IssuedToken | Refusal;

export const MODERN: Session = { era: "modern", id: null, revision: REVISION, version: null };

class Unauthorized extends Error {}

/** Does `work` with the credential, and once more with a fresh one where the upstream refuses it. */
export async function onOurBehalf<T>(
  wire: Wire,
  issued: IssuedToken,
  timeoutMs: number,
  reissue: Reissue,
  work: (say: Say) => Promise<T>,
): Promise<T | Refusal> {
  const failed = (fault: unknown) => refuse("upstream_unreachable", {}, fault instanceof Error ? fault.message : "unknown");
  try {
    return await work(sayer(wire, issued, timeoutMs));
  } catch (fault) {
    if (!(fault instanceof Unauthorized)) return failed(fault);
  }
  const again = await reissue(issued);
  if (isRefusal(again)) return again;
  try {
    return await work(sayer(wire, again, timeoutMs));
  } catch (fault) {
    if (fault instanceof Unauthorized) return refuse("exchange_failed", {}, "the upstream refuses the gateway's credential");
    return failed(fault);
  }
}

/** A message that is owed no answer, and whose fate changes nothing. */
export function mention(wire: Wire, issued: IssuedToken, timeoutMs: number, session: Session, message: string): void {
  const sent = wire.send("POST", headersOf(null, session, issued), Buffer.from(message), AbortSignal.timeout(timeoutMs));
  sent.then(letGo, () => {});
}

/** Whether the upstream speaks 2026-07-28: there `server/discover` is mandatory. */
export async function speaksModern(say: Say): Promise<boolean> {
  const { message } = await say("server/discover", {}, MODERN);
  const versions = message?.result?.supportedVersions;
  return Array.isArray(versions) && versions.includes(REVISION);
}

/** The handshake of 2025-11-25 and older. */
export async function handshake(say: Say): Promise<Session> {
  const opening: Session = { era: "legacy", id: null, revision: LEGACY_REVISION, version: null };
  const said = await say("initialize", { protocolVersion: LEGACY_REVISION, capabilities: {}, clientInfo: CLIENT }, opening);
  const revision = said.message?.result?.protocolVersion;
  if (typeof revision !== "string") throw new Error(`the upstream answered ${said.status} to initialize`);
  const session: Session = { era: "legacy", id: said.sessionId, revision, version: versionIn(said.message?.result?.serverInfo) };
  await say("notifications/initialized", {}, session);
  return session;
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
  const bytes = await answer.body.whole(ANSWER_BYTES_MAX);
  const message = type.startsWith("application/json") && bytes.length > 0 ? (JSON.parse(bytes.toString()) as Message | null) : null;
  return { status, message: message?.id === id ? message : null, sessionId };
}

async function readEvents(answer: UpstreamAnswer, id: number | null): Promise<Message | null> {
  const cutter = createEventCutter(ANSWER_BYTES_MAX);
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
