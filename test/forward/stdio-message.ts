/** A client's side of a stdio upstream without HTTP: messages parsed as at the door, answers kept piece by piece. */
import type { Answer } from "../../src/call/accept/answer.ts";
import { parseMessage } from "../../src/call/accept/parse.ts";
import type { Era, Listed, McpRequest } from "../../src/call/accept/request.ts";
import { AccessToken, type Agent } from "../../src/call/authenticate/agent.ts";
import type { IssuedToken } from "../../src/call/exchange/issued-token.ts";
import type { Outcome } from "../../src/call/forward/outcome.ts";
import type { ForwardJob, Upstream } from "../../src/call/forward/upstream.ts";
import type { AgentId, CallId, ServerName } from "../../src/ids.ts";
import type { Refusal } from "../../src/refusal.ts";

export type Asking = {
  readonly era?: Era;
  readonly agent?: Agent;
  readonly httpMethod?: McpRequest["httpMethod"];
  readonly visible?: (element: Listed) => boolean;
  readonly metersResult?: boolean;
  readonly bytesMax?: number;
  readonly stopped?: AbortSignal;
  readonly answer?: KeptAnswer;
};

export type Reply = { readonly outcome: Outcome; readonly answer: KeptAnswer };

/** `message` is an object, or the exact text of a body. */
export async function send(upstream: Upstream, message: object | string, asking: Asking = {}): Promise<Reply> {
  const answer = asking.answer ?? new KeptAnswer();
  const outcome = await upstream.forward(jobOf(message, { ...asking, answer }));
  return { outcome, answer };
}

export function call(name: string, args: object = {}, more: { id?: number | string; progressToken?: number | string } = {}): object {
  const meta = more.progressToken === undefined ? {} : { _meta: { progressToken: more.progressToken } };
  return { jsonrpc: "2.0", id: more.id ?? 1, method: "tools/call", params: { name, arguments: args, ...meta } };
}

/** The text that the fixture's tool answered with. */
export function textOf(reply: Reply): string {
  const body = reply.outcome.last?.toString() ?? "";
  const message = JSON.parse(body.startsWith("event:") ? body.slice(body.indexOf("data: ") + 6) : body) as {
    result?: { content?: { text?: string }[] };
  };
  return message.result?.content?.[0]?.text ?? "";
}

export class KeptAnswer implements Answer {
  started = false;
  status = 0;
  headers: Readonly<Record<string, string>> = {};
  readonly pieces: string[] = [];
  readonly leave = new AbortController();
  /** Set to hold back the client's reading. */
  stall: Promise<void> | undefined;

  get gone(): AbortSignal {
    return this.leave.signal;
  }
  head(status: number, headers: Readonly<Record<string, string>>): void {
    this.started = true;
    this.status = status;
    this.headers = headers;
  }
  piece(bytes: Uint8Array): Promise<void> | undefined {
    this.pieces.push(Buffer.from(bytes).toString());
    return this.stall;
  }
  last(): void {}
  refuse(_: Refusal): void {}
  fault(): void {}
}

export function agentOf(principal: string): Agent {
  return {
    profile: {
      id: "agt_1" as AgentId,
      name: principal,
      kind: "autonomous",
      state: "active",
      customer: "default",
      team: null,
      workflow: null,
      owner: "ops@example.com",
      purpose: "tests",
      riskClass: "unclassified",
      issuer: null,
      account: { tools: null, scopes: null },
    },
    instance: null,
    subject: null,
    person: null,
    actors: [],
    roles: [],
    scopes: new Set(["mcp"]),
    issuer: "http://127.0.0.1:8420",
    clientId: null,
    tokenId: null,
    claims: {},
    environment: "live",
    expiresAtMs: 0,
    principal,
    accessToken: new AccessToken("secret"),
  };
}

export const NO_CREDENTIAL: IssuedToken = { kind: "none", headers: {}, expiresAtMs: null, shareKey: "none" };

function jobOf(message: object | string, asking: Asking & { answer: KeptAnswer }): ForwardJob {
  return {
    request: requestOf(message, asking),
    agent: asking.agent ?? agentOf("alice"),
    issued: NO_CREDENTIAL,
    visible: asking.visible ?? null,
    held: { lines: [], metersResult: asking.metersResult ?? false, bytesMax: asking.bytesMax ?? Number.POSITIVE_INFINITY },
    answer: asking.answer,
    stopped: asking.stopped ?? new AbortController().signal,
  };
}

const MODERN_META = { "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} };

function requestOf(message: object | string, { era = "legacy", httpMethod = "POST" }: Asking): McpRequest {
  const body = Buffer.from(typeof message === "string" ? message : JSON.stringify(era === "modern" ? withMeta(message) : message));
  const parsed = httpMethod === "POST" ? parseMessage(body, headersOf(body, era)) : null;
  if (parsed !== null && parsed.refusal !== null) throw new Error(`the body is refused: ${parsed.refusal.note}`);
  const bodyless = {
    course: httpMethod === "GET" ? "stream" : "end",
    era,
    revision: null,
    method: null,
    idText: null,
    idSpan: null,
  } as const;
  return {
    callId: "call_1" as CallId,
    receivedAtMs: Date.now(),
    receivedMonoMs: performance.now(),
    server: "fixture" as ServerName,
    httpMethod,
    view: null,
    ...(parsed?.message ?? {
      ...{ ...bodyless, target: null, targetSpan: null, argumentsSpan: null, progressTokenSpan: null },
      ...{ followUp: null, idempotencyKey: null },
    }),
    body,
    authorization: null,
    sessionId: null,
    lastEventId: null,
    accept: "application/json, text/event-stream",
    forwarded: {},
    userAgent: null,
    remoteAddress: "127.0.0.1",
  };
}

function headersOf(body: Buffer, era: Era) {
  if (era === "legacy") return { protocolVersion: "2025-11-25", mcpMethod: null, mcpName: null };
  const { method, params } = JSON.parse(body.toString()) as { method: string; params?: { name?: string; uri?: string } };
  return { protocolVersion: "2026-07-28", mcpMethod: method, mcpName: params?.name ?? params?.uri ?? null };
}

function withMeta(message: object): object {
  const { params = {} } = message as { params?: { _meta?: object } };
  return { ...message, params: { ...params, _meta: { ...MODERN_META, ...params._meta } } };
}
