/** A server over stdio: the gateway starts it, shakes hands with it and serves it to clients of both eras. */

import type { ServerName } from "../../../ids.ts";
import { isScanFault, member, scanJson } from "../../../json.ts";
import { isRefusal, refuse } from "../../../refusal.ts";
import type { McpRequest } from "../../accept/request.ts";
import type { Agent } from "../../authenticate/agent.ts";
import { createCatalogue, type HearReading } from "../catalogue.ts";
import { beforeEnd, type Deadline, startDeadline } from "../deadline.ts";
import { forClient } from "../for-client.ts";
import { finalMessage, oversized } from "../json-answer.ts";
import type { Outcome } from "../outcome.ts";
import { accepted, answered, ended, notSent, unknownFate } from "../outcomes.ts";
import { ownResult, requestedRevision } from "../own-result.ts";
import { withReceipt } from "../receipt.ts";
import { messageEvent } from "../sse.ts";
import type { ForwardJob, Upstream } from "../upstream.ts";
import { discoverResult, type Initialized, initializeResult } from "./bridge.ts";
import { type Child, createChildren } from "./children.ts";
import type { Peer, PeerAnswer, PeerFailure } from "./peer.ts";
import { createProgress, EVENT_HEADERS, type Progress } from "./progress.ts";
import { createStderrLog } from "./stderr-log.ts";
import { readListing } from "./stdio-listing.ts";

export type StdioUpstreamOptions = {
  readonly name: ServerName;
  readonly command: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly child: "perAgent" | "shared";
  readonly maxChildren: number;
  /** The whole of a call, the start of its server included. */
  readonly timeoutMs: number;
  readonly maxResultBytes: number;
  readonly mono: () => number;
  readonly hear?: HearReading;
  readonly warn: (facts: Readonly<Record<string, string>>, message: string) => void;
};

export function createStdioUpstream(options: StdioUpstreamOptions): Upstream {
  const catalogue = createCatalogue(options.mono, options.hear);
  const facts = { server: options.name };
  // As few as of its stderr: a server that floods must not fill the log.
  const dropped = createStderrLog({}, options.mono, (why) => options.warn({ ...facts, why }, "a line of a server was dropped"));
  const children = createChildren({
    peer: {
      command: options.command,
      env: options.env,
      cwd: options.cwd,
      lineBytesMax: options.maxResultBytes,
      onStderr: createStderrLog(options.env, options.mono, (line) => options.warn({ ...facts, line }, "a server writes to its stderr")),
      onListChanged: () => catalogue.forget(),
      onDropped: (why) => dropped({ bytes: Buffer.from(why), cut: false }),
    },
    maxChildren: options.child === "shared" ? 1 : options.maxChildren,
    mono: options.mono,
    onEnd(why) {
      // The next one may be of another version.
      catalogue.forget();
      options.warn({ ...facts, why }, "a server ended");
    },
  });
  const keyOf = (agent: Agent) => (options.child === "shared" ? "" : agent.principal);
  const reader = (child: Child) => () => readListing(child, options.mono, options.timeoutMs);
  return {
    async forward(job) {
      const { request, agent, answer } = job;
      if (request.httpMethod !== "POST") return notSent(refuse("http_method", { allow: "POST" }));
      if (request.course === "notification" || request.course === "response") {
        if (request.method === "notifications/cancelled") cancelFor(request, agent, children.peek(keyOf(agent)));
        return accepted(202);
      }
      using deadline = startDeadline(options.timeoutMs, request.era === "modern" ? answer.gone : null, job.stopped);
      const child = await beforeEnd(deadline, children.get(keyOf(agent)));
      if (child === null) return { ...ended(deadline.ending ?? "timeout", 0), kind: "not_sent", sent: false };
      if (isRefusal(child)) return notSent(child);
      return ownAnswer(request, child.initialized) ?? (await ask(job, child.peer, options.maxResultBytes, deadline));
    },
    async definition(toolName, agent, _issued, accepts) {
      const child = await children.get(keyOf(agent));
      return isRefusal(child) ? child : await catalogue.find(keyOf(agent), toolName, reader(child), accepts);
    },
    async offer(agent) {
      const child = await children.get(keyOf(agent));
      return isRefusal(child) ? child : await catalogue.offer(keyOf(agent), reader(child));
    },
    forget: () => catalogue.forget(),
    close: (graceMs) => children.end(graceMs),
  };
}

