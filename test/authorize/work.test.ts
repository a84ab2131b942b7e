/** Conditions that a caller would like to be slow: bounded by what they can cost, before they are evaluated. */
import fc from "fast-check";
import { afterEach, describe, expect, test, vi } from "vitest";
import { readArguments } from "../../src/call/authorize/call-arguments.ts";
import { compileCondition } from "../../src/call/authorize/condition.ts";
import { STEPS_MAX } from "../../src/call/authorize/work.ts";

const LONG = "a".repeat(4_000_000);

function holds(expression: string, args: unknown, claims: unknown = {}): boolean | null {
  const condition = compileCondition(expression);
  if ("message" in condition) throw new Error(condition.message);
  const read = (value: unknown) => readArguments(Buffer.from(JSON.stringify(value)));
  return condition.holds({
    agent: new Map(),
    ...{ subject: null, customer: "c", server: "s", region: "", tool: "t", now: new Date(0) },
    args: () => read(args),
    claims: () => read(claims),
  });
}

/** Characters that searches walk through: each call counted by what it may have to compare. */
function countSteps(): { steps: number } {
  const counted = { steps: 0 };
  for (const name of ["includes", "indexOf"] as const) {
    const real = String.prototype[name] as (this: string, needle: string, from?: number) => unknown;
    vi.spyOn(String.prototype, name).mockImplementation(function (this: string, ...args: [string, number?]) {
      counted.steps += this.length;
      return real.apply(this, args) as never;
    });
  }
  const backwards = String.prototype.lastIndexOf;
  vi.spyOn(String.prototype, "lastIndexOf").mockImplementation(function (this: string, needle: string) {
    counted.steps += (this.length * Math.max(1, needle.length)) / 4;
    return backwards.call(this, needle);
  });
  return counted;
}
afterEach(() => {
  vi.restoreAllMocks();
});

describe("is not evaluated where it could take long, which counts as a condition that fails", () => {
  test.each([
    [
      "two texts of the caller's sought in each other",
      "args.t.contains(args.u)",
      { t: "a".repeat(100_000), u: `${"a".repeat(9999)}b${"a".repeat(9999)}` },
    ],
    ["the last place of one", "args.t.lastIndexOf(args.u) > 0", { t: "a".repeat(100_000), u: `${"a".repeat(20_000)}b` }],
    ["the last place of a long text", `args.t.lastIndexOf('${"a".repeat(100)}b') > 0`, { t: LONG }],
    ["very many searches", Array(60).fill("args.t.contains('aaab')").join(" || "), { t: LONG }],
    ["searches of all for each item", "args.l.all(x, args.t.contains('aaab'))", { l: Array(1000).fill(1), t: "a".repeat(60_000) }],
    [
      "many of them for each item",
      `args.l.all(x, ${Array(20).fill("args.t.contains('aaab')").join(" || ")})`,
      { l: Array(1000).fill(1), t: "a".repeat(4000) },
    ],
    [
      "a list of the whole, walked again",
      "args.l.map(x, args.t).exists(y, y.contains('aaab'))",
      { l: Array(1000).fill(1), t: "a".repeat(60_000) },
    ],
    ["a text that doubles at each step", `args.l${".map(x, x + x)".repeat(15)}.exists(y, y.contains('ab'))`, { l: ["a".repeat(2000)] }],
    ["a text put together", `(${Array(60).fill("args.t").join(" + ")}).contains('ab')`, { t: "a".repeat(400_000) }],
  ])("%s", (_, expression, args) => {
    const counted = countSteps();
    expect(holds(expression, args)).toBeNull();
    // The expression itself is read.
    expect(counted.steps).toBeLessThan(10_000);
  });

  test("claims count like arguments", () => {
    const claims = { t: "a".repeat(60_000) };
    expect(holds("args.l.exists(x, claims.t.contains('aaab'))", { l: Array(1000).fill(1) }, claims)).toBeNull();
  });
});

test("what people write is evaluated on the largest arguments", () => {
  expect(holds("args.t.contains('needle')", { t: `${LONG}needle` })).toBe(true);
  expect(holds("args.t.like('*needle*')", { t: LONG })).toBe(false);
  expect(holds("args.t.size() < 10000", { t: LONG })).toBe(false);
  expect(
    holds("args.path.startsWith('/srv/') && args.mode in ['a', 'b'] && args.n < 5", { path: "/srv/x", mode: "a", n: 1, t: LONG }),
  ).toBe(true);
  expect(holds("args.l.all(x, x.startsWith('a') && x.contains('b'))", { l: Array(1000).fill(`a${"b".repeat(3000)}`) })).toBe(true);
  expect(holds("args.text.contains(args.word)", { text: "some words", word: "word" })).toBe(true);
});

test("a duration is written out, since its parser takes minutes for a long one", () => {
  expect(compileCondition("duration(args.ttl) < duration('1h')")).toMatchObject({
    offset: 9,
    message: "the text of duration is written out",
  });
  expect(holds("now - timestamp(args.at) < duration('1h')", { at: "1970-01-01T00:00:00Z" })).toBe(true);
});

test("no condition walks further than its bound, whatever is put together", () => {
  const text = fc.constantFrom("args.t", "args.u", "(args.t + args.u)", "args.t.lowerAscii()", "args.t.trim()", "claims.c");
  const needle = fc.constantFrom("'a'", "'aaaaab'", "args.u", "args.t", `'${"a".repeat(90)}b'`);
  const search = fc.tuple(text, fc.constantFrom("contains", "indexOf", "lastIndexOf"), needle).map(([on, by, sought]) => {
    return by === "contains" ? `${on}.contains(${sought})` : `${on}.${by}(${sought}) == 7`;
  });
  const inside = fc.oneof(
    search,
    needle.map((sought) => `x.contains(${sought})`),
  );
  const part = fc.oneof(
    search,
    fc.tuple(fc.constantFrom("all", "exists", "exists_one"), inside).map(([macro, body]) => `args.l.${macro}(x, ${body})`),
    fc.tuple(fc.constantFrom("x + x", "args.t", "x"), inside).map(([map, body]) => `args.l.map(x, ${map}).exists(x, ${body})`),
  );
  const expression = fc.array(part, { minLength: 1, maxLength: 8 }).map((parts) => parts.join(" || "));
  const args = fc.record({
    t: fc.integer({ min: 0, max: 200_000 }).map((length) => "a".repeat(length)),
    u: fc.integer({ min: 0, max: 3000 }).map((length) => `${"a".repeat(length)}b`),
    l: fc.integer({ min: 0, max: 1000 }).map((length) => Array(length).fill("aa")),
  });
  fc.assert(
    fc.property(expression, args, (written, sent) => {
      const counted = countSteps();
      holds(written, sent, { c: "a".repeat(1000) });
      vi.restoreAllMocks();
      return counted.steps <= STEPS_MAX;
    }),
    { numRuns: 150 },
  );
});
