import { expect, test } from "vitest";
import { createCrowds } from "../../src/call/budget/crowds.ts";
import type { CallId } from "../../src/ids.ts";

const NEVER = { gone: new AbortController().signal };
const call = (i: number) => `call_${i}` as CallId;

test("one agent has at most 1,024 calls under way, whatever others have, and each that ends makes room for one", () => {
  const crowds = createCrowds(() => 0);
  for (let i = 0; i < 1_024; i++) expect(crowds.enter("agt_1", call(i))).toBe(true);
  expect(crowds.enter("agt_1", call(5_000))).toBe(false);
  expect(crowds.enter("agt_2", call(6_000))).toBe(true);
  for (const ended of [call(5_000), call(7), call(7)]) crowds.leave(ended);
  expect(crowds.enter("agt_1", call(8_000))).toBe(true);
  expect(crowds.enter("agt_1", call(8_001))).toBe(false);
});

test("of an agent's refusals within a second those after the fiftieth wait, and nobody else's", () => {
  let nowMs = 0;
  const crowds = createCrowds(() => nowMs);
  for (let i = 0; i < 50; i++) expect(crowds.hold("agt_1", NEVER)).toBeNull();
  expect(crowds.hold("agt_1", NEVER)).toBeInstanceOf(Promise);
  expect(crowds.hold("agt_2", NEVER)).toBeNull();
  nowMs = 1_000;
  expect(crowds.hold("agt_1", NEVER)).toBeNull();
  crowds.close();
});

test("at most 4,096 refusals are held at once", async () => {
  const crowds = createCrowds(() => 0);
  const held = Array.from({ length: 5_000 }, () => crowds.hold("agt_1", NEVER)).filter((each) => each !== null);
  expect(held).toHaveLength(4_096);
  crowds.close();
  await Promise.all(held);
});

test("a held refusal is answered after a while, at once when its client leaves or the gateway drains, and none is held afterwards", async () => {
  const crowds = createCrowds(() => 0);
  for (let i = 0; i < 50; i++) crowds.hold("agt_1", NEVER);
  await crowds.hold("agt_1", NEVER);
  const client = new AbortController();
  const left = crowds.hold("agt_1", { gone: client.signal });
  client.abort();
  await left;
  const draining = crowds.hold("agt_1", NEVER);
  crowds.close();
  await draining;
  expect(crowds.hold("agt_1", NEVER)).toBeNull();
});