/** How long a server that was too slow for a call may take to show that it lives. */
const PING_MS = 5_000;

/** What the gateway answers for the server: handshakes, and what would need a stream that no client holds. */
function ownAnswer(request: McpRequest, initialized: Initialized): Outcome | null {
  switch (request.method) {
    case "initialize":
      return ownResult(request, initializeResult(initialized, requestedRevision(request)));
    case "server/discover":
      return ownResult(request, discoverResult(initialized));
    case "ping":
      return ownResult(request, {});
    case "resources/subscribe":
    case "resources/unsubscribe":
    case "subscriptions/listen":
      return notSent(refuse("method_unknown", {}, "subscriptions do not cross a stdio server's bridge"));
    default:
      return null;
  }
}

/** Its `requestId` as it stands in the body: a number parsed and written anew may be another. */
function cancelFor({ body }: McpRequest, agent: Agent, peer: Peer | null): void {
  const root = scanJson(body, { treeDepth: 2 });
  const params = isScanFault(root) ? undefined : member(root, "params");
  const id = params === undefined ? undefined : member(params, "requestId");
  if (id !== undefined) peer?.cancelFor(agent.principal, body.toString("utf8", id.start, id.end));
}

async function ask(job: ForwardJob, peer: Peer, maxResultBytes: number, deadline: Deadline): Promise<Outcome> {
  const heard = Promise.withResolvers<PeerAnswer | PeerFailure>();
  const progress = createProgress(job.answer, (job.held?.bytesMax ?? Number.POSITIVE_INFINITY) - job.request.body.length);
  const id = peer.forward(job.request, job.agent.principal, { onNotification: progress.tell, onAnswer: heard.resolve });
  if (typeof id !== "number") return notSent(id);
  const answer = await beforeEnd(deadline, heard.promise);
  if (answer === null) {
    peer.cancel(id, deadline.ending ?? "timeout");
    // One that does not even answer a ping answers nobody any more: the next call gets a new one.
    if (deadline.ending === "timeout") void peer.isAlive(PING_MS).then((alive) => (alive ? undefined : peer.end(0)));
    return ended(deadline.ending ?? "timeout", progress.bytesIn);
  }
  return "failed" in answer ? failed(answer, job, progress, maxResultBytes) : outcomeOf(answer, job, progress);
}

/** The request was sent, so whatever went wrong, the call may have run. */
function failed({ failed, why }: PeerFailure, job: ForwardJob, { bytesIn }: Progress, maxResultBytes: number): Outcome {
  switch (failed) {
    case "ended":
      return unknownFate(refuse("upstream_unreachable", {}, why), bytesIn);
    case "invalid":
      return unknownFate(refuse("upstream_invalid", {}, why), bytesIn);
    case "oversized":
      return oversized(job, maxResultBytes);
    case "cancelled":
      // Whoever cancels gets no answer: an empty stream says so within the protocol.
      return { ...ended("gone", bytesIn), headers: job.answer.started ? {} : EVENT_HEADERS };
  }
}

function outcomeOf({ line, message }: PeerAnswer, job: ForwardJob, { bytesIn }: Progress): Outcome {
  const { request, answer } = job;
  if (message.body.kind !== "object") return unknownFate(refuse("upstream_invalid", {}, "a result is an object"), bytesIn + line.length);
  const judged = finalMessage(forClient(line, message, request), job);
  if ("why" in judged) return unknownFate(refuse("upstream_invalid", {}, judged.why), bytesIn + line.length);
  const framed = answer.started ? messageEvent : (bytes: Buffer) => bytes;
  return answered({
    status: request.era === "modern" && isMethodNotFound(line, message) ? 404 : 200,
    headers: answer.started ? {} : JSON_HEADERS,
    bytes: line,
    message,
    last: framed(judged.bytes),
    withReceipt: (receipt) => framed(withReceipt(judged.bytes, receipt)),
    request,
    bytesIn: bytesIn + line.length,
  });
}

/** 2026-07-28: an unknown method is answered with 404. */
function isMethodNotFound(line: Buffer, { outcome, body }: PeerAnswer["message"]): boolean {
  const code = outcome === "protocol_error" ? member(body, "code") : undefined;
  return code !== undefined && line.toString("latin1", code.start, code.end) === "-32601";
}

const JSON_HEADERS = { "content-type": "application/json" };
