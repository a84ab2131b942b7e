/** What idle streams cost the gateway: resident memory of its two ends of each, and CPU while nothing is said. */
import { openInspector } from "./inspector.ts";
import { costOf } from "./process-tree.ts";
import { type Ask, openStream, send } from "./stream-client.ts";
import { bearer, requestTo, type Target } from "./target.ts";

/** GET streams of legacy sessions, each of a session of its own; or modern subscriptions. */
export type StreamKind = "GET" | "subscriptions/listen";

export type Idle = {
  readonly kind: StreamKind;
  readonly streams: number;
  /** Resident memory added by one stream, as it is and once V8 has collected its garbage; null where the platform does not tell. */
  readonly kilobytesEach: number | null;
  readonly kilobytesEachCollected: number | null;
  /** Of one core, keep-alive included. */
  readonly cpuPercent: number | null;
};

/** The first streams fill caches and compile code: that is not theirs. */
const WARM_UP_STREAMS = 200;
const OPENING_AT_ONCE = 50;
/** Buffers of the opening go, and V8's heap settles. */
const SETTLE_MS = 3_000;

export type IdleSubject = {
  readonly url: string;
  readonly accessToken: string;
  readonly pid: number;
  readonly inspectPort: number;
  readonly ask: Ask;
};

export async function measureIdle(kind: StreamKind, subject: IdleSubject, streams: number, seconds: number): Promise<Idle> {
  const inspector = await openInspector(subject.inspectPort);
  const closeWarm = await open(kind, subject, WARM_UP_STREAMS);
  await closeWarm();
  await inspector.collectGarbage();
  const before = costOf(subject.pid);
  const close = await open(kind, subject, streams);
  await pause(SETTLE_MS);
  const quiet = costOf(subject.pid);
  await pause(seconds * 1_000);
  const after = costOf(subject.pid);
  await inspector.collectGarbage();
  const collected = costOf(subject.pid);
  await close();
  inspector.close();
  const added = (cost: typeof before) =>
    cost === null || before === null ? null : ((cost.rssMegabytes - before.rssMegabytes) * 1_024) / streams;
  return {
    kind,
    streams,
    kilobytesEach: added(after),
    kilobytesEachCollected: added(collected),
    cpuPercent: quiet === null || after === null ? null : (after.cpuMs - quiet.cpuMs) / (seconds * 10),
  };
}

/** Resolves to what closes them, once the upstream has all of them open. */
async function open(kind: StreamKind, subject: IdleSubject, count: number): Promise<() => Promise<void>> {
  const closing: (() => void)[] = [];
  let left = count;
  const opener = async () => {
    while (left-- > 0) {
      const { request, stream } = await openStream(kind === "GET" ? await getStream(subject) : listen(subject));
      stream.on("error", () => {}).resume();
      closing.push(() => request.destroy());
    }
  };
  await Promise.all(Array.from({ length: OPENING_AT_ONCE }, opener));
  if ((await subject.ask<number>("idle")) !== count) throw new Error("a stream is not open upstream");
  return async () => {
    for (const close of closing) close();
    while ((await subject.ask<number>("idle")) > 0) await pause(50);
  };
}

function listen({ url, accessToken }: IdleSubject): Target {
  return requestTo(url, accessToken, "subscriptions/listen", { notifications: { toolsListChanged: true } });
}

async function getStream({ url, accessToken }: IdleSubject): Promise<Parameters<typeof openStream>[0]> {
  const opening = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "bench", version: "1.0.0" } };
  const { answer } = send({
    url,
    headers: { "content-type": "application/json", accept: "application/json, text/event-stream", ...bearer(accessToken) },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "initialize", params: opening }),
  });
  const { headers } = (await answer).resume();
  const sessionId = headers["mcp-session-id"];
  if (typeof sessionId !== "string") throw new Error("no session");
  const asking = { accept: "text/event-stream", "mcp-protocol-version": "2025-11-25", "mcp-session-id": sessionId };
  return { url, headers: { ...asking, ...bearer(accessToken) }, body: null };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
