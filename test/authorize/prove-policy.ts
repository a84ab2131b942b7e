/** `npm run prove:policy [-- --quick | --seed N --count N | --control]`: what must be true of every set of policies, asked of random ones. */
import { parseArgs } from "node:util";
import { LRUCache } from "lru-cache";
import type { Agent } from "../../src/call/authenticate/agent.ts";
import type { PolicySet } from "../../src/call/authorize/candidates.ts";
import type { Asked } from "../../src/call/authorize/circumstances.ts";
import type { Condition } from "../../src/call/authorize/condition.ts";
import { decide } from "../../src/call/authorize/decide.ts";
import type { EntitlementFile } from "../../src/call/authorize/policy-file.ts";
import { compilePolicies, type Rule } from "../../src/call/authorize/policy-set.ts";
import { visible } from "../../src/call/authorize/visible.ts";
import { isRefusal } from "../../src/refusal.ts";
import { type Random, seededRandom } from "../fixtures/seeded-random.ts";
import { judge } from "./naive.ts";
import { asFile, randomCase, randomRule, SERVERS } from "./random-policies.ts";

/** What is proved: the product, or the product with a bug in it. */
export type Subject = {
  build(files: readonly (readonly EntitlementFile[])[]): PolicySet;
  decide: typeof decide;
};

const FACTS = new Map(SERVERS.map((name) => [name, { reserve: { tool_tokens: 0 } }]));

export const PRODUCT: Subject = {
  build(files) {
    const sources = files.map((entitlements, index) => ({ file: `${index}.yaml`, policy: asFile(entitlements), lineOf: () => 1 }));
    const { rules, faults } = compilePolicies(sources, FACTS, "v");
    if (faults.length > 0) throw new Error(faults.map(({ message }) => message).join());
    // Small caches: they are made quickly, and what falls out of them is looked up anew.
    return {
      ...rules,
      mode: "enforce",
      lastUses: null,
      views: new LRUCache({ max: 2 }),
      viewOfAgent: new WeakMap(),
      candidates: new LRUCache({ max: 3 }),
    };
  },
  decide,
};

/** `reason` null: permitted. */
type Said = { readonly reason: string | null; readonly rule: string | null };

function ask({ decide: asking }: Subject, set: PolicySet, agent: Agent, asked: Asked, nowMs: number): Said {
  const verdict = asking(set, agent, asked, nowMs);
  if (isRefusal(verdict)) return { reason: verdict.refused, rule: verdict.rule?.name ?? null };
  return { reason: verdict.approval === null ? null : "approval_required", rule: verdict.rule?.name ?? null };
}

export const PROPERTIES = [
  "the compiled decision is that of the naive interpreter",
  "what is not listed can never be called",
  "every refusal of a listed tool names its demand",
  "a forbid more never permits more",
  "a permit less never permits more",
  "the order of rules and files changes nothing",
] as const;
export type Report = Record<(typeof PROPERTIES)[number], { trials: number; violations: string[] }>;

const VIOLATIONS_SHOWN = 5;
const EVERY_SCOPE = ["mcp", "read", "write", "admin"];
const OTHER_ARGUMENTS = ["{}", '{"n":2,"m":1}', '{"list":[1],"n":1}', '{"missing":1}'];

export function provePolicy(seed: number, cases: number, subject: Subject = PRODUCT): Report {
  const random = seededRandom(seed);
  const report = Object.fromEntries(PROPERTIES.map((name) => [name, { trials: 0, violations: [] as string[] }])) as Report;
  const check = (name: keyof Report, holds: boolean, tell: () => unknown) => {
    report[name].trials += 1;
    if (!holds && report[name].violations.length < VIOLATIONS_SHOWN) report[name].violations.push(JSON.stringify(tell()));
  };
  for (let i = 0; i < cases; i++) proveCase(random, subject, check);
  return report;
}

type Check = (name: keyof Report, holds: boolean, tell: () => unknown) => void;

function proveCase(random: Random, subject: Subject, check: Check): void {
  const { entitlements, questions } = randomCase(random);
  const set = subject.build([entitlements]);
  const added = randomRule(random, "zz-added", null);
  const forbid = { ...entitlements[0], ...withoutDemands(added), forbid: added.forbid ?? added.permit } as EntitlementFile;
  const stricter = subject.build([[...entitlements, forbid]]);
  const permits = entitlements.filter(({ permit }) => permit !== undefined);
  const dropped = permits[Math.floor(random() * permits.length)];
  const fewer = subject.build([entitlements.filter((rule) => rule !== dropped)]);
  const shuffled = entitlements.toSorted(() => random() - 0.5);
  const half = Math.floor(shuffled.length / 2);
  const moved = subject.build([shuffled.slice(half), shuffled.slice(0, half)]);
  for (const { agent, asked, nowMs } of questions) {
    const said = ask(subject, set, agent, asked, nowMs);
    const tell = (other: unknown) => () => ({ entitlements, agent: agent.profile.name, asked: shown(asked), nowMs, said, other });
    const naive = judge({ files: [asFile(entitlements)], servers: SERVERS }, agent, asked, nowMs);
    check(PROPERTIES[0], said.reason === naive.reason && said.rule === naive.rule, tell(naive));
    const { target } = asked;
    if (target !== null && asked.course === "metered") {
      const isListed = visible(set, agent, asked.server, nowMs)(target);
      if (!isListed) {
        const able: Agent = { ...agent, scopes: new Set(EVERY_SCOPE) };
        const tries = OTHER_ARGUMENTS.map((args) => ask(subject, set, able, withArguments(asked, args), nowMs));
        check(
          PROPERTIES[1],
          tries.every(({ reason }) => reason !== null && reason !== "approval_required"),
          tell(tries),
        );
      } else check(PROPERTIES[2], said.reason === null || DEMANDS.has(said.reason), tell(null));
    }
    const withForbid = ask(subject, stricter, agent, asked, nowMs);
    check(PROPERTIES[3], !permitsMore(said, withForbid), tell(withForbid));
    const withoutPermit = ask(subject, fewer, agent, asked, nowMs);
    check(PROPERTIES[4], !permitsMore(said, withoutPermit), tell(withoutPermit));
    const inOrder = ask(subject, moved, agent, asked, nowMs);
    check(PROPERTIES[5], inOrder.reason === said.reason && inOrder.rule === said.rule, tell(inOrder));
  }
}

