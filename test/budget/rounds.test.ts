import { expect, test } from "vitest";
import type { McpRequest } from "../../src/call/accept/request.ts";
import { createRounds } from "../../src/call/budget/rounds.ts";
import type { CallId } from "../../src/ids.ts";

let calls = 0;

type Asked = { name?: string; args?: string; state?: string | null; answers?: boolean };

function request({ name = "book", args = '{"seat":1}', state = null, answers = false }: Asked = {}): McpRequest {
  calls += 1;
  const body = Buffer.from(args);
  const followUp = answers ? { requestState: state } : null;
  const target = { kind: "tool", name };
  return {
    callId: `call_${calls}` as CallId,
    server: "up",
    method: "tools/call",
    target,
    argumentsSpan: { start: 0, end: body.length },
    body,
    followUp,
  } as McpRequest;
}

/** A first request, answered with `input_required` and this state. */
function asked(state: string | null, principal = "p") {
  const rounds = createRounds();
  const first = request();
  const round = rounds.roundOf(principal, first);
  rounds.remember(principal, first, round, state);
  return { rounds, first, round };
}

test("the answer to a question is the same call's second round, and counts no call", () => {
  const { rounds, first, round } = asked("s");
  expect(round).toMatchObject({ logicalCallId: first.callId, number: 1, calls: 1 });
  expect(rounds.roundOf("p", request({ answers: true, state: "s" }))).toMatchObject({ logicalCallId: first.callId, number: 2, calls: 0 });
});

test.each([
  ["another principal", "q", { answers: true, state: "s" }],
  ["another state", "p", { answers: true, state: "t" }],
  ["no state", "p", { answers: true, state: null }],
  ["another tool", "p", { answers: true, state: "s", name: "cancel" }],
  ["other arguments", "p", { answers: true, state: "s", args: '{"seat":2}' }],
  ["nothing that answers", "p", { answers: false, state: "s" }],
] as const)("%s makes it a call of its own", (_, principal, second) => {
  const { rounds } = asked("s");
  const again = request(second);
  expect(rounds.roundOf(principal, again)).toMatchObject({ logicalCallId: again.callId, number: 1, calls: 1 });
});

test("a state is good for one answer, unless that answer was refused", () => {
  const { rounds } = asked("s");
  const second = rounds.roundOf("p", request({ answers: true, state: "s" }));
  expect(rounds.roundOf("p", request({ answers: true, state: "s" })).calls).toBe(1);
  rounds.putBack(second);
  expect(rounds.roundOf("p", request({ answers: true, state: "s" })).calls).toBe(0);
});

test("after ten rounds the next is a new call", () => {
  const { rounds, first } = asked("1");
  let last = first;
  for (let number = 2; number <= 10; number++) {
    last = request({ answers: true, state: String(number - 1) });
    const round = rounds.roundOf("p", last);
    expect(round).toMatchObject({ logicalCallId: first.callId, number, calls: 0 });
    rounds.remember("p", last, round, String(number));
  }
  expect(rounds.roundOf("p", request({ answers: true, state: "10" })).calls).toBe(1);
});
