import fc from "fast-check";
import { expect, test } from "vitest";
import type { Limit, Pace, Rate } from "../../src/call/authorize/permit.ts";
import { createTurns, type NoTurn, type Turns } from "../../src/call/budget/turns.ts";
import type { CallId } from "../../src/ids.ts";

const NEVER = new AbortController().signal;
const FREE: Limit = { name: "free", rates: [], concurrent: null, waitMs: 0, loop: null };

function rate(count: number, perMs: number, burst = count): Rate {
  return { text: `${count}/${perMs}ms`, count, perMs, burst };
}

function pace(limit: Partial<Limit> & { name: string }, scope = ""): Pace {
  return { limit: { ...FREE, ...limit }, scope, key: `${limit.name}\0${scope}` };
}

function at(turns: Turns, paces: readonly Pace[], callId: string, more: { owner?: string; gone?: AbortSignal } = {}) {
  const { owner = "agt_1", gone = NEVER } = more;
  return turns.take({
    ...{ callId: callId as CallId, owner, paces, part: "all", mayWait: true, isLoop: () => false, passes: () => {}, gone: () => gone },
  });
}

const leave = (turns: Turns, callId: string) => turns.leave(callId as CallId);
const what = (no: NoTurn | null) => (no === null ? "passes" : no.no === "blocked" ? `${no.reason} ${no.pace.limit.name}` : no.no);

function still(): Turns {
  return createTurns(
    () => 0,
    () => {},
  );
}

test("a refusal draws from none: a call that one limit refuses leaves the tokens and places of the others", async () => {
  const turns = still();
  const [wide, narrow] = [
    pace({ name: "wide", rates: [rate(5, 1_000)], concurrent: 5 }),
    pace({ name: "narrow", rates: [rate(1, 1_000)] }),
  ];
  expect(what(await at(turns, [wide, narrow], "a"))).toBe("passes");
  for (let i = 0; i < 20; i++) expect(what(await at(turns, [wide, narrow], `b${i}`))).toBe("rate_limited narrow");
  expect(turns.leftOf([wide]).map(({ left }) => left)).toEqual([4, 4]);
});

test("of two rates both are counted, and the one that is used up refuses", async () => {
  const turns = still();
  const both = pace({ name: "both", rates: [rate(2, 1_000), rate(100, 3_600_000)] });
  expect(what(await at(turns, [both], "a"))).toBe("passes");
  expect(turns.leftOf([both]).map(({ left, rate: of }) => `${of?.text} ${left}`)).toEqual(["2/1000ms 1", "100/3600000ms 99"]);
});

test("a rate goes on with what was counted in its window, wherever a reload puts it in the list", async () => {
  const turns = still();
  const [short, long] = [rate(4, 1_000), rate(10, 3_600_000)];
  const left = (...rates: Rate[]) => turns.leftOf([pace({ name: "polite", rates })]).map((each) => each.left);
  let calls = 0;
  const passes = async (count: number, ...rates: Rate[]) => {
    for (let i = 0; i < count; i += 1) expect(what(await at(turns, [pace({ name: "polite", rates })], `c${calls++}`))).toBe("passes");
  };
  await passes(8, long);
  expect(left(short, long)).toEqual([4, 2]);
  await passes(1, short, long);
  expect(left(long)).toEqual([1]);
  await passes(1, long);
  // The short one that was away comes back as it was.
  expect(left(short, long)).toEqual([3, 0]);
  expect(left(long, short)).toEqual([0, 3]);
  expect(what(await at(turns, [pace({ name: "polite", rates: [short, rate(100, 3_600_000)] })], "more"))).toBe("rate_limited polite");
  // Another window: as full as the one that it stands for.
  expect(left(short, rate(5, 60_000))).toEqual([3, 0]);
});

test("a place is given back once, however often the call is said to have ended, and by nobody who has none", async () => {
  const turns = still();
  const one = pace({ name: "one", concurrent: 2 });
  for (const call of ["a", "b"]) expect(what(await at(turns, [one], call))).toBe("passes");
  expect(what(await at(turns, [one], "c"))).toBe("concurrency_limited one");
  for (const call of ["c", "nobody", "a", "a", "a"]) leave(turns, call);
  expect(turns.leftOf([one]).map(({ left }) => left)).toEqual([1]);
  expect(what(await at(turns, [one], "d"))).toBe("passes");
  expect(what(await at(turns, [one], "e"))).toBe("concurrency_limited one");
});

