/** Pure. All policy files as one set of rules, compiled at load, or everything that does not compile. */
import type { RuleRef } from "../../refusal.ts";
import { type BudgetFile, drawingBudget } from "./budget-file.ts";
import { type Condition, type ConditionFault, compileCondition } from "./condition.ts";
import { isPattern } from "./glob.ts";
import { expanded, type Groups, groupsOf } from "./groups.ts";
import { guardsOf, type InspectorFacts } from "./guards.ts";
import { limitOf, tooLongWaits } from "./limit-file.ts";
import { type CompiledLimit, type Limits, limitsOf } from "./limits.ts";
import { checkMeter, type MeterFacts } from "./meter-facts.ts";
import { didYouMean } from "./nearest.ts";
import { FEATURES, parsePattern, type TargetPattern } from "./pattern.ts";
import type { Approval, Draw, Guard } from "./permit.ts";
import type { RulePins } from "./pins.ts";
import type { EntitlementFile, LimitFile, PolicyFile, WhoFile } from "./policy-file.ts";
import { replayMsOf } from "./replays.ts";
import { type Each, eachOf } from "./scope.ts";
import { TargetIndex } from "./target-index.ts";
import { compileWho, type Facets, type Who } from "./who.ts";
import { WhoIndex } from "./who-index.ts";
import { durationMs, instantMs } from "./written.ts";

export type PolicySource = { readonly file: string; readonly policy: PolicyFile; lineOf(path: Path): number };
export type Path = readonly (string | number)[];
/** `offset` counts characters of the text at `path`; null: the text as a whole. */
export type PolicyFault = { readonly file: string; readonly path: Path; readonly offset: number | null; readonly message: string };

/** What the config says of a server, as far as policies depend on it. */
export type ServerFacts = ReadonlyMap<
  string,
  { readonly reserve: Readonly<Record<string, number>>; readonly region?: string | null; readonly timeoutMs?: number }
>;

/** Milliseconds since the epoch: the first at which it counts, and the first at which it counts no more; null: without that border. */
export type Validity = { readonly fromMs: number | null; readonly untilMs: number | null };

export type Rule = {
  readonly ref: RuleRef;
  readonly effect: "permit" | "forbid";
  readonly who: Who;
  /** As it was written, groups in full; for explanations. */
  readonly written: { readonly who: WhoFile | null; readonly when: string | null };
  readonly targets: readonly TargetPattern[];
  readonly condition: Condition | null;
  readonly requires: readonly string[];
  /** Says `entitlement_denied` where silence would say `tool_unknown`. */
  readonly named: boolean;
  /** Null: at any time. */
  readonly validity: Validity | null;
  /** Lapses for whom has not used it for so long; null: never. */
  readonly idleMs: number | null;
  readonly approval: Approval | null;
  /** What the server has to be for it to apply; null: whatever it is. */
  readonly pins: RulePins | null;
  readonly guards: readonly Guard[];
  /** Null: as its server declares. */
  readonly reserve: Readonly<Record<string, number>> | null;
  /** How long results are kept for retries; null: they are not. */
  readonly replayMs: number | null;
  /** Judged beside the decision, never part of it. */
  readonly shadow: boolean;
};

export type Budget = {
  readonly who: Who;
  /** Null: every call. */
  readonly targets: readonly TargetPattern[] | null;
  readonly each: readonly Each[];
  readonly draw: Omit<Draw, "scope">;
};

export type Rules = {
  readonly policyVersion: string;
  /** By name: the first that permits is the one recorded, however the files are ordered. */
  readonly rules: readonly Rule[];
  /** Those with pins. */
  readonly pinned: readonly Rule[];
  /** In the order of the files: the first that cannot carry a call is the one named. */
  readonly budgets: readonly Budget[];
  readonly limits: Limits;
  readonly index: TargetIndex<Rule>;
  readonly whoIndex: WhoIndex<Rule>;
  readonly budgetIndex: TargetIndex<Budget>;
  readonly servers: ReadonlySet<string>;
  readonly regions: ReadonlyMap<string, string>;
};

export type Compiled = { readonly rules: Rules; readonly faults: readonly PolicyFault[]; readonly warnings: readonly PolicyFault[] };

