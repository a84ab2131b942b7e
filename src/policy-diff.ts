/** Pure. Two sets of policies compared: who gains what, who loses what, and what is asked for more or less. */
import type { Target } from "./call/accept/request.ts";
import type { Agent } from "./call/authenticate/agent.ts";
import { candidatesOf, isInForce, type PolicySet, viewOf } from "./call/authorize/candidates.ts";
import { isPattern } from "./call/authorize/glob.ts";
import { guardText } from "./call/authorize/guards.ts";
import { holdBackNoLess, limitText } from "./call/authorize/pace-text.ts";
import { type TargetPattern, writtenAs } from "./call/authorize/pattern.ts";
import type { Pace } from "./call/authorize/permit.ts";
import type { WhoFile } from "./call/authorize/policy-file.ts";
import type { Rule } from "./call/authorize/policy-set.ts";
import { visible } from "./call/authorize/visible.ts";
import { type ImaginedAgent, imagine } from "./imagined.ts";

/** `gains`: permitted now, under whatever conditions. `wider` may permit more than before: so is called what cannot be compared. `narrower` permits nothing more. */
export type Difference = {
  readonly change: "gains" | "loses" | "wider" | "narrower";
  readonly agent: string;
  readonly target: string;
  /** The rules that give it, as they are demanded: before and after. */
  readonly before: readonly string[];
  readonly after: readonly string[];
};

/** Each is judged with every scope, role and instance that a rule asks for: what could be had is compared, not what one token has. */
export function compareSets(before: PolicySet, after: PolicySet, declared: readonly ImaginedAgent[], nowMs: number): Difference[] {
  const limits = [...before.limits.all, ...after.limits.all];
  const whos = [...before.rules, ...after.rules].map(({ written }) => written.who).concat(limits.map(({ written }) => written));
  const agents = [...declared, ...representatives(whos, declared)].map(imagine);
  const named = [...before.rules, ...after.rules, ...limits].flatMap(({ targets: patterns }) => patterns ?? []);
  const targets = targetsOf(named, new Set([...before.servers, ...after.servers]));
  const all = agents.flatMap((agent) => targets.flatMap((place) => compareOne(before, after, agent, place, nowMs) ?? []));
  // An agent that is declared, and one that stands for those whom a rule names, may have one name.
  return [...new Map(all.map((each) => [JSON.stringify(each), each])).values()];
}

function compareOne(
  before: PolicySet,
  after: PolicySet,
  agent: Agent,
  { written, server, target }: Place,
  nowMs: number,
): Difference | null {
  const [was, is] = [before, after].map((set) => demandsOf(set, agent, server, target, nowMs)) as [Demands | null, Demands | null];
  const facts = { agent: agent.profile.name, target: written, before: was?.permits ?? [], after: is?.permits ?? [] };
  if (was === null) return is === null ? null : { change: "gains", ...facts };
  if (is === null) return { change: "loses", ...facts };
  const [oldPermits, newPermits, oldForbids, newForbids] = [was.permits, is.permits, was.forbids, is.forbids].map(
    (list) => new Set(list),
  ) as [Set<string>, Set<string>, Set<string>, Set<string>];
  const same = oldPermits.symmetricDifference(newPermits).size + oldForbids.symmetricDifference(newForbids).size === 0;
  const slower = holdBackNoLess(was.paces, is.paces);
  if (same && slower && holdBackNoLess(is.paces, was.paces)) return null;
  // Only what is plainly less is called so: one permit fewer, one forbid more, a bound moved inwards.
  const covers = (mores: ReadonlySet<string>, less: string) => mores.has(less) || [...mores].some((more) => isTighter(more, less));
  const narrower =
    slower &&
    [...newPermits].every((permit) => covers(oldPermits, permit)) &&
    [...oldForbids].every((forbid) => newForbids.has(forbid) || [...newForbids].some((wider) => isTighter(wider, forbid)));
  const all = ({ permits, forbids, paces }: Demands) => [...permits, ...forbids, ...paces.map((pace) => `limit ${limitText(pace.limit)}`)];
  const shown = { ...facts, before: all(was), after: all(is) };
  return { change: narrower ? "narrower" : "wider", ...shown };
}

/** One number, held against something by an operator: `args.limit <= 100`. */
const BOUND = /(<=|>=|<|>)\s*(-?[0-9]+(?:\.[0-9]+)?)(?=\s*(?:$|[),&|]))/g;

