/** Policies, callers and calls that look for trouble: names of object members, twins, overlapping patterns, many rules about one thing. */
import type { Agent } from "../../src/call/authenticate/agent.ts";
import type { Asked } from "../../src/call/authorize/circumstances.ts";
import { type EntitlementFile, type PolicyFile, policyFileSchema } from "../../src/call/authorize/policy-file.ts";
import type { AgentId, ServerName } from "../../src/ids.ts";
import type { Random } from "../fixtures/seeded-random.ts";
import { agentOf } from "./fixture.ts";

export type Question = { readonly agent: Agent; readonly asked: Asked; readonly nowMs: number };
/** One set of rules, and calls that meet it one after the other: what one leaves in a cache, the next one finds. */
export type Case = { readonly entitlements: readonly EntitlementFile[]; readonly questions: readonly Question[] };

export const SERVERS = ["tickets", "t", "crm", "constructor", "a-b"];
const ASKED_SERVERS = [...SERVERS, "tickets", "crm", "nowhere", "__proto__", "toString", "crm*"];
const TOOLS = [
  ...[
    "get_a",
    "get_b",
    "get_",
    "get_a_x",
    "Get_a",
    "GET_A",
    "get_a ",
    "g\u0435t_a",
    "get\u200b_a",
    "get_a\u0301",
    "ｇet_a",
    "get_a\n",
    "%67et_a",
  ],
  ...["__proto__", "constructor", "toString", "hasOwnProperty", "a", "a/b", "a/b/c", "a/", "/a", "//", "*", "get_*", ".", "..", ""],
  ...["x".repeat(128), "x".repeat(129), "resource:a"],
];
const URIS = [
  "file:///docs/a",
  "file:///docs/b/a",
  "file:///docs/../a",
  "file:///DOCS/a",
  "file:///docs/%61",
  "FILE:///docs/a",
  "note://ä",
  "note://%C3%A4",
  "note:*",
];
const PROMPTS = ["summary", "constructor", "__proto__", "a/b"];
const METHODS = [
  "tools/list",
  "tasks/list",
  "tasks/get",
  "ping",
  "initialize",
  "subscriptions/listen",
  "logging/setLevel",
  "x/y",
  "__proto__",
];
const NAMES = { tool: TOOLS, resource: URIS, prompt: PROMPTS, method: METHODS };
const KINDS = ["tool", "tool", "tool", "tool", "resource", "prompt", "method"] as const;

const CONDITIONS = [
  ...[
    "true",
    "false",
    "args.n > 1",
    "args.n <= 1",
    "args.n > 1 && has(args.m)",
    "args.missing == 1",
    "!has(args.n)",
    "args['__proto__'] == 1",
  ],
  ...[
    "has(args.constructor)",
    "args.list.all(x, x < 10)",
    "args.list.exists(x, x == args.n)",
    "size(args) == 0",
    "args.n == 9007199254740993",
  ],
  ...["agent.team == 'sales'", "agent.team.size() > 5", "now.getHours() < 12", "now >= timestamp('2026-01-01T00:00:00Z')", "1 / 0 == 1"],
  ...["subject == 'alice'", "subject.startsWith('a')", "tool.like('get_*')", "server == 'crm' || args.n > 1", "customer == agent.customer"],
  ...["'admin' in agent.roles", "agent.workflow == null", "tool == 'get_a' ? args.n > 1 : false", "dyn(args.n)"],
];
const ARGUMENTS = [
  ...[
    "{}",
    '{"n":1}',
    '{"n":2}',
    '{"n":2,"m":1}',
    '{"n":"x"}',
    '{"n":null}',
    '{"n":true}',
    '{"n":1.5}',
    '{"n":9007199254740993}',
    '{"n":1e400}',
  ],
  ...[
    '{"missing":1}',
    '{"__proto__":1}',
    '{"constructor":{}}',
    '{"list":[1,2]}',
    '{"list":[1,"x"],"n":1}',
    '{"list":[],"n":2}',
    '{"list":{"n":2}}',
  ],
  ...['{"n":1,"n":2}', `{"n":${"9".repeat(41)}}`],
];
const TIMES = [0, 13 * 3_600_000, Date.UTC(2026, 0, 1), Date.UTC(2026, 5, 1, 11, 59, 59, 999), Date.UTC(2026, 5, 1, 12)];
const SCOPES = ["read", "write", "admin", "mcp"];
const TEAMS = ["support", "sales", "constructor", "sup", "Support"];
const ROLES = ["admin", "reader", "__proto__", "adm"];
const PEOPLE = ["alice", "al", "bob", "constructor"];
const AGENT_NAMES = ["bot", "bot-2", "bo", "constructor"];
const WORKFLOWS = ["triage", "toString"];

