/** The conversation with one running server: ids are ours on its side and the clients' on theirs. */
import { member, splice } from "../../../json.ts";
import { type Refusal, refuse } from "../../../refusal.ts";
import type { McpRequest } from "../../accept/request.ts";
import { readMessage, sameId, type UpstreamMessage } from "../message.ts";
import { idOfEnds, idOfInvalid, lineOf } from "./json-line.ts";
import type { Line } from "./line-splitter.ts";
import { type LinkOptions, openLink } from "./link.ts";

/** As received: the id is still ours. */
export type PeerAnswer = { readonly line: Buffer; readonly message: Extract<UpstreamMessage, { kind: "response" }> };
export type PeerFailure = { readonly failed: "ended" | "oversized" | "invalid" | "cancelled"; readonly why: string };

export type Waiting = {
  /** A notification for this request, with the client's own progress token. */
  readonly onNotification: (bytes: Buffer) => void;
  readonly onAnswer: (answer: PeerAnswer | PeerFailure) => void;
};

export type PeerOptions = Omit<LinkOptions, "onLine"> & {
  readonly onListChanged: () => void;
  readonly onDropped: (why: string) => void;
};

export type Peer = {
  /** Requests under way. */
  readonly busy: number;
  /** Sends a client's request and returns our id for it. A refusal: nothing was sent. */
  forward(request: McpRequest, owner: string, waiting: Waiting): number | Refusal;
  /** A request of the gateway's own; fails with an error in words. */
  ask(method: string, params: Record<string, unknown>, timeoutMs: number): Promise<Record<string, unknown>>;
  /** Whether it answers a ping in time, with whatever it may be. */
  isAlive(timeoutMs: number): Promise<boolean>;
  notify(method: string, params: Record<string, unknown>): void;
  /** Tells the server that nobody waits any more, and forgets the request. */
  cancel(id: number, reason: string): void;
  /** A client's own `notifications/cancelled`, which reaches its owner's requests only. */
  cancelFor(owner: string, clientIdText: string): void;
  end(graceMs: number): Promise<void>;
};

type Entry = Waiting & { readonly idText: string; readonly progressToken: Buffer | null; readonly owner: string };
type Heard = Extract<UpstreamMessage, { kind: "request" | "notification" }>;

/** More than this at once is no conversation; each may hold a whole request in memory. */
const UNDER_WAY_MAX = 1_000;

