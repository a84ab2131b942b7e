/** Pure. Rules against each other and the calendar: what is written twice, what can never count again, what is always taken away. */
import { type Glob, globOf } from "./glob.ts";
import type { WhoFile } from "./policy-file.ts";
import type { Rule } from "./policy-set.ts";

export type RuleFinding = { readonly rule: Rule; readonly message: string };

export function reviewRules(rules: readonly Rule[], nowMs: number): RuleFinding[] {
  return [...twice(rules), ...over(rules, nowMs), ...dead(rules.filter((rule) => !isOver(rule, nowMs)))];
}

function twice(rules: readonly Rule[]): RuleFinding[] {
  const first = new Map<string, Rule>();
  return rules.flatMap((rule) => {
    const content = contentOf(rule);
    const before = first.get(content);
    if (before === undefined) first.set(content, rule);
    return before === undefined ? [] : [{ rule, message: `says the same as ${placeOf(before)}: one of them is enough` }];
  });
}

function contentOf({ effect, written, targets, requires, named, validity, idleMs, approval, guards, pins, shadow }: Rule): string {
  const who = Object.entries(written.who ?? {}).map(([key, value]) => `${key}=${[value ?? []].flat().toSorted().join("|")}`);
  const about = targets.map(({ kind, server, name }) => `${kind}:${server}/${name}`);
  const rest = [written.when?.trim() ?? null, requires.toSorted(), named, validity, idleMs, approval, guards, pins, shadow];
  return JSON.stringify([effect, who.toSorted(), [...new Set(about)].toSorted(), rest]);
}

function over(rules: readonly Rule[], nowMs: number): RuleFinding[] {
  return rules
    .filter((rule) => isOver(rule, nowMs))
    .map((rule) => ({ rule, message: `ended at ${new Date(endOf(rule)).toISOString()} and never counts again: remove it` }));
}

const endOf = ({ validity }: Rule): number => validity?.untilMs ?? Number.POSITIVE_INFINITY;
const isOver = (rule: Rule, nowMs: number): boolean => endOf(rule) <= nowMs;

/** Beyond this many comparisons a set is too large to be read by a person anyway. */
const COMPARISONS_MAX = 5_000_000;

function dead(rules: readonly Rule[]): RuleFinding[] {
  const takers = rules
    .filter(
      ({ effect, condition, written, validity, shadow }) => effect === "forbid" && !condition && !written.when && !validity && !shadow,
    )
    .flatMap((rule) =>
      rule.targets.map((target): Taker => ({ rule, ...target, server: globOf(target.server), name: globOf(target.name) })),
    );
  let left = COMPARISONS_MAX;
  return rules.flatMap((rule) => {
    if (rule.effect !== "permit" || rule.shadow || rule.targets.length === 0) return [];
    left -= takers.length * rule.targets.length;
    if (left < 0) return [];
    const taking = rule.targets.map((target) => takers.find((taker) => takes(taker, rule, target)));
    const [by] = taking;
    return by === undefined || taking.includes(undefined)
      ? []
      : [{ rule, message: `permits nothing: the forbid ${placeOf(by.rule)} takes all of it away` }];
  });
}

type Taker = { readonly rule: Rule; readonly kind: string; readonly server: Glob; readonly name: Glob };

/** A pattern whose text is matched, `*` as a character like any other, is covered in all that it can match. */
function takes({ rule, kind, server, name }: Taker, permit: Rule, target: Rule["targets"][number]): boolean {
  return kind === target.kind && server(target.server) && name(target.name) && isAboutAll(rule.written.who, permit.written.who);
}

/** Whoever the second matches, the first matches too. */
function isAboutAll(wider: WhoFile | null, narrower: WhoFile | null): boolean {
  return Object.entries(wider ?? {}).every(([key, value]) => {
    const entries = [narrower?.[key as keyof WhoFile] ?? []].flat();
    const globs = [value ?? []].flat().map(globOf);
    return entries.length > 0 && entries.every((entry) => globs.some((glob) => glob(entry)));
  });
}

const placeOf = ({ ref: { name, file, line } }: Rule): string => `${name} (${file}:${line})`;
