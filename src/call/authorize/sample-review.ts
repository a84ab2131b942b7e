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
    for (const { text, circumstances } of questionsOf(tool)) {
      if (condition.holds(circumstances) !== null) continue;
      const shown = text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}...` : text;
      return `${nameOf(tool)}: the condition cannot be evaluated with the arguments ${shown}, which its schema allows: ${failing(effect)} then`;
    }
  }
  return null;
}

const SHOWN_MAX = 160;
/** More values than conditions are evaluated on do not fit in it. A server may put anything into its schema. */
const SAMPLE_CHARACTERS_MAX = 16_384;

type Question = { readonly text: string; readonly circumstances: Circumstances };

/** Made once for each tool: many rules ask the same. */
const questions = new WeakMap<KnownTool, readonly Question[]>();

function questionsOf(tool: KnownTool): readonly Question[] {
  const known = questions.get(tool);
  if (known !== undefined) return known;
  const made = samplesOf(tool.inputSchema).flatMap((sample) => {
    const text = JSON.stringify(sample);
    return text.length > SAMPLE_CHARACTERS_MAX ? [] : [{ text, circumstances: circumstancesWith(tool, text) }];
  });
  questions.set(tool, made);
  return made;
}

/** An agent that has all that an agent may have: what fails then, fails for the arguments. */
const SOMEBODY: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  ...["id", "name", "customer", "owner", "purpose", "team", "workflow", "instance"].map((key) => [key, "somebody"] as const),
  ["kind", "autonomous"],
  ["riskClass", "unclassified"],
  ["roles", ["somebody"]],
]);

function circumstancesWith({ server, tool }: KnownTool, text: string): Circumstances {
  const args = readArguments(Buffer.from(text));
  return {
    agent: SOMEBODY,
    ...{ subject: "somebody", customer: "somebody", server, region: "somewhere", tool },
    now: new Date(0),
    claims: () => null,
    args: () => args,
  };
}
