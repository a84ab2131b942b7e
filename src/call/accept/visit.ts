/** One request at the public door: its raw head judged, its identity minted, and how it is refused. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { type CallId, mintId } from "../../ids.ts";
import type { Refusal } from "../../refusal.ts";
import type { Answer } from "./answer.ts";
import { ClientAnswer, type Keeping } from "./client-answer.ts";
import { type DoorOptions, type Headers, judgeHead, remoteAddressOf } from "./door.ts";
import type { RefusalMode } from "./reply.ts";
import type { Course, RequestSketch } from "./request.ts";

export type VisitOptions = DoorOptions & {
  readonly mode: RefusalMode;
  readonly publicUrl: string;
  /** Wall clock, milliseconds since the epoch. */
  readonly now: () => number;
  /** Monotonic milliseconds. */
  readonly mono: () => number;
  readonly refused: (sketch: RequestSketch, refusal: Refusal, answer: Answer) => void;
};

/** What was understood before the no. */
export type Understood = Partial<Pick<RequestSketch, "era" | "revision" | "method" | "idText">> & { readonly course?: Course | null };

const MCP_ROUTE = /^\/mcp(?:\/([a-z0-9-]{1,32}))?$/;
/** GET and DELETE carry no message whatever comes of them. */
const BODYLESS_COURSES: ReadonlyMap<string, Course> = new Map([
  ["GET", "stream"],
  ["DELETE", "end"],
]);

export class Visit {
  readonly callId: CallId;
  readonly receivedAtMs: number;
  readonly receivedMonoMs: number;
  /** The name in `/mcp/{name}`, empty for `/mcp`, null on every other route. */
  readonly server: string | null;
  readonly headers: Headers;
  readonly refusal: Refusal | null;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly #options: VisitOptions;
  readonly #keeping: Keeping;

  constructor(request: IncomingMessage, response: ServerResponse, options: VisitOptions, keeping: Keeping) {
    this.request = request;
    this.response = response;
    this.#options = options;
    this.#keeping = keeping;
    this.receivedAtMs = options.now();
    this.receivedMonoMs = options.mono();
    this.callId = mintId("call", this.receivedAtMs);
    const { httpVersion, method = "", url: target = "", rawHeaders } = request;
    const route = MCP_ROUTE.exec(target);
    this.server = route === null ? null : (route[1] ?? "");
    const { headers, refusal } = judgeHead({ httpVersion, method, target, rawHeaders }, options);
    this.headers = headers;
    this.refusal = refusal;
  }

  /** A body that was not read to its end goes unread: the connection ends with the answer. */
  refuse(refusal: Refusal, understood: Understood = {}): void {
    const { request, response, headers } = this;
    if (!request.complete) response.setHeader("connection", "close");
    const { era = null, revision = null, method = null, idText = null } = understood;
    const sketch: RequestSketch = {
      callId: this.callId,
      receivedAtMs: this.receivedAtMs,
      receivedMonoMs: this.receivedMonoMs,
      httpMethod: plainText(request.method ?? "", 16),
      // Never the query: clients put secrets there.
      path: plainText((request.url ?? "").replace(/[?#].*$/s, ""), 256),
      server: this.server,
      method: method === null ? null : plainText(method, 128),
      era,
      revision: revision === null ? null : plainText(revision, 32),
      idText,
      userAgent: userAgentOf(headers),
      remoteAddress: this.remoteAddress(),
    };
    this.#options.refused(sketch, refusal, this.answer(understood));
  }

  answer({ course, era = null, method = null, idText = null }: Understood): ClientAnswer {
    const { mode, publicUrl } = this.#options;
    const { callId, server } = this;
    const spoken = course ?? BODYLESS_COURSES.get(this.request.method ?? "") ?? null;
    return new ClientAnswer(this.response, { mode, publicUrl, server, course: spoken, era, method, idText, callId }, this.#keeping);
  }

  remoteAddress(): string {
    return remoteAddressOf(this.request.socket.remoteAddress ?? "", this.headers, this.#options.trustedProxies);
  }
}

export function userAgentOf(headers: Headers): string | null {
  const userAgent = headers.get("user-agent");
  return userAgent === undefined ? null : plainText(userAgent, 256);
}

/** What a client chose, fit for a log and a record: no control, bidirectional or invisible characters. */
function plainText(text: string, charactersMax: number): string {
  return text
    .slice(0, charactersMax)
    .toWellFormed()
    .replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, "");
}
