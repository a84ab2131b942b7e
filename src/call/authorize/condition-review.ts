/** Pure. A condition against the schemas of every tool that its rule is about: what is wrong for all of them, and what for some. */
import type { ASTNode } from "@marcbachmann/cel-js";
import { type ArgumentReading, type ReadingFinding, readingOf } from "./argument-reading.ts";
import type { KnownTool } from "./known.ts";
import { didYouMean } from "./nearest.ts";

/** `isError`: it cannot be meant. */
export type ConditionFinding = { readonly offset: number; readonly message: string; readonly isError: boolean };

type Effect = "permit" | "forbid";
type Read = { readonly tool: KnownTool; readonly reading: ArgumentReading };
type Found = { readonly tool: KnownTool; readonly finding: ReadingFinding };

/** `isComplete`: the rule is about no tool beyond these. */
export function reviewCondition(
  expression: ASTNode,
  effect: Effect,
  tools: readonly KnownTool[],
  isComplete: boolean,
): readonly ConditionFinding[] {
  const read = tools.map((tool) => ({ tool, reading: readingOf(expression, tool.server, tool.tool, tool.inputSchema) }));
  const groups = Map.groupBy(
    read.flatMap(({ tool, reading }) => reading.findings.map((finding): Found => ({ tool, finding }))),
    ({ finding: { kind, offset } }) => `${kind} ${offset}`,
  );
  return [...groups.values()].flatMap((found) => oneFinding(found, read, effect, isComplete) ?? []);
}

function oneFinding(found: readonly Found[], read: readonly Read[], effect: Effect, isComplete: boolean): ConditionFinding | null {
  const [first] = found;
  if (first === undefined) return null;
  const { kind, offset, path, text } = first.finding;
  const say = (message: string, isError = false): ConditionFinding => ({ offset, message, isError });
  if (kind === "absent") return absent(found, read, effect, isComplete);
  const named = namesOf(found.map(({ tool }) => tool));
  if (kind === "never") return say(`${named}: ${text}`);
  if (kind === "optional") return say(`${named}: ${text}; without it ${failing(effect)}. ${askFirst(path, effect)}`);
  const judged = read.filter(({ reading }) => reading.judged.has(offset));
  return say(`${named}: ${text}`, isComplete && found.length === judged.length);
}

function absent(found: readonly Found[], read: readonly Read[], effect: Effect, isComplete: boolean): ConditionFinding | null {
  const [first] = found;
  if (first === undefined) return null;
  const { offset, path } = first.finding;
  const reached = read.filter(({ reading }) => reading.reached.has(offset));
  if (reached.length === found.length) {
    const meant = didYouMean(path, new Set(found.flatMap(({ finding }) => finding.names)));
    const [tool] = found.length === 1 ? [first.tool] : [];
    const none = `none of the ${found.length} known tools that this rule is about has an argument ${path}`;
    const has = tool === undefined ? [] : first.finding.names;
    const others = meant !== "" || has.length === 0 ? meant : `; it has ${has.slice(0, 10).join(", ")}`;
    const takesNone = tool !== undefined && has.length === 0 && !path.includes(".");
    const one = tool === undefined ? none : takesNone ? `${nameOf(tool)} takes no arguments` : `${nameOf(tool)} has no argument ${path}`;
    return { offset, message: `${one}${others}`, isError: isComplete };
  }
  const unguarded = found.filter(({ finding }) => !finding.guarded).map(({ tool }) => tool);
  if (unguarded.length === 0) return null;
  const verb = unguarded.length === 1 ? "has" : "have";
  const message = `${namesOf(unguarded)} ${verb} no argument ${path}: there ${failing(effect)}. ${askFirst(path, effect)}`;
  return { offset, message, isError: false };
}

/** What a condition that cannot be evaluated does. */
export function failing(effect: Effect): string {
  return effect === "permit" ? "this permit does not apply" : "this forbid applies";
}

function askFirst(path: string, effect: Effect): string {
  const has = `has(${path.includes("[]") ? `x.${path.slice(path.lastIndexOf("[].") + 3)}` : `args.${path}`})`;
  const other = effect === "permit" ? `!${has} || ... to permit it` : `${has} && ... to let it pass`;
  return `If that is not meant, write ${other}`;
}

export const nameOf = ({ server, tool }: KnownTool): string => `${server}/${tool}`;

/** `crm/read, crm/list and 4 more` */
export function namesOf(tools: readonly KnownTool[]): string {
  const shown = tools.slice(0, NAMED_MAX).map(nameOf).join(", ");
  return tools.length > NAMED_MAX ? `${shown} and ${tools.length - NAMED_MAX} more` : shown;
}

const NAMED_MAX = 3;
