/** Pure. External guards as a rule writes them, and as a permit names them. */
import { z } from "zod";
import type { Guard } from "./permit.ts";

/** How a guard is asked: by the gateway's own protocol, or as an AuthZEN decision point, which knows nothing of results. */
export type InspectorType = "http" | "authzen";

/** What the config says of a guard, as far as policies depend on it. */
export type InspectorFacts = ReadonlyMap<string, { readonly type: InspectorType }>;

const by = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, "is not an inspector's name: 1 to 64 letters, digits, dots, dashes and underscores");

/** Each of them costs a request to a call; a call that needs more has other troubles. */
const GUARDS_MAX = 8;

export const inspect = z
  .array(
    z.union(
      [
        by,
        z.strictObject({
          by: by.describe("A name among the config's inspectors."),
          of: z
            .array(z.enum(["arguments", "result"]))
            .min(1)
            .optional()
            .describe("What it looks at. Default: both; of an inspector of type authzen the arguments."),
        }),
      ],
      { error: "must be an inspector's name, or { by: NAME, of: [arguments, result] }" },
    ),
  )
  .min(1)
  .max(GUARDS_MAX)
  .describe("External guards of the config's inspectors that look at the arguments, at the result, or at both: a name, or { by, of }.");

export type InspectFile = z.output<typeof inspect>;

export function guardsOf(written: InspectFile | undefined, inspectors: InspectorFacts): readonly Guard[] {
  if (written === undefined) return NO_GUARDS;
  return written.map((each) => {
    const { by: inspector, of } = typeof each === "string" ? { by: each, of: undefined } : each;
    return { inspector, of: of === undefined ? (inspectors.get(inspector)?.type === "authzen" ? ARGUMENTS : BOTH) : inOrder(of) };
  });
}

export const NO_GUARDS: readonly Guard[] = Object.freeze([]);
const ARGUMENTS: Guard["of"] = Object.freeze(["arguments"] as const);
const BOTH: Guard["of"] = Object.freeze(["arguments", "result"] as const);

/** However it is written, it means one thing. */
function inOrder(of: Guard["of"]): Guard["of"] {
  return BOTH.filter((each) => of.includes(each));
}

/** True where some guard looks at results. */
export function watchesResults({ guards }: { readonly guards: readonly Guard[] }): boolean {
  return guards.some(({ of }) => of.includes("result"));
}

/** All guards of several rules, each once, with everything that it looks at for any of them. */
export function allGuards(lists: readonly (readonly Guard[])[]): readonly Guard[] {
  const found = new Map<string, Guard>();
  for (const { inspector, of } of lists.flat())
    found.set(inspector, { inspector, of: inOrder([...(found.get(inspector)?.of ?? []), ...of]) });
  return found.size === 0 ? NO_GUARDS : [...found.values()];
}

/** `pii (arguments, result)` */
export function guardText({ inspector, of }: Guard): string {
  return `${inspector} (${of.join(", ")})`;
}
