import { expect, test } from "vitest";
import { type CallArguments, readArguments } from "../../src/call/authorize/call-arguments.ts";
import { compileCondition } from "../../src/call/authorize/condition.ts";

const AGENT = new Map<string, unknown>(
  Object.entries({
    id: "agt_1",
    name: "bot",
    kind: "service",
    customer: "acme",
    team: null,
    workflow: null,
    owner: "o",
    purpose: "p",
    riskClass: "high",
    instance: null,
    roles: ["reader"],
  }),
);

function evaluate(expression: string, json: string): boolean | null {
  const condition = compileCondition(expression);
  if ("message" in condition) throw new Error(condition.message);
  const args = (): CallArguments | null => {
    try {
      return readArguments(Buffer.from(json));
    } catch {
      return null;
    }
  };
  return condition.holds({
    agent: AGENT,
    subject: null,
    customer: "acme",
    server: "tickets",
    region: "eu",
    tool: "search",
    claims: () => readArguments(Buffer.from('{"groups":["ops"],"level":3}')),
    now: new Date(1_700_000_000_000),
    args,
  });
}

const CASES: readonly [expression: string, args: string, result: boolean | null][] = [
  ["args.limit <= 100", '{"limit":100}', true],
  ["args.limit <= 100", '{"limit":99.5}', true],
  ["args.limit <= 100", '{"limit":1e2}', true],
  ["args.limit <= 100", '{"limit":"5"}', null],
  ["args.limit <= 100", "{}", null],
  ["args.id == 9007199254740993", '{"id":9007199254740993}', true],
  ["args.id == 9007199254740993", '{"id":9007199254740992}', false],
  ["args.id > 0", '{"id":340282366920938463463374607431768211455}', true],
  ["args.id > 0", `{"id":${"9".repeat(41)}}`, null],
  ["args.x > 1", '{"x":1e400}', null],
  ["args.a > 1 || args.b > 1", '{"b":2}', true],
  ["args.a > 1 || args.b > 1", '{"b":1}', null],
  ["args.constructor == 1", '{"constructor":1}', true],
  ['args["__proto__"] == 1', '{"__proto__":1}', true],
  ['"toString" in args', "{}", false],
  ["has(args.toString)", "{}", false],
  ["has(args.a) && args.a == null", '{"a":null}', true],
  ['args.path.like("/srv/*/public/*")', '{"path":"/srv/a/b/public/c"}', true],
  ['like(args.path, "/srv/*")', '{"path":"/srv"}', false],
  ['args.tags.all(t, t.startsWith("a"))', '{"tags":["a","ab"]}', true],
  ['args.tags.all(t, t.startsWith("a"))', '{"tags":["a","b"]}', false],
  ["args.items.filter(i, i > 1).size() == 1", '{"items":[1,2]}', true],
  ['args.to in ["a@example.com"]', '{"to":"b@example.com"}', false],
  ["args.list.size() > 0", `{"list":[${"1,".repeat(1000)}1]}`, null],
  ["args.list.size() > 0", `{"list":[${"1,".repeat(999)}1]}`, true],
  ["args.list.all(x, args.text.contains(x))", `{"list":[${'"a",'.repeat(99)}"a"],"text":"${"a".repeat(60_000)}"}`, null],
  ["agent.team == null && agent.kind == 'service'", "{}", true],
  ['"reader" in agent.roles', "{}", true],
  ['agent.team.startsWith("x")', "{}", null],
  ["subject == 'alice'", "{}", false],
  ["server == 'tickets' && tool == 'search' && customer == 'acme'", "{}", true],
  ["now > timestamp('2023-01-01T00:00:00Z')", "{}", true],
  ["1 / 0 == 1", "{}", null],
];

test.each(CASES)("%s with %.60s is %s", (expression, json, result) => {
  expect(evaluate(expression, json)).toBe(result);
});

const FAULTS: readonly [expression: string, offset: number, message: RegExp][] = [
  ["agnt.team == 'x'", 0, /unknown variable: agnt/],
  ["true && agent.tema == 'x'", 14, /no such key: tema/],
  ["usage.calls > 5", 0, /unknown variable: usage/],
  ["args.limit <=", 13, /unexpected token/],
  ["'x' + 'y'", 0, /gives string; a condition gives true or false/],
  ["args.p.matches('(a+)+$')", 0, /matches is not offered; use like/],
  ["args.a.all(x, args.b.exists(y, y == x))", 14, /macros do not nest/],
  ["cel.bind(x, args.a, x == 1)", 0, /bind is not offered/],
  ["args.a.split('').size() > 1", 0, /split is not offered/],
  ["like(args.a, args.b)", 13, /the pattern of like is written out/],
  [`${"true && ".repeat(300)}true`, 0, /a condition has at most 2000/],
  [`${"(".repeat(40)}true${")".repeat(40)}`, 0, /maxDepth/],
];

test.each(FAULTS)("%.50s is refused at load", (expression, offset, message) => {
  const fault = compileCondition(expression);
  expect(fault).toMatchObject({ message: expect.stringMatching(message) });
  if ("message" in fault && offset > 0) expect(fault.offset).toBe(offset);
});

test("a condition knows whether the arguments matter to it", () => {
  expect(compileCondition("args.a == 1")).toMatchObject({ readsArguments: true });
  expect(compileCondition("agent.roles.exists(r, r == 'a')")).toMatchObject({ readsArguments: false });
});

test("arguments are not read for a condition that does not mention them", () => {
  const condition = compileCondition("server == 'crm'");
  if ("message" in condition) throw new Error(condition.message);
  const args = (): never => {
    throw new Error("read");
  };
  expect(
    condition.holds({
      agent: AGENT,
      subject: null,
      customer: "c",
      server: "crm",
      region: "",
      tool: "t",
      now: new Date(0),
      args,
      claims: args,
    }),
  ).toBe(true);
});