export function compilePolicies(
  sources: readonly PolicySource[],
  servers: ServerFacts,
  policyVersion: string,
  inspectors: InspectorFacts = new Map(),
  meters: MeterFacts | null = null,
): Compiled {
  const compiler = new Compiler(servers, groupsOf(sources), inspectors, meters);
  for (const source of sources) compiler.read(source);
  const { rules, budgets, faults, warnings } = compiler;
  const limits = limitsOf(compiler.limits);
  const index = new TargetIndex<Rule>();
  for (const rule of rules) for (const target of rule.targets) index.add(target, rule);
  const whoIndex = new WhoIndex<Rule>();
  for (const rule of rules) whoIndex.add(rule.written.who, rule);
  const budgetIndex = new TargetIndex<Budget>();
  for (const budget of budgets) for (const target of budget.targets ?? []) budgetIndex.add(target, budget);
  const sorted = rules.toSorted(byName);
  const regions = new Map([...servers].flatMap(([server, { region }]) => (region == null ? [] : [[server, region]])));
  const names = new Set(servers.keys());
  const pinned = sorted.filter(({ pins }) => pins !== null);
  return {
    rules: { policyVersion, rules: sorted, pinned, budgets, limits, index, whoIndex, budgetIndex, servers: names, regions },
    faults,
    warnings,
  };
}

/** The rules that are about a caller, by name. */
export function rulesFor({ whoIndex }: Pick<Rules, "whoIndex">, facets: Facets): Rule[] {
  return [...whoIndex.find(facets)].filter((rule) => rule.who(facets)).sort(byName);
}

export const byName = (a: Rule, b: Rule): number => (a.ref.name < b.ref.name ? -1 : 1);

/** About 200 bytes each. */
const PATTERNS_MAX = 500_000;

class Compiler {
  readonly rules: Rule[] = [];
  readonly budgets: Budget[] = [];
  readonly limits: CompiledLimit[] = [];
  readonly faults: PolicyFault[] = [];
  readonly warnings: PolicyFault[] = [];
  readonly #servers: ServerFacts;
  readonly #groups: Groups;
  readonly #inspectors: InspectorFacts;
  readonly #meters: MeterFacts | null;
  readonly #seen = new Map<string, string>();
  readonly #conditions = new Map<string, Condition | ConditionFault>();
  #patterns = 0;

  constructor(servers: ServerFacts, groups: Groups, inspectors: InspectorFacts, meters: MeterFacts | null) {
    this.#servers = servers;
    this.#meters = meters;
    this.#groups = groups;
    this.#inspectors = inspectors;
  }

