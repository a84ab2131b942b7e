/** Config and policies judged together: every problem of every file at once, in the order in which somebody mends them. */
import { resolve } from "node:path";
import { type Environment, loadConfig, policiesFolder } from "./config-load.ts";
import { type Problem, sortProblems } from "./document.ts";
import { loadPolicies } from "./policy-load.ts";

export function checkAll(configFile: string, env: Environment): readonly Problem[] {
  return inspectAll(configFile, env).problems;
}

/** Warnings never stop a start. */
export function inspectAll(configFile: string, env: Environment): { problems: readonly Problem[]; warnings: readonly Problem[] } {
  const loaded = loadConfig(configFile, env);
  const problems = "problems" in loaded ? [...loaded.problems] : [];
  const folder = "problems" in loaded ? policiesFolder(resolve(configFile)) : loaded.config.policies;
  // Without a config nothing is known of its servers: what depends on them is judged in the next run.
  const policies =
    "problems" in loaded
      ? loadPolicies(folder, new Map())
      : loadPolicies(folder, loaded.config.servers, "enforce", loaded.config.inspectors);
  if ("problems" in policies) problems.push(...policies.problems);
  return { problems: sortProblems(problems), warnings: "problems" in loaded ? [] : sortProblems(policies.warnings) };
}
