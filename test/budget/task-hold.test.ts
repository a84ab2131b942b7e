import { expect, test } from "vitest";
import type { Draw, Permit } from "../../src/call/authorize/permit.ts";
import { createLedger } from "../../src/call/budget/memory-ledger.ts";
import type { Came, Reservation } from "../../src/call/budget/reservation.ts";
import type { TaskBill } from "../../src/call/budget/rounds.ts";
import { dueOf, enterInline, takeTurn } from "../../src/call/budget/task-bill.ts";
import { billedOnce, isKnownOf, isMetered, mayCost, roundOfTask } from "../../src/call/budget/task-hold.ts";
import { type CallId, mintId } from "../../src/ids.ts";
import { isRefusal, refuse } from "../../src/refusal.ts";

const DRAW: Draw = {
  budget: "tokens",
  scope: "",
  meter: "tool_tokens",
  limit: 1_000,
  period: "total",
  timeZone: "UTC",
  hard: true,
  overrun: "withhold",
  rollingMs: 0,
  overage: null,
  notify: [],
  lease: 0,
};
const SUCCESS = { kind: "result", refusal: null } as const;
const FAILURE = { kind: "tool_error", refusal: null } as const;
const newCallId = (): CallId => mintId("call", 0);
const bill = (): TaskBill & { readonly logicalCallId: CallId } => ({
  target: { kind: "tool", name: "report" } as const,
  given: null,
  logicalCallId: newCallId(),
  bill: { texts: new Set(), amounts: new Map(), turn: null },
});

function looks(ledger = createLedger([])) {
  const held = ledger.hold(newCallId(), [DRAW], { calls: 0, tool_tokens: 100 }, 0);
  if (isRefusal(held)) throw new Error("refused");
  return { ledger, held };
}

function sent(reservation: Reservation): Reservation {
  reservation.sent();
  return reservation;
}

/** A look as the gateway measures and settles it: what it brings, and what it is charged. */
async function look(task: TaskBill, ledger: ReturnType<typeof createLedger>, text: string, came: Came, tokens = 40, further: object = {}) {
  const { held } = looks(ledger);
  const billed = sent(billedOnce(held, task));
  await takeTurn(task.bill, held.callId);
  const { isKnown, amounts } = dueOf(task.bill, Buffer.from(text), further as Record<string, number>);
  return billed.post({ calls: 0, tool_tokens: isKnown ? 0 : tokens, ...amounts }, came);
}

test("of two looks at once that both bring the result, one is charged", async () => {
  const task = bill();
  const ledger = createLedger([]);
  const settled = await Promise.all([1, 2].map(() => look(task, ledger, "the result", SUCCESS)));
  expect(settled.map((each) => each.state)).toEqual(["posted", "voided"]);
  expect(ledger.balances()).toMatchObject([{ committed: 40, held: 0 }]);
});

test.each([
  ["brings nothing", (look: Reservation) => look.post({ calls: 0, tool_tokens: 0 }, SUCCESS)],
  ["has an unknown fate", (look: Reservation) => look.postUnknown()],
  ["was not sent after all", (look: Reservation) => look.voidUnsent()],
])("a look that %s gives its hold back and leaves the bill open", async (_, end) => {
  const task = bill();
  const { ledger, held } = looks();
  expect((await end(sent(billedOnce(held, task)))).state).toBe("voided");
  expect(ledger.balances()).toMatchObject([{ committed: 0, held: 0 }]);
  expect(isKnownOf(task)).toBe(false);
});

test("of two looks at once of which each brings a text of its own, each is charged", async () => {
  const task = bill();
  const ledger = createLedger([]);
  const settled = await Promise.all(["at 10:00", "at 10:01"].map((text) => look(task, ledger, text, SUCCESS)));
  expect(settled.map((each) => each.state)).toEqual(["posted", "posted"]);
  expect(ledger.balances()).toMatchObject([{ committed: 80, held: 0 }]);
});

test("of many looks at once at what a budget cannot carry none is delivered for another's hold, and none is charged", async () => {
  const task = bill();
  const ledger = createLedger([]);
  const settled = await Promise.all(Array.from({ length: 10 }, () => look(task, ledger, "large", SUCCESS, 2_000)));
  expect(settled.map(({ state, withheld }) => [state, withheld?.refused])).toEqual(Array(10).fill(["voided", "result_over_budget"]));
  expect(isKnownOf(task)).toBe(false);
  expect(ledger.balances()).toMatchObject([{ committed: 0, held: 0 }]);
});

