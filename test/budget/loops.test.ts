import { expect, test } from "vitest";
import type { Loop } from "../../src/call/authorize/permit.ts";
import { createLoops } from "../../src/call/budget/loops.ts";
import { fingerprintOf } from "../../src/call/budget/repetition.ts";
import type { ServerName } from "../../src/ids.ts";

const LOOP: Loop = { calls: 3, withinMs: 1_000, action: "refuse" };

/** `+` passes, `!` the first refusal of a loop, `-` a further one. */
function play(times: readonly number[], loop = LOOP, callers = createLoops(), fingerprint = "same"): string {
  return times
    .map((atMs) => {
      const { isLoop, begins } = callers.judge(loop, "bot", fingerprint, atMs);
      if (!isLoop) callers.note(loop, "bot", fingerprint, atMs);
      return isLoop ? (begins ? "!" : "-") : "+";
    })
    .join("");
}

test.each<[what: string, times: number[], said: string]>([
  ["three within a second pass, the fourth begins a loop", [0, 10, 20, 30, 40], "+++!-"],
  ["what is spread over more time is none", [0, 400, 800, 1_200, 1_600, 2_000], "++++++"],
  ["every refused call makes the pause begin anew", [0, 0, 0, 1, 900, 1_800, 2_700], "+++!---"],
  ["after a pause it passes as if nothing had been, and may break again", [0, 0, 0, 1, 1_001, 1_001, 1_001, 1_001], "+++!+++!"],
  ["a clock that stands still counts all the same", [5, 5, 5, 5], "+++!"],
])("%s", (_, times, said) => {
  expect(play(times)).toBe(said);
});

test("another call of the same caller in between changes nothing; a very wide circle is forgotten", () => {
  const callers = createLoops();
  let said = "";
  for (let i = 0; i < 4; i++) {
    said += play([i], LOOP, callers, "same");
    play([i], LOOP, callers, `other-${i}`);
  }
  expect(said).toBe("+++!");
});

function print(
  args: string | null,
  { tool = "search", server = "tickets", method = "tools/call", kind = "tool" as "tool" | "prompt" } = {},
) {
  const body = Buffer.from(args ?? "");
  const argumentsSpan = args === null ? null : { start: 0, end: body.length };
  return fingerprintOf({ server: server as ServerName, method, target: { kind, name: tool }, argumentsSpan, body });
}

test.each([
  ['{"a":1,"b":[1,2]}', '{ "b" : [1, 2],\n "a" : 1 }'],
  ['{"a":{"x":1,"y":2}}', '{"a":{"y":2,"x":1}}'],
  ['{"a":"é"}', '{"a":"\\u00e9"}'],
  ['{"a":"/"}', '{"a":"\\/"}'],
  ['{"a":1}', '{"a":1.0}'],
  ['{"a":100}', '{"a":1e2}'],
  ['{"a":0}', '{"a":-0}'],
  ['{"\\u0061":1}', '{"a":1}'],
])("%s and %s are the same call", (one, other) => {
  expect(print(one)).toBe(print(other));
});

test("no arguments are the same as none in them", () => {
  expect(print(null)).toBe(print("{}"));
});

test.each([
  ['{"a":1}', '{"a":"1"}'],
  ['{"a":1}', '{"a":2}'],
  ['{"a":[1,2]}', '{"a":[2,1]}'],
  ['{"a":null}', "{}"],
  ['{"a":9007199254740993}', '{"a":9007199254740992}'],
  ['{"a":1e400}', '{"a":null}'],
  ['{"__proto__":1}', "{}"],
  ['{"a":"\\u00e9"}', '{"a":"e\\u0301"}'],
])("%s and %s are not the same call", (one, other) => {
  expect(print(one)).not.toBe(print(other));
});

test("another tool, another server or another spelling of the name is another call; what calls no tool has no print", () => {
  const prints = [print("{}"), print("{}", { tool: "Search" }), print("{}", { server: "crm" })];
  expect(new Set(prints).size).toBe(3);
  expect(print("{}", { method: "prompts/get", kind: "prompt" })).toBeNull();
});