const pick = <T>(random: Random, from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
const some = <T>(random: Random, from: readonly T[], most: number): T[] =>
  Array.from({ length: Math.floor(random() * (most + 1)) }, () => pick(random, from));
const upTo = (random: Random, most: number): number => 1 + Math.floor(random() * most);

export function randomCase(random: Random): Case {
  // A third of the cases has one target only, and a crowd of rules about it.
  const focus = random() < 0.33 ? { kind: pick(random, KINDS), server: pick(random, SERVERS) } : null;
  const about = focus === null ? null : { ...focus, name: pick(random, NAMES[focus.kind]) };
  const count = random() < 0.04 ? upTo(random, 40) : upTo(random, 7);
  const entitlements = Array.from({ length: count }, (_, index) => randomRule(random, `${pick(random, RULE_NAMES)}.${index}`, about));
  const agents = Array.from({ length: 2 }, () => randomAgent(random));
  const targets = Array.from({ length: 2 }, () => about ?? targetNear(random, entitlements));
  const questions = Array.from({ length: 4 }, () => {
    const target = random() < 0.7 ? pick(random, targets) : targetNear(random, entitlements);
    const server = random() < 0.8 ? target.server : pick(random, ASKED_SERVERS);
    return { agent: pick(random, agents), asked: askedFor(random, target.kind, server, target.name), nowMs: pick(random, TIMES) };
  });
  return { entitlements: policyFileSchema.parse({ apiVersion: "tollgate/v1", entitlements }).entitlements, questions };
}

export function asFile(entitlements: readonly EntitlementFile[]): PolicyFile {
  return { agents: {}, groups: { agents: {}, tools: {} }, budgets: [], limits: [], entitlements };
}

/** Order by name is not order by number, by case or by place. */
const RULE_NAMES = ["r", "R", "r1", "a", "z", "Z", "constructor", "0", "a.", "a-", "a_"];

type Aim = { readonly kind: keyof typeof NAMES; readonly server: string; readonly name: string };
type Written = Record<string, unknown> & { readonly permit?: string[]; readonly forbid?: string[] };

export function randomRule(random: Random, name: string, about: Aim | null): Written {
  const effect = random() < 0.68 ? "permit" : "forbid";
  const patterns = Array.from({ length: upTo(random, 2) }, () => patternOf(random, about ?? anyTarget(random)));
  return {
    name,
    [effect]: patterns,
    ...(random() < 0.4 ? { who: randomWho(random) } : {}),
    ...(random() < 0.4 ? { when: pick(random, CONDITIONS) } : {}),
    ...(effect === "permit" && random() < 0.3 ? { requires: [pick(random, SCOPES), ...some(random, SCOPES, 2)] } : {}),
    ...(random() < 0.15 ? randomValidity(random) : {}),
    ...(effect === "permit" && random() < 0.15 ? { approval: { by: ["role:approver"] } } : {}),
    ...(random() < 0.08 ? { shadow: true } : {}),
    ...(random() < 0.12 ? { disclosure: "named" } : {}),
  };
}

const BORDERS = ["1970-01-01", "2026-01-01", "2026-06-01T11:59:59.999Z", "2026-06-01T12:00:00Z", "2100-01-01"];

function randomValidity(random: Random): Record<string, string> {
  const [from, until] = some(random, BORDERS, 2).toSorted();
  if (from === undefined || from === until) return { from: pick(random, BORDERS) };
  return until === undefined ? { until: from } : { from, until };
}

function anyTarget(random: Random): Aim {
  const kind = pick(random, KINDS);
  return { kind, server: pick(random, SERVERS), name: pick(random, NAMES[kind]) };
}

/** Half of the calls are about something that a rule was written for. */
function targetNear(random: Random, rules: readonly Written[]): Aim {
  const target = anyTarget(random);
  const { permit, forbid } = pick(random, rules);
  const [, kind, server, name] = /^(?:(\w+):)?([^/]*)\/(.*)$/s.exec(pick(random, permit ?? forbid ?? [])) ?? [];
  if (random() < 0.5 || server === undefined || name === undefined) return target;
  const fill = (text: string, from: readonly string[]) => text.replaceAll("*", () => pick(random, from));
  return {
    kind: (kind ?? "tool") as Aim["kind"],
    server: fill(server, ["", "ickets", "crm", "t"]),
    name: fill(name, ["", "a", "_", "a/b", "get_a"]),
  };
}

function patternOf(random: Random, { kind, server, name }: Aim): string {
  const head = random() < 0.75 ? server : pick(random, ["*", "t*", "*m", "*t*", "c*r"]);
  return `${kind === "tool" ? "" : `${kind}:`}${head}/${widened(random, name)}`;
}

/** The name itself, or with stars in place of some of it. */
function widened(random: Random, name: string): string {
  const roll = random();
  if (roll < 0.4 && name !== "" && !name.startsWith("resource:")) return name;
  if (roll < 0.55 || name.length > 20 || name.startsWith("resource:")) return "*";
  const from = Math.floor(random() * (name.length + 1));
  const to = from + Math.floor(random() * (name.length + 1 - from));
  const once = `${name.slice(0, from)}*${name.slice(to)}`;
  if (roll < 0.85) return once;
  const at = Math.floor(random() * (once.length + 1));
  return `${once.slice(0, at)}*${once.slice(at)}`;
}

function randomWho(random: Random): Record<string, unknown> {
  const facets: Record<string, readonly string[]> = {
    agent: [...AGENT_NAMES, "agt_01", "agt_*", "bo*"],
    team: [...TEAMS, "*", "sup*"],
    workflow: [...WORKFLOWS, "*"],
    customer: ["acme", "globex", "*e"],
    kind: ["autonomous", "service", "*o*"],
    instance: ["i-1", "*"],
    subject: [...PEOPLE, "*", "al*"],
    role: [...ROLES, "*", "adm*"],
  };
  const keys = new Set(
    Array.from({ length: upTo(random, 2) }, () => pick(random, ["agent", "team", "team", "role", ...Object.keys(facets)])),
  );
  return Object.fromEntries(
    [...keys].map((key) => {
      const from = facets[key] ?? [];
      return [key, random() < 0.6 ? pick(random, from) : [pick(random, from), pick(random, from)]];
    }),
  );
}

function randomAgent(random: Random): Agent {
  const free = random() < 0.85;
  return agentOf({
    id: pick(random, ["agt_01", "agt_02"]) as AgentId,
    name: pick(random, AGENT_NAMES),
    team: pick(random, [...TEAMS, null]),
    workflow: pick(random, [...WORKFLOWS, null]),
    customer: pick(random, ["acme", "globex", "constructor"]),
    kind: pick(random, ["autonomous", "service"]),
    roles: some(random, ROLES, 2),
    scopes: some(random, SCOPES, 3),
    ...(random() < 0.5 ? { subject: pick(random, PEOPLE) } : {}),
    ...(random() < 0.3 ? { instance: pick(random, ["i-1", "i-2"]) } : {}),
    account: {
      scopes: null,
      tools: free ? null : some(random, ["tickets/*", "*/get_*", "crm/get_a", "resource:*/*", "prompt:crm/*", "method:*/*"], 3),
    },
  });
}

const ASKED_AS = { tool: "tools/call", resource: "resources/read", prompt: "prompts/get", method: "" };

function askedFor(random: Random, kind: Aim["kind"], server: string, name: string): Asked {
  const args = Buffer.from(pick(random, ARGUMENTS));
  const asked = { server: server as ServerName, argumentsSpan: random() < 0.9 ? { start: 0, end: args.length } : null };
  if (kind !== "method") {
    const course = kind === "resource" && random() < 0.2 ? "other" : "metered";
    return { ...asked, course, method: ASKED_AS[kind], target: { kind, name }, body: args };
  }
  const course = name === "initialize" || name === "ping" ? "handshake" : name.endsWith("/list") ? "list" : "other";
  const body = { params: { notifications: { resourceSubscriptions: some(random, URIS, 2) } } };
  return { ...asked, course, method: name, target: null, argumentsSpan: null, body: Buffer.from(JSON.stringify(body)) };
}
