/** What the gateway holds of a long stream while its client reads nothing: counted in bytes, the kernel's buffers apart. */
import type { IncomingMessage } from "node:http";
import { costOf } from "./process-tree.ts";
import { type Ask, openStream } from "./stream-client.ts";
import { WRITTEN_EVENT_BYTES } from "./stream-event.ts";
import type { Target } from "./target.ts";
import { queuesOf } from "./tcp-queues.ts";

export type Stall = {
  readonly streamBytes: number;
  /** The most that the gateway's process held in any of the stalls: written upstream, not read by the client, in no kernel's buffer. */
  readonly heldBytes: number | null;
  /** At the same time in the kernel's four buffers of the two connections. */
  readonly kernelBytes: number | null;
  /** Resident memory at its highest, above that before the stream. */
  readonly rssMegabytes: number | null;
  /** Of the whole stream without its stalls. */
  readonly megabytesPerSecond: number;
};

/** At the beginning, at a third and at two thirds. */
const STALLS = 3;
/** The gateway cuts a client off after 60 s; the buffers are full long before. */
const STALL_MS = 3_000;

export type StallSubject = { readonly pid: number; readonly upstreamPort: number; readonly target: Target; readonly ask: Ask };

export function eventsIn(bytes: number): number {
  return Math.ceil(bytes / WRITTEN_EVENT_BYTES);
}

export async function measureStall(subject: StallSubject, streamBytes: number): Promise<Stall> {
  const idle = costOf(subject.pid);
  let peakMegabytes = 0;
  const watching = setInterval(() => {
    peakMegabytes = Math.max(peakMegabytes, costOf(subject.pid)?.rssMegabytes ?? 0);
  }, 250);
  const { stream } = await openStream(subject.target);
  const holdings: { held: number; kernel: number }[] = [];
  const startMs = performance.now();
  let bytes = 0;
  for (let stall = 0; stall < STALLS; stall++) {
    await new Promise((resolve) => setTimeout(resolve, STALL_MS));
    const holding = await holdingOf(stream, subject);
    if (holding !== null) holdings.push(holding);
    bytes += await read(stream, stall === STALLS - 1 ? Number.POSITIVE_INFINITY : streamBytes / STALLS);
  }
  const seconds = (performance.now() - startMs - STALLS * STALL_MS) / 1_000;
  clearInterval(watching);
  if (bytes < streamBytes) throw new Error(`${bytes} of ${streamBytes} bytes arrived`);
  const [worst] = holdings.sort((a, b) => b.held - a.held);
  return {
    streamBytes: bytes,
    heldBytes: worst?.held ?? null,
    kernelBytes: worst?.kernel ?? null,
    rssMegabytes: idle === null ? null : peakMegabytes - idle.rssMegabytes,
    megabytesPerSecond: bytes / 1_048_576 / seconds,
  };
}

/** Both connections frame an event in the same bytes, so what was written to one and not read from the other is on its way. */
async function holdingOf(
  { socket }: IncomingMessage,
  { upstreamPort, target, ask }: StallSubject,
): Promise<{ held: number; kernel: number } | null> {
  const { written, remotePort } = await ask<{ written: number; remotePort: number }>("flood");
  const gatewayPort = Number(new URL(target.url).port);
  const clientPort = socket.localPort ?? 0;
  const queues = [
    queuesOf(upstreamPort, remotePort)?.unsent,
    queuesOf(remotePort, upstreamPort)?.unread,
    queuesOf(gatewayPort, clientPort)?.unsent,
    queuesOf(clientPort, gatewayPort)?.unread,
  ];
  let kernel = 0;
  for (const bytes of queues) {
    if (bytes === undefined) return null;
    kernel += bytes;
  }
  return { held: written - socket.bytesRead - kernel, kernel };
}

/** Reads at least so much, or to the end, and then nothing more. */
async function read(stream: IncomingMessage, bytesMin: number): Promise<number> {
  let bytes = 0;
  return new Promise((resolve, reject) => {
    const done = () => {
      stream.pause().off("data", take).off("end", done).off("error", reject);
      resolve(bytes);
    };
    const take = (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes >= bytesMin) done();
    };
    stream.on("data", take).on("end", done).on("error", reject).resume();
  });
}