/** Whether the two are the same but for bounds, and every bound of the second is within that of the first. */
function isTighter(wide: string, tight: string): boolean {
  const [wides, tights] = [boundsOf(wide), boundsOf(tight)];
  // A negation, a choice, an equality or a call (`size(list.filter(x, x <= 10)) == 0`) may turn a bound around, and in a text it is none.
  if (wides.length === 0 || /[!?=('"]/.test(wide.replace(/[<>]=/g, "")) || wide.replace(BOUND, "$1") !== tight.replace(BOUND, "$1"))
    return false;
  return wides.every(([operator, bound], i) => {
    const other = tights[i]?.[1] ?? Number.NaN;
    return operator.startsWith("<") ? other <= bound : other >= bound;
  });
}

function boundsOf(demand: string): [operator: string, bound: number][] {
  return [...demand.matchAll(BOUND)].map(([, operator = "", bound]) => [operator, Number(bound)]);
}

type Demands = { readonly permits: readonly string[]; readonly forbids: readonly string[]; readonly paces: readonly Pace[] };

/** Null: not to be had. */
function demandsOf(policySet: PolicySet, agent: Agent, server: string, target: Target, nowMs: number): Demands | null {
  if (!visible(policySet, agent, server, nowMs)(target)) return null;
  const { permits, forbids, paces } = candidatesOf(policySet, viewOf(policySet, agent), server, target);
  const inForce = (rules: readonly Rule[]) => rules.filter((rule) => isInForce(rule, nowMs)).map(demandOf);
  return { permits: inForce(permits), forbids: inForce(forbids), paces };
}

/** What a rule asks for; its name and place change nothing. */
function demandOf({ effect, written, requires, approval, guards, pins, validity, idleMs }: Rule): string {
  const demands = [
    written.when === null ? null : `when ${written.when}`,
    requires.length === 0 ? null : `requires ${requires.toSorted().join(" ")}`,
    approval === null ? null : `approval by ${approval.by.toSorted().join(" or ")}`,
    guards.length === 0 ? null : `inspected by ${guards.map(guardText).toSorted().join(" and ")}`,
    pins?.version == null ? null : `version ${pins.version}`,
    pins?.definition == null ? null : `definition sha256:${pins.definition}`,
    validity?.fromMs == null ? null : `from ${new Date(validity.fromMs).toISOString()}`,
    idleMs === null ? null : `idle ${idleMs / 86_400_000}d`,
    validity?.untilMs == null ? null : `until ${new Date(validity.untilMs).toISOString()}`,
  ].filter((demand) => demand !== null);
  return demands.length === 0 ? effect : `${effect} ${demands.join(", ")}`;
}

/** For every `who` that is written somebody whom it matches, and one stranger whom only rules for everybody match. */
function representatives(whos: readonly (WhoFile | null)[], declared: readonly ImaginedAgent[]): ImaginedAgent[] {
  const taken = new Set(declared.map(({ name }) => name));
  const found = new Map<string, ImaginedAgent>([["", { name: "(any other agent)" }]]);
  for (const who of whos) {
    if (who === null) continue;
    const one = (value: string | readonly string[] | undefined) =>
      value === undefined ? undefined : [value].flat()[0]?.replaceAll("*", "x");
    const { agent, customer, team, workflow, kind, instance, subject, role } = who;
    const name = one(agent);
    if (name !== undefined && taken.has(name) && Object.keys(who).length === 1) continue;
    const label = Object.entries(who).map(([key, value]) => `${key} ${[value].flat().join("|")}`);
    const [roleName, ofKind] = [one(role), one(kind)];
    found.set(JSON.stringify(who), {
      name: name ?? `(${label.join(", ")})`,
      ...{ customer: one(customer), team: one(team), workflow: one(workflow), instance: one(instance), subject: one(subject) },
      ...{ kind: ofKind as ImaginedAgent["kind"], roles: roleName === undefined ? [] : [roleName] },
    });
  }
  return [...found.values()];
}

/** `written`: as a policy has it, patterns and all. */
type Place = { readonly written: string; readonly server: string; readonly target: Target };

/** Every name that a rule writes, and for every pattern a name that only it means. */
function targetsOf(named: readonly TargetPattern[], servers: ReadonlySet<string>): Place[] {
  const found = new Map<string, Place>();
  for (const { kind, server, name } of named) {
    for (const each of isPattern(server) ? servers : [server]) {
      const target: Target = { kind, name: name.replaceAll("*", "x") };
      const written = writtenAs(each, { kind, name });
      found.set(written, { written, server: each, target });
    }
  }
  return [...found.values()];
}
