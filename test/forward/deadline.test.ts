import { getEventListeners } from "node:events";
import { expect, test } from "vitest";
import { beforeEnd, startDeadline } from "../../src/call/forward/deadline.ts";

test("a job that waits often leaves nothing behind on its signal, and is woken by its end", async () => {
  const stopped = new AbortController();
  using deadline = startDeadline(60_000, null, stopped.signal);
  for (let i = 0; i < 20; i++) expect(await beforeEnd(deadline, Promise.resolve(i))).toBe(i);
  expect(getEventListeners(deadline.signal, "abort").length).toBe(0);
  const waiting = beforeEnd(deadline, new Promise<never>(() => {}));
  stopped.abort();
  expect([await waiting, deadline.ending]).toEqual([null, "stopped"]);
});