test("who waits for a place gets it in the order of coming, and nobody overtakes", async () => {
  const turns = createTurns(
    () => performance.now(),
    () => {},
  );
  const one = pace({ name: "one", concurrent: 1, waitMs: 30_000 });
  expect(what(await at(turns, [one], "0"))).toBe("passes");
  const order: string[] = [];
  const waiting = ["1", "2", "3"].map(async (call) => {
    expect(what(await at(turns, [one], call))).toBe("passes");
    order.push(call);
    leave(turns, call);
  });
  expect(turns.waiting).toBe(3);
  leave(turns, "0");
  await Promise.all(waiting);
  expect(order).toEqual(["1", "2", "3"]);
  expect(turns.waiting).toBe(0);
});

test("who waits for a token gets the next one", async () => {
  const turns = createTurns(
    () => performance.now(),
    () => {},
  );
  const slow = pace({ name: "slow", rates: [rate(1, 50)], waitMs: 30_000 });
  const calls = ["a", "b", "c"].map((call) => at(turns, [slow], call));
  expect(turns.waiting).toBe(2);
  expect((await Promise.all(calls)).map(what)).toEqual(["passes", "passes", "passes"]);
});

test("for whom the next token comes too late there is no waiting", () => {
  const turns = still();
  const slow = pace({ name: "slow", rates: [rate(1, 1_000)], waitMs: 1_500 });
  const calls = ["a", "b", "c"].map((call) => at(turns, [slow], call));
  expect(turns.waiting).toBe(1);
  expect(calls[2]).toMatchObject({ no: "blocked", reason: "rate_limited", retryAfterMs: 2_000 });
  turns.close();
});

test("who has waited for a place as long as it may is refused, and told when to come again", async () => {
  const turns = createTurns(
    () => performance.now(),
    () => {},
  );
  const one = pace({ name: "one", concurrent: 1, waitMs: 20 });
  await at(turns, [one], "a");
  expect(await at(turns, [one], "b")).toEqual({ no: "blocked", pace: one, reason: "concurrency_limited", retryAfterMs: 1_000 });
  expect(turns.waiting).toBe(0);
});

test("a client that leaves while it waits is out of the line, and the next one moves up", async () => {
  const turns = createTurns(
    () => performance.now(),
    () => {},
  );
  const one = pace({ name: "one", concurrent: 1, waitMs: 30_000 });
  await at(turns, [one], "a");
  const client = new AbortController();
  const [left, next] = [at(turns, [one], "b", { gone: client.signal }), at(turns, [one], "c")];
  client.abort();
  expect(what(await left)).toBe("left");
  leave(turns, "b");
  leave(turns, "a");
  expect(what(await next)).toBe("passes");
});

test("closing ends all waiting, and nothing waits afterwards", async () => {
  const turns = createTurns(
    () => performance.now(),
    () => {},
  );
  const one = pace({ name: "one", concurrent: 1, waitMs: 30_000 });
  await at(turns, [one], "a");
  const waiting = at(turns, [one], "b");
  turns.close();
  expect(what(await waiting)).toBe("closing");
  expect(what(await at(turns, [one], "c"))).toBe("concurrency_limited one");
});

test("who waits for one limit and then for another keeps neither while it waits, and passes when both let it", async () => {
  const turns = createTurns(
    () => performance.now(),
    () => {},
  );
  const [x, y] = [pace({ name: "x", concurrent: 1, waitMs: 30_000 }), pace({ name: "y", concurrent: 1, waitMs: 30_000 })];
  await at(turns, [x], "in-x");
  await at(turns, [y], "in-y");
  const both = at(turns, [x, y], "both");
  leave(turns, "in-x");
  expect(what(await at(turns, [x], "another-x"))).toBe("passes");
  leave(turns, "in-y");
  leave(turns, "another-x");
  expect(what(await both)).toBe("passes");
});