test("a look whose result has no text is charged for what it is", async () => {
  const task = bill();
  const { held } = looks();
  const billed = sent(billedOnce(held, task));
  await takeTurn(task.bill, held.callId);
  dueOf(task.bill, Buffer.from("an image"), {});
  expect((await billed.post({ calls: 0, tool_tokens: 0, bytes: 800_000 }, SUCCESS)).state).toBe("posted");
  expect(isKnownOf(task)).toBe(true);
});

test("what was withheld is not charged off: the next look is held for again", async () => {
  const task = bill();
  const { held } = looks();
  expect((await sent(billedOnce(held, task)).post({ calls: 0, tool_tokens: 2_000 }, SUCCESS)).withheld?.refused).toBe("result_over_budget");
  expect(isKnownOf(task)).toBe(false);
});

test("a look at a task is metered, and nothing else about one ever is", async () => {
  const task = bill();
  const round = roundOfTask(task);
  if (round === null) throw new Error("no round");
  const of = (asks: typeof isMetered | typeof mayCost, guards: Permit["guards"] = []) =>
    ["get", "result", "update", "cancel"].filter((verb) => asks({ course: "task", method: `tasks/${verb}` }, round, { guards }));
  expect(of(isMetered)).toEqual(["get", "result"]);
  // Guards look under the hold, whatever it costs; what it may cost is the same.
  const guards = [{ inspector: "pii", of: ["result"] }] as const;
  expect(of(isMetered, guards)).toEqual(["get", "result", "update", "cancel"]);
  expect(of(mayCost, guards)).toEqual(["get", "result"]);
  expect(round).toMatchObject({ calls: 0, logicalCallId: task.logicalCallId });
});

test("each text is charged once and the most of each outcome, whatever comes before; what a guard keeps leaves its outcomes to be charged", async () => {
  const task = bill();
  const ledger = createLedger([]);
  const state = async (...asked: [text: string, came: Came, tokens?: number, further?: object]) =>
    (await look(task, ledger, ...asked)).state;
  expect([await state("failed", FAILURE, 10), await state("failed", FAILURE, 10)]).toEqual(["posted", "voided"]);
  expect([await state("half", { kind: "task", refusal: null }, 20), await state("half", { kind: "task", refusal: null }, 20)]).toEqual([
    "posted",
    "voided",
  ]);
  expect(await state("whole", { kind: "result", refusal: refuse("content_refused") }, 30)).toBe("posted");
  expect(await state("whole", SUCCESS, 30, { "outcome:done": 1 })).toBe("posted");
  expect([...task.bill.amounts]).toEqual([["outcome:done", 1]]);
  expect(ledger.balances()).toMatchObject([{ committed: 60, held: 0 }]);
});

test("a look that ends in any other way lets the next one have its turn", async () => {
  const task = bill();
  const ledger = createLedger([]);
  for (const end of ["postUnknown", "voidUnsent", Symbol.dispose] as const) {
    const { held } = looks(ledger);
    const billed = sent(billedOnce(held, task));
    await takeTurn(task.bill, held.callId);
    billed[end]();
    expect(task.bill.turn).toBe(null);
  }
  expect((await look(task, ledger, "the result", SUCCESS)).state).toBe("posted");
});

test("a look for which nothing could be held brings what is charged already, and nothing else", async () => {
  const task = bill();
  const refused = refuse("budget_exhausted", { budget: "tokens" });
  const unheld = async (text: string, further: object = {}) => {
    const held = createLedger([]).hold(newCallId(), [], {}, 0);
    if (isRefusal(held)) throw new Error("refused");
    const billed = sent(billedOnce(held, task, refused));
    await takeTurn(task.bill, held.callId);
    const { isKnown, amounts } = dueOf(task.bill, Buffer.from(text), further as Record<string, number>);
    const { state, withheld } = await billed.post({ calls: 0, tool_tokens: isKnown ? 0 : 40, ...amounts }, SUCCESS);
    return [billed.bytesMax, billed.metersResult, state, withheld];
  };
  enterInline(task.bill, Buffer.from("the result"), { "outcome:done": 1 });
  expect(await unheld("the result", { "outcome:done": 1 })).toEqual([0, true, "voided", null]);
  const withheld = expect.objectContaining({ refused: "result_over_budget", facts: { budget: "tokens" } });
  expect(await unheld("another")).toEqual([0, true, "voided", withheld]);
  expect(await unheld("the result", { "outcome:more": 1 })).toEqual([0, true, "voided", withheld]);
});

test("of many parts the last ones are remembered, so that a look at the same one again is free", async () => {
  const task = bill();
  const ledger = createLedger([]);
  for (let i = 0; i < 12; i++) expect((await look(task, ledger, `part ${i}`, SUCCESS, 1)).state).toBe("posted");
  expect((await look(task, ledger, "part 11", SUCCESS, 1)).state).toBe("voided");
  expect(task.bill.texts.size).toBe(8);
});