/** What a listed tool may be refused for: each says what would have to differ. */
const DEMANDS: ReadonlySet<string> = new Set(["arguments_denied", "scope_insufficient", "approval_required"]);

/** Permitted where it was not, or without the person who was asked before. */
function permitsMore(before: Said, after: Said): boolean {
  return after.reason === null
    ? before.reason !== null
    : after.reason === "approval_required" && !DEMANDS.has(before.reason ?? "approval_required");
}

function withoutDemands({ permit: _, requires: __, approval: ___, ...rest }: Record<string, unknown>): Record<string, unknown> {
  return { permit: undefined, requires: undefined, approval: undefined, when: undefined, ...rest };
}

function withArguments(asked: Asked, args: string): Asked {
  return { ...asked, body: Buffer.from(args), argumentsSpan: { start: 0, end: args.length } };
}

function shown({ server, course, method, target, body }: Asked): object {
  return { server, course, method, target, body: body.toString() };
}

type Open = { -readonly [Key in keyof Rule]: Rule[Key] };
const changed = (change: (rule: Open) => void): Subject => ({
  ...PRODUCT,
  build(files) {
    const set = PRODUCT.build(files);
    for (const rule of set.rules) change(rule);
    return set;
  },
});
const rewritten = (change: (rules: readonly EntitlementFile[]) => EntitlementFile[]): Subject => ({
  ...PRODUCT,
  build: (files) => PRODUCT.build(files.map(change)),
});

/** Bugs that a policy engine may have; the proof must find each of them. */
export const SABOTEURS: Readonly<Record<string, Subject>> = {
  "a forbid is lost": rewritten((rules) =>
    rules.toSpliced(
      rules.findIndex(({ forbid }) => forbid !== undefined),
      1,
    ),
  ),
  "a star matches beginnings only": rewritten((rules) =>
    rules.map((rule) => ({
      ...rule,
      permit: rule.permit?.map((text) => (/\*[^*/]+$/.test(text) ? text.replace(/\*[^*/]+$/, "*") : text)),
    })),
  ),
  "a forbid whose condition fails does not count": changed((rule) => {
    const condition: Condition | null = rule.condition;
    if (rule.effect === "forbid" && condition !== null) rule.condition = { ...condition, holds: (seen) => condition.holds(seen) === true };
  }),
  "a permit whose condition fails counts": changed((rule) => {
    const condition: Condition | null = rule.condition;
    if (rule.effect === "permit" && condition !== null) rule.condition = { ...condition, holds: (seen) => condition.holds(seen) !== false };
  }),
  "scopes are not asked for": changed((rule) => {
    rule.requires = [];
  }),
  "a rule counts at its end": changed((rule) => {
    if (rule.validity?.untilMs != null) rule.validity = { ...rule.validity, untilMs: rule.validity.untilMs + 1 };
  }),
  "an approval is forgotten": changed((rule) => {
    rule.approval = null;
  }),
  "a shadow counts": changed((rule) => {
    rule.shadow = false;
  }),
  "answers are kept without the server": {
    ...PRODUCT,
    decide(set, agent, asked, nowMs) {
      const kept = KEPT.get(set) ?? new Map<string, ReturnType<typeof decide>>();
      KEPT.set(set, kept);
      const key = JSON.stringify([agent.profile.name, agent.profile.team, asked.target ?? asked.method]);
      const answer = kept.get(key) ?? decide(set, agent, asked, nowMs);
      kept.set(key, answer);
      return answer;
    },
  },
  "the first rule of the file decides": {
    build: (files) => {
      const set = PRODUCT.build(files);
      const names = files.flat().map(({ name }) => name);
      return { ...set, rules: set.rules.toSorted((a, b) => names.indexOf(a.ref.name) - names.indexOf(b.ref.name)) };
    },
    decide,
  },
};
const KEPT = new WeakMap<PolicySet, Map<string, ReturnType<typeof decide>>>();

if (import.meta.main) {
  const options = {
    quick: { type: "boolean" },
    control: { type: "boolean" },
    seed: { type: "string" },
    count: { type: "string" },
  } as const;
  const { values } = parseArgs({ options });
  const seed = Number(values.seed ?? Date.now() % 1_000_000_000);
  const count = Number(values.count ?? (values.quick === true ? 5_000 : 100_000));
  const say = (line: string) => process.stdout.write(`${line}\n`);
  if (values.control === true) {
    for (const [bug, subject] of Object.entries(SABOTEURS)) {
      const found = Object.entries(provePolicy(seed, Math.min(count, 5_000), subject)).filter(
        ([, { violations }]) => violations.length > 0,
      );
      say(`${bug}: ${found.length === 0 ? "NOT FOUND" : `found by ${found.map(([name]) => name).join("; ")}`}`);
      if (found.length === 0) process.exitCode = 1;
    }
  } else {
    for (const [name, { trials, violations }] of Object.entries(provePolicy(seed, count))) {
      say(`${name}: ${trials} trials in ${count} sets, ${violations.length} violations, seed ${seed}`);
      for (const violation of violations) say(`  ${violation}`);
      if (violations.length > 0) process.exitCode = 1;
    }
  }
}
