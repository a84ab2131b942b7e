import { expect, test } from "vitest";
import type { Agent } from "../../src/call/authenticate/agent.ts";
import type { Permit } from "../../src/call/authorize/permit.ts";
import { createRetries } from "../../src/call/record/retries.ts";
import { openStory } from "../../src/call/record/story.ts";
import { requestOf } from "../forward/http-client.ts";

test("where the keys of earlier calls cannot be read, a call with a key is refused, and one without goes on", async () => {
  const faults: unknown[] = [];
  const retries = createRetries({
    keys: { begin: () => Promise.reject(new Error("the disk is gone")), end: () => {} },
    ...{ digest: (text: string) => text, keepMs: 1_000, understands: () => false, replay: () => null, putBack: () => {} },
    fault: (thrown) => faults.push(thrown),
  });
  const agent = { profile: { id: "agt_1", customer: "acme" }, person: null } as unknown as Agent;
  const permit = { replayMs: null } as Permit;
  const plain = requestOf({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "t", arguments: {} } });
  const keyed = { ...plain, idempotencyKey: "k" };
  expect(await retries.admit(openStory(plain, plain), agent, plain, permit)).toBeNull();
  const story = openStory(keyed, keyed);
  expect(await retries.admit(story, agent, keyed, permit)).toMatchObject({ refused: "store_unavailable" });
  expect([story.retry, faults.length]).toEqual([null, 1]);
});
