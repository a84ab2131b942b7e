/** Pure. Conditions over what a call came to, in the same CEL and within the same time as those over what it asks for. */
import type { CallArguments } from "./call-arguments.ts";
import { type ConditionFault, compileIn, ITEMS_MAX, newEnvironment } from "./condition.ts";
import { STEPS_MAX, stepsOf, workOf } from "./work.ts";

/** True, false, or null where it cannot be evaluated. `args` is asked only by a condition that mentions them. */
export type ResultCondition = (result: CallArguments, args: () => CallArguments | null) => boolean | null;

const environment = newEnvironment()
  .registerVariable("result", "map<string, dyn>", { description: "The result as the server gave it." })
  .registerVariable("args", "map<string, dyn>", { description: "The call's arguments." });

const NO_ARGUMENTS: CallArguments = { value: new Map(), longest: 0, bytes: 0 };

export function compileResultCondition(expression: string): ResultCondition | ConditionFault {
  const compiled = compileIn(environment, expression);
  if ("message" in compiled) return compiled;
  const { evaluate, findings } = compiled;
  const work = workOf(evaluate.ast);
  return (result, askArgs) => {
    const args = findings.readsArguments ? askArgs() : NO_ARGUMENTS;
    if (args === null) return null;
    const longest = Math.max(result.longest, args.longest);
    if (longest > ITEMS_MAX || stepsOf(work, result.bytes + args.bytes, longest) > STEPS_MAX) return null;
    try {
      const holds = evaluate({ result: result.value, args: args.value });
      return typeof holds === "boolean" ? holds : null;
    } catch {
      // The message of an evaluation quotes what it looked at: it goes nowhere.
      return null;
    }
  };
}
