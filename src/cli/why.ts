/** `why`: one call's decision, rule, budgets and outcome, in words. */
import type { Command } from "commander";
import { openBooks } from "./books.ts";
import { type CommonOptions, configOf, leaf, print } from "./command.ts";
import { explain } from "./explain.ts";
import type { Io } from "./io.ts";

export function registerWhy(program: Command, io: Io): void {
  leaf(program, "why <call-id>", "what was decided about one call, by which rule, and what it used", "tollgate why call_01jd8...").action(
    async (callId: string, options: CommonOptions) => {
      const { record } = await openBooks(configOf(options, io), io).record(callId);
      print(io, options, { call_id: callId, words: explain(record), record }, () => explain(record).join("\n"));
    },
  );
}
