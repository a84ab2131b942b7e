/** Pure. Conditions over what a call came to, in the same CEL and within the same time as those over what it asks for. */
import type { CallArguments } from "./call-arguments.ts";
import { type ConditionFault, compileIn, ITEMS_MAX, newEnvironment } from "./condition.ts";
import { STEPS_MAX, stepsOf, workOf } from "./work.ts";

/** `faulty`: it meets an error, such as a member that is not there. `unread`: what it looks at is too large to be looked at, or not known. */
export type ResultVerdict = boolean | "faulty" | "unread";

export type ResultCondition = {
  readonly readsArguments: boolean;
  /** `args` null: they cannot be read, or nobody knows them any more. */
  holds(result: CallArguments, args: CallArguments | null): ResultVerdict;
};

const environment = newEnvironment()
  .registerVariable("result", "map<string, dyn>", { description: "The result as the server gave it." })
  .registerVariable("args", "map<string, dyn>", { description: "The call's arguments." });

const NO_ARGUMENTS: CallArguments = { value: new Map(), longest: 0, bytes: 0 };

export function compileResultCondition(expression: string): ResultCondition | ConditionFault {
  const compiled = compileIn(environment, expression);
  if ("message" in compiled) return compiled;
  const { evaluate, findings } = compiled;
  const work = workOf(evaluate.ast);
  const { readsArguments } = findings;
  return {
    readsArguments,
    holds(result, given) {
      const args = readsArguments ? given : NO_ARGUMENTS;
      if (args === null) return "unread";
      const longest = Math.max(result.longest, args.longest);
      if (longest > ITEMS_MAX || stepsOf(work, result.bytes + args.bytes, longest) > STEPS_MAX) return "unread";
      try {
        const holds = evaluate({ result: result.value, args: args.value });
        return typeof holds === "boolean" ? holds : "faulty";
      } catch {
        // The message of an evaluation quotes what it looked at: it goes nowhere.
        return "faulty";
      }
    },
  };
}
