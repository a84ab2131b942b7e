/** What a condition does with one tool's arguments, by the tool's schema. */
import { describe, expect, test } from "vitest";
import { readingOf } from "../../src/call/authorize/argument-reading.ts";
import { partsOf } from "../../src/call/authorize/condition.ts";

const SCHEMA = {
  type: "object",
  required: ["limit", "filter", "items", "query"],
  properties: {
    limit: { type: "integer", minimum: 1, maximum: 500 },
    ratio: { type: "number" },
    query: { type: "string" },
    state: { enum: ["open", "closed"] },
    flag: { type: "boolean" },
    tags: { type: "array", items: { type: "string" } },
    filter: { $ref: "#/$defs/Filter" },
    items: {
      type: "array",
      items: { type: "object", required: ["qty"], properties: { qty: { type: "integer" }, note: { type: "string" } } },
    },
    free: { type: "object" },
    labels: { type: "object", additionalProperties: { type: "string" } },
    maybe: { type: ["string", "null"] },
    either: { anyOf: [{ type: "string" }, { type: "integer" }] },
    far: { $ref: "https://schemas.example/far.json" },
  },
  $defs: {
    Filter: { type: "object", required: ["status"], properties: { status: { type: "string" }, next: { $ref: "#/$defs/Filter" } } },
  },
};

function read(expression: string, schema: unknown = SCHEMA, tool = "search"): string[] {
  const { findings } = readingOf(partsOf(expression), "tickets", tool, schema);
  return findings.map(({ kind, offset, text }) => `${offset} ${kind}: ${text}`);
}

describe("says nothing of what the schema allows", () => {
  test.each([
    "args.limit <= 100",
    "args.limit < 99.5 && args.limit == 5.0",
    "args.limit in [1, 2.0] && args.limit != 7",
    "has(args.ratio) && args.ratio > 1 && args.ratio < 1.5",
    "args.ratio > 1 && has(args.ratio)",
    "!has(args.ratio) || args.ratio > 1",
    "has(args.ratio) ? args.ratio > 1 : true",
    "'ratio' in args && args.ratio > 1",
    "!(has(args.ratio) && args.ratio > 1)",
    "args.filter.status == 'open'",
    "has(args.filter.next) && args.filter.next.status == 'open'",
    "args.items.all(i, i.qty < 3)",
    "args.items.exists(i, has(i.note) && i.note.startsWith('x'))",
    "args.items[0].qty > 1 && args['limit'] == 1",
    "has(args.free) && args.free.anything.at.all == 1",
    "has(args.labels) && args.labels.anything == 'x'",
    "has(args.maybe) && (args.maybe == null || args.maybe == 'x')",
    "has(args.either) && (args.either == 'x' || args.either == 5)",
    "has(args.far) && args.far.x.y == 1 && args.far > 2",
    "has(args.state) && args.state in ['open', 'closed']",
    "has(args.flag) && args.flag",
    "has(args.tags) && 'a' in args.tags",
    "size(args) > 0 && args.query.size() < 9 && like(args.query, 'x*')",
    "timestamp(args.query) > now",
    "int(args.query) + args.limit > 5",
    "tool == 'other' && args.nothing == 1",
    "tool != 'other' || args.nothing == 1",
    "tool.startsWith('del') ? args.nothing == 1 : true",
    "agent.team == 'a' && subject == null && claims.x == 1",
    "args.items.filter(i, i.qty > 1).size() == 1",
    "args.items.map(i, i.qty).exists(q, q > 1)",
  ])("%s", (expression) => {
    expect(read(expression)).toEqual([]);
  });
});

