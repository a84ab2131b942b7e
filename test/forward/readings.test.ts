import { expect, test } from "vitest";
import { AnswerBody } from "../../src/call/forward/answer-body.ts";
import type { UpstreamAnswer } from "../../src/call/forward/http-wire.ts";
import { Reading } from "../../src/call/forward/readings.ts";
import { mintId } from "../../src/ids.ts";

function stream(): UpstreamAnswer & { readonly ended: () => boolean } {
  let ended = false;
  const abort = () => {
    ended = true;
  };
  const flow = { pause() {}, resume() {}, abort };
  return { status: 200, headers: {}, body: new AnswerBody(flow), ended: () => ended };
}

const begun = () => {
  const reading = new Reading({ body: Buffer.alloc(0), idText: "1", callId: mintId("call", 0) }, null);
  const own = stream();
  expect(reading.begins(own)).toBe(true);
  return { reading, own };
};

test("a client that does not read holds up nobody who goes on with its call by another stream", async () => {
  const { reading, own } = begun();
  const stalled = reading.stall(new Promise<never>(() => {}));
  using asking = reading.ask();
  expect([reading.isOwn, own.ended()]).toEqual([false, false]);
  asking.take();
  await stalled;
  expect([own.ended(), reading.wasTaken]).toEqual([true, true]);
  // What it had read of its own stream by then waits for nobody either.
  await reading.stall(new Promise<never>(() => {}));
});

test("what its client takes last has it, and what is released is its call's own again", () => {
  const { reading } = begun();
  const [first, second] = [reading.ask(), reading.ask()];
  first.take();
  second.take();
  first[Symbol.dispose]();
  const another = stream();
  expect([reading.isOwn, reading.begins(another), another.ended()]).toEqual([false, false, true]);
  second[Symbol.dispose]();
  expect([reading.isOwn, reading.begins(stream())]).toEqual([true, true]);
});
