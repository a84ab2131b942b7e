/** Pure. What an agent holds by policies and what of it it has used, from recorded calls: privilege beyond use, by rule, tool and scope. */
import type { Target } from "./call/accept/request.ts";
import type { Agent } from "./call/authenticate/agent.ts";
import { isInForce, type PolicySet } from "./call/authorize/candidates.ts";
import { globOf, isPattern } from "./call/authorize/glob.ts";
import { type TargetPattern, writtenAs } from "./call/authorize/pattern.ts";
import type { Rule } from "./call/authorize/policy-set.ts";
import { asciiUri } from "./call/authorize/resource-uri.ts";
import { scopesFor } from "./call/authorize/visible.ts";
import { facetsOfProfile } from "./call/authorize/who.ts";
import { type CallGroup, UNCOUNTED_METHODS } from "./call/record/history.ts";

export type UsedTarget = { readonly server: string; readonly target: Target };

export type Used = {
  calls: number;
  /** As it is written in a policy, to what it is. */
  readonly targets: Map<string, UsedTarget>;
  /** By the name of the rule that let them through; empty: none did, policies were only observed. */
  readonly byRule: Map<string, Set<string>>;
  /** Servers of which it used no more than what is open to whoever may use anything there, with the rules that opened them. */
  readonly opened: Map<string, string>;
  /** Rules that would have refused calls which passed because policies were only observed. */
  readonly overruled: Map<string, number>;
  /** By the name of the rule: the last call that it let through, milliseconds since the epoch. */
  readonly lastMs: Map<string, number>;
  /** There were more different targets than are kept. */
  full: boolean;
};

/** Beyond this nobody reads the file that it makes. */
export const TARGETS_MAX = 5_000;

export function nothingUsed(): Used {
  return { calls: 0, targets: new Map(), byRule: new Map(), opened: new Map(), overruled: new Map(), lastMs: new Map(), full: false };
}

const UNCOUNTED: ReadonlySet<string> = new Set(UNCOUNTED_METHODS);

/** Only what went to its server was used. */
export function addUse(used: Used, { sent, entitlement_result, server, target, method, rule, shadow, calls, last_ms }: CallGroup): void {
  if (!sent || entitlement_result !== "permitted") return;
  used.calls += calls;
  const by = rule?.name ?? "";
  if (target === null || (target.kind === "method" && (UNCOUNTED.has(target.name) || method?.startsWith("notifications/")))) {
    if (!used.opened.has(server)) used.opened.set(server, by);
    return;
  }
  const what = { kind: target.kind, name: target.kind === "resource" ? asciiUri(target.name) : target.name } as Target;
  const written = writtenAs(server, what);
  if (!used.targets.has(written) && used.targets.size >= TARGETS_MAX) {
    used.full = true;
    return;
  }
  used.lastMs.set(by, Math.max(last_ms, used.lastMs.get(by) ?? 0));
  used.targets.set(written, { server, target: what });
  used.byRule.set(by, (used.byRule.get(by) ?? new Set()).add(written));
  if (shadow?.mode === "observe" && shadow.decision === "refuse" && shadow.rule !== null)
    used.overruled.set(shadow.rule.name, (used.overruled.get(shadow.rule.name) ?? 0) + calls);
}

export function names(pattern: TargetPattern, { server, target }: UsedTarget): boolean {
  return pattern.kind === target.kind && globOf(pattern.server)(server) && globOf(pattern.name)(target.name);
}

/** One pattern of a permit that nothing used has matched; `tools`: those of it that are known and were not used. */
export type Unused = { readonly rule: string; readonly pattern: string; readonly tools: readonly string[] | null };

export type Privilege = {
  readonly agent: string;
  /** Tools, and whatever else a permit names; a pattern counts as one where the tools of its server are not known. */
  readonly held: number;
  readonly used: number;
  /** Used of held, 0 to 1; 1 where nothing is held. */
  readonly share: number;
  readonly never: readonly Unused[];
  /** `may`: that policies let it ask for; `issued`: that its tokens had, null where nobody knows. */
  readonly scopes: { readonly may: readonly string[]; readonly issued: readonly string[] | null; readonly used: readonly string[] };
};

export type Known = { readonly tools: ReadonlyMap<string, readonly string[]>; readonly issued: readonly string[] | null };

export function privilegeOf(policySet: PolicySet, { profile }: Agent, used: Used, known: Known, nowMs: number): Privilege {
  const facets = facetsOfProfile(profile);
  const mine = policySet.rules.filter((rule) => !rule.shadow && isInForce(rule, nowMs) && rule.who(facets));
  const permits = mine.filter(({ effect }) => effect === "permit");
  const taken = mine.filter(({ effect, condition }) => effect === "forbid" && condition === null).flatMap(({ targets }) => targets);
  const held = new Map<string, boolean>();
  const never: Unused[] = [];
  for (const rule of permits) {
    for (const pattern of rule.targets) {
      const hit = [...used.targets.values()].some((each) => names(pattern, each));
      const units = unitsOf(pattern, known.tools).filter(
        (unit) => unit.target === null || !taken.some((away) => names(away, unit as UsedTarget)),
      );
      for (const { written, target } of units)
        held.set(written, target === null ? hit || held.get(written) === true : used.targets.has(written));
      const left = units.filter(({ written }) => held.get(written) === false).map(({ written }) => written);
      const isWhole = units.every(({ target }) => target !== null) && isPattern(pattern.name + pattern.server);
      if (left.length > 0) never.push({ rule: rule.ref.name, pattern: writtenAs(pattern.server, pattern), tools: isWhole ? left : null });
    }
  }
  const usedUnits = [...held.values()].filter(Boolean).length;
  return {
    agent: profile.name,
    ...{ held: held.size, used: usedUnits, share: held.size === 0 ? 1 : usedUnits / held.size, never },
    scopes: {
      may: without(scopesFor(policySet, profile, nowMs)),
      issued: known.issued === null ? null : without(known.issued),
      used: scopesUsed(permits, used),
    },
  };
}

type Unit = { readonly written: string; readonly server: string; readonly target: Target | null };

/** What a pattern stands for: itself where it is a name, the known tools of its servers, or itself as one thing. */
function unitsOf(pattern: TargetPattern, tools: ReadonlyMap<string, readonly string[]>): Unit[] {
  const { kind, server, name } = pattern;
  if (!isPattern(server) && !isPattern(name)) return [{ written: writtenAs(server, { kind, name }), server, target: { kind, name } }];
  const known = kind === "tool" ? [...tools].filter(([each]) => globOf(server)(each)) : [];
  if (known.length === 0 || (!isPattern(server) && !tools.has(server)))
    return [{ written: writtenAs(server, { kind, name }), server, target: null }];
  return known.flatMap(([each, all]) =>
    all
      .filter(globOf(name))
      .map(
        (tool): Unit => ({ written: writtenAs(each, { kind: "tool", name: tool }), server: each, target: { kind: "tool", name: tool } }),
      ),
  );
}

function scopesUsed(permits: readonly Rule[], { byRule }: Used): string[] {
  return without(permits.filter(({ ref }) => byRule.has(ref.name)).flatMap(({ requires }) => requires));
}

function without(scopes: readonly string[]): string[] {
  return [...new Set(scopes)].filter((scope) => scope !== "mcp").toSorted();
}