describe("finds what cannot be", () => {
  test.each([
    ["args.limt <= 100", "5 absent: no argument limt"],
    ["has(args.limt)", "9 absent: no argument limt"],
    ["args['limt'] == 1", "5 absent: no argument limt"],
    ["'limt' in args", "0 absent: no argument limt"],
    ["args.filter.stauts == 'x'", "12 absent: no argument filter.stauts"],
    ["args.items.all(i, i.qyt < 3)", "20 absent: no argument items[].qyt"],
    ["args.items[0].qyt < 3", "14 absent: no argument items[].qyt"],
    ["args.limit == '5'", "0 mismatch: limit is a number and never equals a text: leave out the quotes"],
    ["'x' != args.limit", "7 mismatch: limit is a number and is always other than a text"],
    ["args.limit < 'a'", "0 mismatch: limit is a number and cannot be compared by < with a text"],
    ["args.query > 5", "0 mismatch: query is a text and cannot be compared by > with a number"],
    ["args.limit in ['5']", "0 mismatch: limit is a number and is never in a list of a text: leave out the quotes"],
    ["args.limit.startsWith('x')", "0 mismatch: limit is a number, and startsWith is for texts"],
    ["like(args.limit, 'x*')", "5 mismatch: limit is a number, and like is for texts"],
    ["args.limit.size() > 1", "0 mismatch: limit is a number and has no size"],
    ["args.query.all(x, x == 'a')", "0 mismatch: query is a text, and all is for lists"],
    ["args.limit.x == 1", "11 mismatch: limit is a number and has no member x"],
    ["'x' in args.query", "7 mismatch: query is a text, and in looks into lists; use contains"],
    ["args.limit && true", "0 mismatch: limit is a number, and && joins what is true or false"],
    ["!args.limit", "1 mismatch: limit is a number and cannot be negated with !"],
    ["args.limit", "0 mismatch: limit is a number, and a condition gives true or false"],
    ["args.filter > 1", "0 mismatch: filter is an object and cannot be compared by > with a number"],
    ["args.query > now", "0 mismatch: query is a text and cannot be compared by > with a time"],
    ["args.limit == null", "0 never: limit is never null; ask with has(args.limit) whether it is there"],
    ["has(args.state) && args.state == 'opne'", '33 never: state is never "opne"; there is "open", "closed"'],
    ["has(args.state) && args.state in ['open', 'x']", '42 never: state is never "x"; there is "open", "closed"'],
    ["args.ratio > 1", "5 optional: ratio may be left out"],
    ["args.ratio > 1 || has(args.ratio)", "5 optional: ratio may be left out"],
    ["args.ratio > 1 && args.ratio < 2", "5 optional: ratio may be left out"],
    ["has(args.filter.next.next)", "21 optional: filter.next may be left out".replace("21", "16")],
    ["args.items.all(i, i.note == 'x')", "20 optional: items[].note may be left out"],
    ["args.items.exists(i, i.qty == 'x')", "21 mismatch: items[].qty is a number and never equals a text"],
  ])("%s: %s", (expression, finding) => {
    expect(read(expression)).toEqual([finding]);
  });
});

describe("a schema put together from parts", () => {
  test.each([
    ["allOf", { allOf: [{ properties: { a: { type: "integer" } } }, { properties: { b: {} }, required: ["a", "b"] }], type: "object" }],
    ["anyOf", { type: "object", anyOf: [{ properties: { a: { type: "integer" } } }, { properties: { a: { type: "number" }, b: {} } }] }],
    [
      "anyOf over a base",
      { type: "object", properties: { a: { type: "integer" }, b: {} }, anyOf: [{ required: ["a"] }, { required: ["b"] }] },
    ],
  ])("%s: knows its members, and no others", (_, schema) => {
    const found = (expression: string) =>
      readingOf(partsOf(expression), "s", "t", schema).findings.filter(({ kind }) => kind !== "optional");
    expect(found("args.a > 1 && args.b == 1")).toEqual([]);
    expect(found("args.c == 1")).toMatchObject([{ kind: "absent" }]);
    expect(found("args.a == 'x'")).toMatchObject([{ kind: "mismatch" }]);
  });

  test.each([
    ["no properties at all", { type: "object" }],
    ["true", true],
    ["no schema", null],
    ["additional properties", { properties: { a: {} }, additionalProperties: true }],
    ["patterns", { properties: { a: {} }, patternProperties: { "^x": {} } }],
    ["if and then", JSON.parse(`{"properties":{"a":{}},"if":{},"then":{"properties":{"c":{}}}}`)],
    ["one open branch", { anyOf: [{ properties: { a: {} } }, { type: "object" }] }],
    ["a loop", { $ref: "#/$defs/a", $defs: { a: { $ref: "#/$defs/a" } } }],
    ["a place that is not there", { $ref: "#/$defs/none" }],
    ["a part from elsewhere", { allOf: [{ properties: { a: {} } }, { $ref: "https://far.example" }] }],
    ["a contradiction", { properties: { c: { allOf: [{ type: "string" }, { type: "integer" }] } }, required: ["c"] }],
    ["very many branches", { anyOf: Array.from({ length: 50 }, () => ({ properties: { a: {} } })) }],
  ])("%s: may have any member of any kind", (_, schema) => {
    expect(read("args.c == 1 && args.c == 'x'", schema)).toEqual([]);
  });

  test("without arguments has none", () => {
    expect(read("args.x == 1", { type: "object", properties: {} })).toEqual(["5 absent: no argument x"]);
    expect(read("args.x == 1", { type: "object", additionalProperties: false })).toEqual(["5 absent: no argument x"]);
  });

  test("knows the names of objects for what they are", () => {
    const schema = { type: "object", properties: JSON.parse('{"__proto__":{"type":"string"},"constructor":{"type":"string"}}') };
    expect(read("has(args.constructor) && args.constructor == 'x'", schema)).toEqual([]);
    expect(read("args.toString == 'x'", schema)).toEqual(["5 absent: no argument toString"]);
  });
});