export function openPeer(options: PeerOptions): Peer {
  const waiting = new Map<number, Entry>();
  let lastId = 0;
  const link = openLink({
    ...options,
    onLine: (line) => hear(line),
    onEnd(why) {
      for (const id of waiting.keys()) settle(id, { failed: "ended", why });
      options.onEnd(why);
    },
  });
  const say = (message: Record<string, unknown>) => link.write(Buffer.from(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`));
  const settle = (id: number, answer: PeerAnswer | PeerFailure): boolean => {
    const entry = waiting.get(id);
    waiting.delete(id);
    entry?.onAnswer(answer);
    return entry !== undefined;
  };

  const hear = ({ bytes, cut }: Line) => {
    if (cut) return fail(idOfEnds(bytes), { failed: "oversized", why: "a line is too long" });
    const message = readMessage(bytes);
    switch (message.kind) {
      case "response":
        if (!settle(Number(message.idText), { line: bytes, message })) options.onDropped("an answer that nobody waits for");
        return;
      case "request":
        return answerRequest(bytes, message);
      case "notification":
        return hearNotification(bytes, message);
      case "invalid":
        return fail(idOfInvalid(bytes), { failed: "invalid", why: message.why });
    }
  };
  const fail = (id: number, failure: PeerFailure) => {
    if (!settle(id, failure)) options.onDropped(failure.why);
  };
  // The gateway declares no capabilities to a server it starts, so there is nothing a server could ask of a client.
  const answerRequest = (line: Buffer, message: Heard) => {
    const idNode = member(message.root, "id");
    const id = idNode === undefined ? "null" : line.toString("utf8", idNode.start, idNode.end);
    const answer = message.method === "ping" ? '"result":{}' : '"error":{"code":-32601,"message":"Method not found"}';
    link.write(Buffer.from(`{"jsonrpc":"2.0","id":${id},${answer}}\n`));
  };
  // What belongs to no request (logging, resource updates) has nobody to go to: no client of a bridge holds a stream open for it.
  const hearNotification = (line: Buffer, message: Heard) => {
    if (message.method === "notifications/tools/list_changed") return options.onListChanged();
    const params = member(message.root, "params");
    const token = params === undefined ? undefined : member(params, "progressToken");
    if (message.method !== "notifications/progress" || token === undefined) return;
    const entry = waiting.get(Number(line.toString("utf8", token.start, token.end)));
    if (entry === undefined || entry.progressToken === null) return;
    entry.onNotification(splice(line, [{ start: token.start, end: token.end, replacement: entry.progressToken }]));
  };

  return {
    get busy() {
      return waiting.size;
    },
    forward(request, owner, hooks) {
      if (waiting.size >= UNDER_WAY_MAX) return refuse("overloaded", {}, `${UNDER_WAY_MAX} requests under way`);
      lastId += 1;
      if (!link.write(lineOf(request, lastId))) return refuse("upstream_unreachable", {}, "its server does not read");
      const { body, progressTokenSpan } = request;
      const progressToken = progressTokenSpan === null ? null : body.subarray(progressTokenSpan.start, progressTokenSpan.end);
      waiting.set(lastId, { ...hooks, idText: request.idText ?? "null", progressToken, owner });
      return lastId;
    },
    ask(method, params, timeoutMs) {
      lastId += 1;
      const id = lastId;
      const heard = Promise.withResolvers<Record<string, unknown>>();
      const timer = setTimeout(
        () => settle(id, { failed: "cancelled", why: `no answer to ${method} in ${timeoutMs} ms` }),
        Math.max(0, timeoutMs),
      );
      waiting.set(id, {
        idText: String(id),
        progressToken: null,
        owner: "",
        onNotification: () => {},
        onAnswer(answer) {
          clearTimeout(timer);
          if ("failed" in answer) heard.reject(new Error(answer.why));
          else if (answer.message.outcome === "protocol_error") heard.reject(new Error(`${method} is answered with an error`));
          else heard.resolve(resultOf(answer));
        },
      });
      if (!say({ id, method, params })) settle(id, { failed: "ended", why: "it does not read" });
      return heard.promise;
    },
    isAlive(timeoutMs) {
      const { promise, resolve } = Promise.withResolvers<boolean>();
      lastId += 1;
      const id = lastId;
      const timer = setTimeout(() => settle(id, { failed: "cancelled", why: "no answer to a ping" }), timeoutMs);
      const onAnswer = (answer: PeerAnswer | PeerFailure) => {
        clearTimeout(timer);
        resolve(!("failed" in answer));
      };
      waiting.set(id, { idText: String(id), progressToken: null, owner: "", onNotification: () => {}, onAnswer });
      if (!say({ id, method: "ping", params: {} })) settle(id, { failed: "ended", why: "it does not read" });
      return promise;
    },
    notify: (method, params) => void say({ method, params }),
    cancel(id, reason) {
      if (waiting.delete(id)) say({ method: "notifications/cancelled", params: { requestId: id, reason } });
    },
    cancelFor(owner, clientIdText) {
      for (const [id, entry] of waiting) {
        if (entry.owner !== owner || !sameId(entry.idText, clientIdText)) continue;
        say({ method: "notifications/cancelled", params: { requestId: id, reason: "cancelled by the client" } });
        settle(id, { failed: "cancelled", why: "cancelled by the client" });
      }
    },
    end: (graceMs) => link.end(graceMs),
  };
}

function resultOf({ line, message }: PeerAnswer): Record<string, unknown> {
  return JSON.parse(line.toString("utf8", message.body.start, message.body.end)) as Record<string, unknown>;
}