test("the line for one counter, and that of one agent, has an end", async () => {
  const turns = createTurns(
    () => performance.now(),
    () => {},
  );
  const one = pace({ name: "one", concurrent: 1, waitMs: 30_000 });
  await at(turns, [one], "a");
  const waiting = Array.from({ length: 200 }, (_, i) => at(turns, [one], `w${i}`));
  expect(turns.waiting).toBe(128);
  turns.close();
  expect((await Promise.all(waiting)).map(what).filter((said) => said === "concurrency_limited one")).toHaveLength(72);
});

test("one agent with a counter for each subject cannot keep others from having theirs, and what says nothing is forgotten", async () => {
  let nowMs = 0;
  const turns = createTurns(
    () => nowMs,
    () => {},
    { countersMax: 100, ownMax: 80, ownMin: 2 },
  );
  const own = (subject: string) => pace({ name: "own", rates: [rate(1, 60_000)] }, `subject=${subject}`);
  const flood = async (owner: string, count: number) => {
    const said = [];
    for (let i = 0; i < count; i++) said.push(what(await at(turns, [own(`${owner}-${i}`)], `${owner}-${nowMs}-${i}`, { owner })));
    for (let i = 0; i < count; i++) leave(turns, `${owner}-${nowMs}-${i}`);
    return said.filter((each) => each === "passes").length;
  };
  expect(await flood("greedy", 500)).toBe(80);
  expect(await flood("greedier", 500)).toBe(20);
  for (const quiet of ["quiet-1", "quiet-2", "quiet-3"]) expect(await flood(quiet, 5)).toBe(2);
  // A counter that is full again is as good as none.
  nowMs = 61_000;
  expect(await flood("late", 50)).toBe(50);
});

test("rates and places hold at every instant, whatever comes and goes in whatever order", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("take" as const), limits: fc.subarray([0, 1, 2], { minLength: 1 }) }),
    fc.record({ kind: fc.constant("leave" as const), of: fc.nat(30) }),
    fc.record({ kind: fc.constant("pass" as const), ms: fc.integer({ min: 0, max: 500 }) }),
  );
  const all = [
    pace({ name: "rated", rates: [rate(3, 1_000, 2)] }),
    pace({ name: "placed", concurrent: 2 }),
    pace({ name: "both", rates: [rate(10, 1_000)], concurrent: 3 }),
  ];
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      let nowMs = 0;
      const turns = createTurns(
        () => nowMs,
        () => {},
      );
      const passed: { id: string; atMs: number; limits: number[]; open: boolean }[] = [];
      for (const [i, each] of steps.entries()) {
        if (each.kind === "pass") nowMs += each.ms;
        if (each.kind === "leave") {
          const call = passed[each.of];
          if (call !== undefined) {
            leave(turns, call.id);
            call.open = false;
          }
        }
        if (each.kind !== "take") continue;
        const verdict = at(
          turns,
          each.limits.flatMap((index) => all[index] ?? []),
          `c${i}`,
        );
        const fits = each.limits.every((index) => {
          const { rates, concurrent } = all[index]?.limit ?? FREE;
          const own = passed.filter(({ limits }) => limits.includes(index));
          const places = concurrent === null || own.filter(({ open }) => open).length < concurrent;
          const tokens = rates.every(({ count, perMs, burst }) =>
            own.every((since, k) => (own.length - k + 1) * perMs <= burst * perMs + (nowMs - since.atMs) * count),
          );
          return places && tokens;
        });
        expect(verdict === null).toBe(fits);
        if (verdict === null) passed.push({ id: `c${i}`, atMs: nowMs, limits: each.limits, open: true });
      }
    }),
    { numRuns: 300 },
  );
});

test("making room for a new counter does not lose what the same call draws from an old one", async () => {
  let nowMs = 0;
  const turns = createTurns(
    () => nowMs,
    () => {},
    { countersMax: 2, ownMax: 2, ownMin: 0 },
  );
  const [old, other, fresh] = ["old", "other", "fresh"].map((name) => pace({ name, rates: [rate(1, 1_000)] })) as [Pace, Pace, Pace];
  for (const each of [old, other]) expect(what(await at(turns, [each], each.limit.name))).toBe("passes");
  for (const each of [old, other]) leave(turns, each.limit.name);
  nowMs = 10_000;
  expect(what(await at(turns, [old, fresh], "both"))).toBe("passes");
  expect(what(await at(turns, [old], "again"))).toBe("rate_limited old");
});
