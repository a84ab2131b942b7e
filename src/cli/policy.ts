/** `policy`: what policies say, asked before anybody calls: explained, tested, compared. */
import type { Command } from "commander";
import { branch, leaf } from "./command.ts";
import type { Io } from "./io.ts";
import { registerBacktest } from "./policy-backtest.ts";
import { diffPolicies } from "./policy-diff.ts";
import { addCallOptions, explainPolicy } from "./policy-explain.ts";
import { registerSuggest } from "./policy-suggest.ts";
import { testPolicies } from "./policy-test.ts";

export function registerPolicy(program: Command, io: Io): void {
  const policy = branch(program, "policy", "the policies: what they decide and why, without a call");
  addCallOptions(
    leaf(
      policy,
      "explain",
      "one decision: the rule that gives it, the rules that nearly did, and what would have to differ; exit 1 if it is no",
      `tollgate policy explain --agent triage-bot --tool tickets/search --args '{"limit":5}'`,
    ),
  ).action((options) => explainPolicy(options, io));
  leaf(
    policy,
    "test [files...]",
    "ask what the *.cases.yaml beside the policies state, or those of the given files; exit 1 if any does not hold",
    "tollgate policy test --policies policies.next",
  )
    .option("--policies <folder>", "another folder of policies, and of cases where no files are given")
    .action((files: string[], options) => testPolicies(files, options, io));
  leaf(
    policy,
    "diff <old> <new>",
    "two folders of policies: which agents gain or lose what; exit 1 if anybody may do more",
    "tollgate policy diff policies policies.new",
  ).action((before: string, after: string, options) => diffPolicies(before, after, options, io));
  registerBacktest(policy, io);
  registerSuggest(policy, io);
}
