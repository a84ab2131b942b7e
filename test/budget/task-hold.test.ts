import { expect, test } from "vitest";
import type { Draw, Permit } from "../../src/call/authorize/permit.ts";
import { createLedger } from "../../src/call/budget/memory-ledger.ts";
import type { Reservation } from "../../src/call/budget/reservation.ts";
import type { TaskBill } from "../../src/call/budget/rounds.ts";
import { billedOnce, isMetered, mayCost, roundOfTask } from "../../src/call/budget/task-hold.ts";
import { type CallId, mintId } from "../../src/ids.ts";
import { isRefusal, type Refusal, refuse } from "../../src/refusal.ts";

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
  charged: null,
  posting: null,
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

test("of two looks at once that both bring the result, one is charged", async () => {
  const task = bill();
  const ledger = createLedger([]);
  const [first, second] = [1, 2].map(() => sent(billedOnce(looks(ledger).held, task)));
  const settled = await Promise.all([first, second].map((look) => look?.post({ calls: 0, tool_tokens: 40 }, SUCCESS)));
  expect(settled.map((each) => each?.state)).toEqual(["posted", "voided"]);
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
  expect(task.charged).toBe(null);
});

test("of many looks at once at what a budget cannot carry none is delivered for another's hold, also where settling takes a while", async () => {
  const task = bill();
  const ledger = createLedger([]);
  const late = Array.from({ length: 10 }, () => {
    const held = sent(looks(ledger).held);
    const slow: Reservation = Object.assign(Object.create(held), {
      lines: held.lines,
      post: async (usage: Parameters<Reservation["post"]>[0]) => {
        await new Promise((resolve) => setTimeout(resolve, 5));
        return held.post(usage);
      },
      voidUnsent: () => held.voidUnsent(),
    });
    return billedOnce(slow, task).post({ calls: 0, tool_tokens: 2_000 }, SUCCESS);
  });
  const settled = await Promise.all(late);
  expect(settled.map(({ state, withheld }) => [state, withheld?.refused])).toEqual(Array(10).fill(["posted", "result_over_budget"]));
  expect(task.charged).toBe(null);
});

test("a look whose result has no text is charged for what it is", async () => {
  const task = bill();
  const { held } = looks();
  expect((await sent(billedOnce(held, task)).post({ calls: 0, tool_tokens: 0, bytes: 800_000 }, SUCCESS)).state).toBe("posted");
  expect(task.charged).toBe("success");
});

test("what was withheld is not charged off: the next look is held for again", async () => {
  const task = bill();
  const { held } = looks();
  expect((await sent(billedOnce(held, task)).post({ calls: 0, tool_tokens: 2_000 }, SUCCESS)).withheld?.refused).toBe("result_over_budget");
  expect(task.charged).toBe(null);
});

test("a look is metered until its task is charged, and nothing else about a task ever is", async () => {
  const task = bill();
  const round = roundOfTask(task);
  if (round === null) throw new Error("no round");
  const of = (asks: typeof isMetered | typeof mayCost, guards: Permit["guards"] = []) =>
    ["get", "result", "update", "cancel"].filter((verb) => asks({ course: "task", method: `tasks/${verb}` }, round, { guards }));
  expect(of(isMetered)).toEqual(["get", "result"]);
  task.charged = "error";
  expect(of(isMetered)).toEqual(["get", "result"]);
  task.charged = "success";
  expect(of(isMetered)).toEqual([]);
  // Guards look under the hold, whatever it costs; what it may cost is the same.
  const guards = [{ inspector: "pii", of: ["result"] }] as const;
  expect(of(isMetered, guards)).toEqual(["get", "result", "update", "cancel"]);
  expect(of(mayCost, guards)).toEqual([]);
  expect(round).toMatchObject({ calls: 0, logicalCallId: task.logicalCallId });
});

test("an error is charged once, and the success that may follow it, once; what a guard keeps leaves the bill open", async () => {
  const task = bill();
  const ledger = createLedger([]);
  const look = async (came: typeof SUCCESS | typeof FAILURE | { kind: "result"; refusal: Refusal }) =>
    (await sent(billedOnce(looks(ledger).held, task)).post({ calls: 0, tool_tokens: 10 }, came)).state;
  expect([await look(FAILURE), await look(FAILURE), task.charged]).toEqual(["posted", "voided", "error"]);
  expect([await look({ kind: "result", refusal: refuse("content_refused") }), task.charged]).toEqual(["posted", "error"]);
  expect([await look(SUCCESS), await look(SUCCESS), await look(FAILURE), task.charged]).toEqual(["posted", "voided", "voided", "success"]);
  expect(ledger.balances()).toMatchObject([{ committed: 30, held: 0 }]);
});
