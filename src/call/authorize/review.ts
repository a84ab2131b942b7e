/** Pure. Policies that compile, read once more beside what is known of tools and agents: what is hardly meant. */

import { partsOf } from "./condition.ts";
import { reviewCondition } from "./condition-review.ts";
import { isPattern } from "./glob.ts";
import { type Groups, groupsOf } from "./groups.ts";
import type { Known, KnownNames } from "./known.ts";
import { parsePattern } from "./pattern.ts";
import type { Path, PolicyFault, PolicySource, Rule, Rules } from "./policy-set.ts";
import { reviewRules } from "./rule-review.ts";
import { reviewSamples } from "./sample-review.ts";
import { type Matched, matchedBy, reviewPattern } from "./target-review.ts";
import { declaredNames, reviewWho } from "./who-review.ts";

export type Review = {
  /** What a condition asks of arguments and no known schema has. A server that changes its schema brings it about too. */
  readonly mismatches: readonly PolicyFault[];
  readonly warnings: readonly PolicyFault[];
  /** What could not be looked at. */
  readonly notes: readonly PolicyFault[];
};

/** Of a condition with a tool, each 50 to 100 us: about a second, in which a gateway that reloads does nothing else. */
const COMPARISONS_MAX = 10_000;

export function reviewPolicies(sources: readonly PolicySource[], rules: Rules, known: Known, nowMs: number): Review {
  const reviewer = new Reviewer(rules, known);
  const [groups, declared] = [groupsOf(sources), declaredNames(sources)];
  for (const source of sources) reviewer.read(source, groups, declared);
  reviewer.compare(nowMs);
  return reviewer.end();
}

type Place = { readonly file: string; readonly path: Path };

class Reviewer {
  readonly #mismatches: PolicyFault[] = [];
  readonly #warnings: PolicyFault[] = [];
  readonly #notes: PolicyFault[] = [];
  readonly #rules: Rules;
  readonly #known: Known;
  readonly #byPlace: ReadonlyMap<string, Rule>;
  readonly #placeOf = new Map<Rule, Place>();
  /** By server: where it is first needed, and by which rules. */
  readonly #unseen = new Map<string, Place & { readonly rules: Set<string> }>();
  #left = COMPARISONS_MAX;

  constructor(rules: Rules, known: Known) {
    this.#rules = rules;
    this.#known = known;
    this.#byPlace = new Map(rules.rules.map((rule) => [`${rule.ref.file} ${rule.ref.name}`, rule]));
  }

  read({ file, policy }: PolicySource, groups: Groups, declared: KnownNames): void {
    for (const [name, patterns] of Object.entries(policy.groups.tools)) this.#patterns(file, patterns, ["groups", "tools", name]);
    for (const [index, entitlement] of policy.entitlements.entries()) {
      const rule = entitlement === null ? undefined : this.#byPlace.get(`${file} ${entitlement.name}`);
      if (entitlement === null || rule === undefined) continue;
      const path = ["entitlements", index];
      this.#placeOf.set(rule, { file, path });
      this.#patterns(file, entitlement.permit ?? entitlement.forbid ?? [], [...path, rule.effect]);
      this.#who(file, reviewWho(entitlement.who, [...path, "who"], this.#known, declared, groups));
      this.#condition(rule, { file, path: [...path, "when"] });
    }
    for (const [index, budget] of policy.budgets.entries()) {
      if (budget === null) continue;
      this.#patterns(file, budget.tools ?? [], ["budgets", index, "tools"]);
      this.#who(file, reviewWho(budget.who, ["budgets", index, "who"], this.#known, declared, groups));
    }
  }

  compare(nowMs: number): void {
    for (const { rule, message } of reviewRules(this.#rules.rules, nowMs)) {
      const place = this.#placeOf.get(rule);
      if (place !== undefined) this.#warnings.push({ ...place, path: [...place.path, "name"], offset: null, message });
    }
  }

  end(): Review {
    for (const [server, { file, path, rules: about }] of this.#unseen) {
      const rules = about.size === 1 ? "a rule about it" : `${about.size} rules about it`;
      const message = `the tools of ${server} are not known yet, so ${rules} could not be compared with them: the gateway lists them when an agent first asks`;
      this.#notes.push({ file, path, offset: null, message });
    }
    if (this.#left < 0)
      this.#say(
        this.#notes,
        [...this.#placeOf.values()][0],
        `conditions were compared with tools ${COMPARISONS_MAX} times, and no further`,
      );
    return { mismatches: this.#mismatches, warnings: this.#warnings, notes: this.#notes };
  }

  #patterns(file: string, written: readonly string[], path: Path): void {
    for (const [index, text] of written.entries()) {
      const pattern = parsePattern(text);
      if ("problem" in pattern) continue;
      const at = { file, path: [...path, index] };
      this.#say(this.#warnings, at, reviewPattern(pattern, this.#known));
      const { kind, server, name } = pattern;
      if (kind === "tool" && !isPattern(name) && !isPattern(server) && !this.#known.tools.has(server)) this.#unseenAt(server, at);
    }
  }

  #who(file: string, findings: ReturnType<typeof reviewWho>): void {
    for (const { path, message } of findings) this.#say(this.#warnings, { file, path }, message);
  }

  #condition(rule: Rule, at: Place): void {
    const { condition, written, effect } = rule;
    if (condition === null || written.when === null || !condition.readsArguments) return;
    const matched = matchedBy(rule.targets, this.#rules.servers, this.#known);
    for (const server of matched.unseen) this.#unseenAt(server, at);
    this.#left -= matched.tools.length;
    if (this.#left < 0 || matched.tools.length === 0) return;
    const findings = reviewCondition(partsOf(written.when), effect, matched.tools, isComplete(matched));
    for (const { offset, message, isError } of findings) (isError ? this.#mismatches : this.#warnings).push({ ...at, offset, message });
    // What is said already would be said once more by every sample.
    if (findings.length === 0) this.#say(this.#warnings, at, reviewSamples(condition, effect, matched.tools));
  }

  /** Only of servers that the config has: of another it is said that there is none. */
  #unseenAt(server: string, { file, path }: Place): void {
    if (!this.#rules.servers.has(server)) return;
    const first = this.#unseen.get(server) ?? { file, path, rules: new Set() };
    this.#unseen.set(server, first);
    first.rules.add(`${file} ${path.slice(0, 2).join(" ")}`);
  }

  #say(to: PolicyFault[], at: Place | undefined, message: string | null): void {
    if (at !== undefined && message !== null) to.push({ ...at, offset: null, message });
  }
}

const isComplete = ({ unseen, isToolsOnly }: Matched): boolean => unseen.length === 0 && isToolsOnly;