  read(source: PolicySource): void {
    const { file, policy } = source;
    for (const name of Object.keys(policy.agents)) this.#claim("agent", name, source, ["agents", name]);
    for (const kind of ["agents", "tools"] as const)
      for (const name of Object.keys(policy.groups[kind])) this.#claim(`group of ${kind}`, name, source, ["groups", kind, name]);
    for (const [index, entitlement] of policy.entitlements.entries()) {
      if (entitlement === null) continue;
      const path = ["entitlements", index];
      this.#claim("entitlement", entitlement.name, source, [...path, "name"]);
      this.rules.push(this.#rule(file, entitlement, path, source.lineOf(path)));
    }
    for (const [index, budget] of policy.budgets.entries()) {
      if (budget === null) continue;
      const path = ["budgets", index];
      this.#claim("budget", budget.name, source, [...path, "name"]);
      this.budgets.push(this.#budget(file, budget, path));
    }
    for (const [index, limit] of policy.limits.entries()) {
      if (limit === null) continue;
      this.#claim("limit", limit.name, source, ["limits", index, "name"]);
      this.limits.push(this.#limit(file, limit, ["limits", index]));
    }
  }

  /** A name stands for one thing in records, refusals and balances. */
  #claim(what: string, name: string, source: PolicySource, path: Path): void {
    const key = `${what} ${name}`;
    const first = this.#seen.get(key);
    if (first !== undefined) this.#say(source.file, path, `the ${what} ${name} is already at ${first}`);
    else this.#seen.set(key, `${source.file}:${source.lineOf(path)}`);
  }

  #rule(file: string, entitlement: EntitlementFile, path: Path, line: number): Rule {
    const effect = entitlement.permit === undefined ? "forbid" : "permit";
    const who = this.#who(file, entitlement.who, [...path, "who"]);
    const targets = this.#targets(file, entitlement.permit ?? entitlement.forbid ?? [], [...path, effect]);
    if (entitlement.pins?.definition !== undefined && !isOneTool(targets))
      this.#say(file, [...path, "pins", "definition"], "is that of one tool: permit exactly one, as server/tool without *");
    return {
      ref: { name: entitlement.name, file, line },
      effect,
      who: compileWho(who),
      written: { who: who ?? null, when: entitlement.when ?? null },
      targets,
      condition: entitlement.when === undefined ? null : this.#condition(file, entitlement.when, [...path, "when"]),
      requires: entitlement.requires ?? [],
      named: entitlement.disclosure === "named",
      validity: validityOf(entitlement),
      idleMs: entitlement.idle === undefined ? null : durationMs(entitlement.idle),
      approval:
        entitlement.approval === undefined ? null : { by: entitlement.approval.by, withinMs: durationMs(entitlement.approval.within) },
      pins: pinsOf(entitlement),
      guards: guardsOf(entitlement.inspect, this.#inspectors),
      reserve: entitlement.reserve === undefined ? null : JSON.parse(JSON.stringify(entitlement.reserve)),
      replayMs: replayMsOf(entitlement.idempotency),
      shadow: entitlement.shadow,
    };
  }

  #who(file: string, who: WhoFile | undefined, path: Path): WhoFile | undefined {
    if (who?.agent === undefined) return who;
    const agent = [who.agent].flat().flatMap((written) => this.#expand(file, this.#groups.agents, written, [...path, "agent"]));
    return { ...who, agent };
  }

  #expand(file: string, groups: Groups[keyof Groups], written: string, path: Path): readonly string[] {
    const entries = expanded(groups, written);
    if (!("problem" in entries)) return entries;
    this.#say(file, path, entries.problem);
    return [];
  }

  #budget(file: string, budget: BudgetFile, path: Path): Budget {
    const targets = budget.tools === undefined ? null : this.#targets(file, budget.tools, [...path, "tools"]);
    const say = (message: string) => this.#say(file, [...path, "meter"], message);
    const warn = (message: string) => this.warnings.push({ file, path: [...path, "meter"], offset: null, message });
    checkMeter(budget, targets, this.#servers, this.#meters, say, warn);
    return drawingBudget(budget, this.#who(file, budget.who, [...path, "who"]), targets);
  }

  #limit(file: string, written: LimitFile, path: Path): CompiledLimit {
    const who = this.#who(file, written.who, [...path, "who"]);
    const targets = written.tools === undefined ? null : this.#targets(file, written.tools, [...path, "tools"]);
    const limit = limitOf(written.name, written);
    for (const message of tooLongWaits(limit, targets, this.#servers))
      this.warnings.push({ file, path: [...path, "wait"], offset: null, message });
    return { limit, who: compileWho(who), written: who ?? null, targets, each: eachOf(written), index: this.limits.length };
  }

  #targets(file: string, written: readonly string[], path: Path): TargetPattern[] {
    return written.flatMap((text, index) => {
      const at = [...path, index];
      const entries = this.#expand(file, this.#groups.tools, text, at);
      this.#patterns += entries.length;
      // Said once: what one group is written into many rules makes more of than any gateway should hold.
      if (this.#patterns > PATTERNS_MAX && this.#patterns - entries.length <= PATTERNS_MAX)
        this.#say(file, at, `over ${PATTERNS_MAX} patterns, groups in full, stand in all rules up to here: write wider ones`);
      return this.#patterns > PATTERNS_MAX ? [] : entries.flatMap((entry) => this.#target(file, entry, at));
    });
  }

  #target(file: string, text: string, path: Path): TargetPattern[] {
    const pattern = parsePattern(text);
    if ("problem" in pattern) {
      this.#say(file, path, pattern.problem);
      return [];
    }
    if (!isPattern(pattern.server) && !this.#servers.has(pattern.server) && pattern.server !== FEATURES) {
      const meant = didYouMean(pattern.server, this.#servers.keys());
      const message = `the config has no server ${pattern.server}, so ${text} matches nothing${meant}`;
      this.warnings.push({ file, path, offset: null, message });
    }
    if (pattern.kind === "tool" && pattern.server !== FEATURES && !/^[A-Za-z0-9_./*-]*$/.test(pattern.name)) {
      const message = `${text} matches no tool: names of tools are of letters, digits, and _ . / -`;
      this.warnings.push({ file, path, offset: null, message });
    }
    return [pattern];
  }

  #condition(file: string, expression: string, path: Path): Condition | null {
    // Many rules ask the same: one condition is compiled for all of them, and stays at hand of the processor.
    const condition = this.#conditions.get(expression) ?? compileCondition(expression);
    this.#conditions.set(expression, condition);
    if ("holds" in condition) return condition;
    this.faults.push({ file, path, offset: condition.offset, message: condition.message });
    return null;
  }

  #say(file: string, path: Path, message: string): void {
    this.faults.push({ file, path, offset: null, message });
  }
}

function isOneTool([target, ...others]: readonly TargetPattern[]): boolean {
  return target?.kind === "tool" && others.length === 0 && !isPattern(target.server) && !isPattern(target.name);
}

function pinsOf({ pins }: EntitlementFile): RulePins | null {
  if (pins === undefined) return null;
  return { version: pins.version ?? null, definition: pins.definition?.slice("sha256:".length) ?? null };
}

function validityOf({ from, until }: EntitlementFile): Validity | null {
  if (from === undefined && until === undefined) return null;
  return { fromMs: from === undefined ? null : instantMs(from), untilMs: until === undefined ? null : instantMs(until) };
}
