import canonicalize from "canonicalize";
import fc from "fast-check";
import { expect, test } from "vitest";
import { canonicalJson, isCanonical } from "../../src/call/record/canonical.ts";
import { eventText } from "../../src/call/record/record-text.ts";
import { rfc3339 } from "../../src/call/record/rfc3339.ts";
import { bodyOf, recordRow } from "../../src/call/record/rows.ts";
import { auditOf, LINES, newCallId, settlementEntry } from "./entries.ts";

test("every JSON value has the same canonical form as the library gives it", () => {
  fc.assert(
    fc.property(fc.jsonValue({ stringUnit: "binary" }), (value) => {
      const wellFormed = JSON.stringify(value).isWellFormed() && !/\\ud[89a-f]/i.test(JSON.stringify(value));
      if (wellFormed) expect(canonicalJson(value)).toBe(canonicalize(value));
      else expect(() => canonicalJson(value)).toThrow("lone surrogate");
    }),
    { numRuns: 2_000 },
  );
});

test("a text passes for canonical exactly where it is the canonical form of what it says", () => {
  fc.assert(
    fc.property(fc.jsonValue({ stringUnit: "binary" }), (value) => {
      const text = JSON.stringify(value);
      fc.pre(!/\\ud[89a-f]/i.test(text));
      const canonical = canonicalize(value) ?? "";
      expect(isCanonical(canonical, JSON.parse(canonical))).toBe(true);
      expect(isCanonical(text, JSON.parse(text))).toBe(text === canonical);
    }),
    { numRuns: 1_000 },
  );
  for (const text of [
    '{"b":1,"a":2}',
    '{"a":1,"a":1}',
    '{ "a":1}',
    "-0",
    "1.0",
    "1e2",
    '"\\u0041"',
    '{"a":{"c":1,"b":1}}',
    '[{"b":1,"a":1}]',
  ])
    expect(isCanonical(text, JSON.parse(text)), text).toBe(false);
});

test.each([
  [{ b: 1, a: 2, "10": 3, "9": 4, "": 5 }],
  [JSON.parse('{"__proto__":{"x":1},"constructor":2}')],
  [{ "\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\ud83d\ude02": 5, "\u0080": 6, "\u00f6": 7 }],
  [[1e21, 1e-7, -0, 0.1, 1e23, Number.MAX_SAFE_INTEGER, 5e-324]],
  ['"\\\b\f\n\r\t\u0000\u001f\u007f\u2028é'],
  [{ a: undefined, b: [null, true, false] }],
])("%j has the same canonical form as the library gives it", (value) => {
  expect(canonicalJson(value)).toBe(canonicalize(value));
});

test.each([[Number.NaN], [Number.POSITIVE_INFINITY], ["\udc00"], [{ "\ud800": 1 }], [() => 1], [1n]])("%s has none", (value) => {
  expect(() => canonicalJson(value)).toThrow("canonical form");
});

test("two shapes with the same first name and number of names do not mix", () => {
  expect(
    canonicalJson([
      { z: 1, b: 2 },
      { z: 1, a: 2 },
    ]),
  ).toBe('[{"b":2,"z":1},{"a":2,"z":1}]');
});

const anyText = fc.string({ unit: "binary" }).filter((each) => each.isWellFormed());
const anyRecord = fc.record(
  {
    agent: fc.constantFrom(null, auditOf(newCallId(), LINES, "posted", 1).agent),
    actor_chain: fc.array(anyText),
    request: fc.option(
      fc.record({
        http_method: anyText,
        method: fc.option(anyText),
        era: anyText,
        revision: anyText,
        id: anyText,
        user_agent: anyText,
        view: fc.option(anyText),
      }),
    ),
    target: fc.option(fc.record({ kind: anyText, name: anyText })),
    note: fc.option(anyText),
    rule: fc.option(fc.record({ name: anyText, file: anyText, line: fc.nat() })),
    condition_faults: fc.array(anyText),
    subject: fc.option(anyText),
    settlement: fc.constantFrom("posted", "voided", "unknown", null),
    rate: fc.option(fc.double({ noNaN: true, noDefaultInfinity: true })),
    upstream: fc.option(
      fc.record({ status: fc.option(fc.nat()), credential: anyText, bytes_in: fc.nat(), bytes_out: fc.nat(), duration_ms: fc.nat() }),
    ),
    details: fc.option(fc.dictionary(anyText, fc.oneof(anyText, fc.nat(), fc.boolean(), fc.constant(null)))),
  },
  { requiredKeys: [] },
);

test("a record's body is the canonical form of the record with its number, its gateway and its usage event", () => {
  fc.assert(
    fc.property(anyRecord, fc.option(anyText), (members, usageEvent) => {
      const record = { ...auditOf(newCallId(), LINES, "posted", 120), ...members };
      expect(bodyOf(recordRow(record, "gw_x", usageEvent), 17)).toBe(
        canonicalize({ ...record, sequence: 17, source: "gw_x", usage_event: usageEvent }),
      );
    }),
  );
});

const amounts = fc.dictionary(anyText, fc.nat(), { noNullPrototype: true });
const anyFurther = fc.record({ outcomes: amounts, outputs: amounts }, { requiredKeys: [] });

test("a usage event's text is its canonical form, and so are the attributes that it shares", () => {
  fc.assert(
    fc.property(anyText, fc.option(anyText), fc.nat(), fc.boolean(), anyFurther, (tool, team, tokens, provisional, further) => {
      const { usage } = settlementEntry(newCallId());
      if (usage === null) throw new Error("a posted settlement has a usage event");
      const { quantity, ...rest } = usage.data;
      const event = {
        ...usage,
        subject: tool,
        data: { ...rest, tool, team, provisional, quantity: { ...quantity, ...further, tool_tokens: tokens } },
      };
      const { call_id, logical_call_id, quantity: _, ...attributes } = event.data;
      expect(eventText(event)).toEqual({ event: canonicalize(event), attributes: canonicalize({ ...attributes, customer: tool }) });
    }),
  );
});

test.each([[0], [1], [999], [1_000], [951_782_400_000], [1_791_234_567_089], [-1], [-1_001]])(
  "%s ms are written as Date writes them",
  (ms) => {
    expect([rfc3339(ms), rfc3339(ms + 1), rfc3339(ms)]).toEqual([ms, ms + 1, ms].map((each) => new Date(each).toISOString()));
  },
);

test("a record with a number that JSON cannot carry has none", () => {
  expect(() => recordRow({ ...auditOf(null, [], null, 0), duration_ms: Number.NaN }, "gw_x")).toThrow("canonical form");
});
