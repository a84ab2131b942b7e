import { expect, test } from "vitest";
import { AnswerBody } from "../../src/call/forward/answer-body.ts";
import type { Deadline } from "../../src/call/forward/deadline.ts";
import type { UpstreamAnswer } from "../../src/call/forward/http-wire.ts";
import { Reading } from "../../src/call/forward/readings.ts";
import type { SseEvent } from "../../src/call/forward/sse.ts";
import { mintId } from "../../src/ids.ts";

function stream(): UpstreamAnswer & { readonly ended: () => boolean } {
  let ended = false;
  const abort = () => {
    ended = true;
  };
  const flow = { pause() {}, resume() {}, abort };
  return { status: 200, headers: {}, body: new AnswerBody(flow), ended: () => ended };
}

const begun = (course: "metered" | "task" = "metered") => {
  const gone = new AbortController();
  const request = { body: Buffer.alloc(0), idText: "1", callId: mintId("call", 0), course } as const;
  const reading = new Reading({ request, held: { bytesMax: 10 }, answer: { gone: gone.signal } });
  const own = stream();
  expect(reading.begins(own)).toBe(true);
  return { reading, own, gone };
};
const NO_END = { ending: null, signal: new AbortController().signal } as Deadline;

test("a client that does not read holds up nobody who goes on with its call by another stream", async () => {
  const { reading, own } = begun();
  const stalled = reading.stall(new Promise<never>(() => {}));
  using _asking = reading.ask();
  expect([reading.isOwn, own.ended()]).toEqual([false, false]);
  reading.take();
  await stalled;
  expect([own.ended(), reading.wasTaken]).toEqual([true, true]);
  // What it had read of its own stream by then waits for nobody either.
  await reading.stall(new Promise<never>(() => {}));
});

test("what the call itself reads goes on beside the stream that its client takes, until that has brought the answer", async () => {
  const { reading, own } = begun();
  using _asking = reading.ask();
  reading.take();
  expect([own.ended(), reading.isDone]).toEqual([false, false]);
  const event = { data: Buffer.from("{}") } as unknown as SseEvent;
  const elsewhere = reading.elsewhere(NO_END);
  reading.give(event);
  expect([await elsewhere, own.ended(), reading.isDone]).toEqual([event, true, true]);
});

test("it is its call's own when nobody else has it or asks for it, and what its call has asked for by then it reads all the same", () => {
  const { reading } = begun();
  const [first, second] = [reading.ask(), reading.ask()];
  reading.take();
  first[Symbol.dispose]();
  const another = stream();
  expect([reading.isOwn, reading.begins(another), another.ended()]).toEqual([false, true, false]);
  second[Symbol.dispose]();
  expect(reading.isOwn).toBe(true);
  reading.give({ data: Buffer.from("{}") } as unknown as SseEvent);
  const late = stream();
  expect([reading.begins(late), late.ended(), another.ended()]).toEqual([false, true, true]);
});

test("what no hold carries ends every stream of it", async () => {
  const { reading, own } = begun();
  using _asking = reading.ask();
  const elsewhere = reading.elsewhere(NO_END);
  expect([reading.passes(10), reading.passes(1)]).toEqual([true, false]);
  reading.exceed();
  expect([await elsewhere, own.ended(), reading.isOver, reading.isDone]).toEqual([null, true, true, true]);
});
