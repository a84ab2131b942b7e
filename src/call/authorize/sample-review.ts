/** Pure. A condition evaluated on arguments that the tool's schema allows: one that cannot be evaluated there surprises at the first call. */
import { readArguments } from "./call-arguments.ts";
import type { Circumstances, Condition } from "./condition.ts";
import { failing, nameOf } from "./condition-review.ts";
import type { KnownTool } from "./known.ts";
import { samplesOf } from "./samples.ts";

/** What the first such sample looks like, or null: every sample gives true or false. */
export function reviewSamples(condition: Condition, effect: "permit" | "forbid", tools: readonly KnownTool[]): string | null {
  // Of claims nothing is known: any fault may be theirs.
  if (condition.readsClaims) return null;
  for (const tool of tools) {
    for (const sample of samplesOf(tool.inputSchema)) {
      const text = textOf(sample);
      if (condition.holds(circumstancesWith(tool, text)) !== null) continue;
      const shown = text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}...` : text;
      return `${nameOf(tool)}: the condition cannot be evaluated with the arguments ${shown}, which its schema allows: ${failing(effect)} then`;
    }
  }
  return null;
}

const SHOWN_MAX = 160;

const textOf = (sample: unknown): string => JSON.stringify(sample);

/** An agent that has all that an agent may have: what fails then, fails for the arguments. */
const SOMEBODY: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  ...["id", "name", "customer", "owner", "purpose", "team", "workflow", "instance"].map((key) => [key, "somebody"] as const),
  ["kind", "autonomous"],
  ["riskClass", "unclassified"],
  ["roles", ["somebody"]],
]);

function circumstancesWith({ server, tool }: KnownTool, text: string): Circumstances {
  return {
    agent: SOMEBODY,
    ...{ subject: "somebody", customer: "somebody", server, region: "somewhere", tool },
    now: new Date(0),
    claims: () => null,
    args: () => readArguments(Buffer.from(text)),
  };
}
