/** Config and policies judged together: every problem of every file at once, in the order in which somebody mends them. */
import { resolve } from "node:path";
import { meterFactsOf } from "./catalogue.ts";
import { type Environment, loadConfig, policiesFolder } from "./config-load.ts";
import { type Problem, sortProblems } from "./document.ts";
import { keysApart } from "./keys-folder.ts";
import { caseFilesIn, readCases } from "./policy-cases.ts";
import { loadPolicies } from "./policy-load.ts";

export type Inspection = {
  readonly problems: readonly Problem[];
  /** They never stop a start. */
  readonly warnings: readonly Problem[];
  /** What could not be looked at. */
  readonly notes: readonly Problem[];
};

export async function inspectAll(configFile: string, env: Environment): Promise<Inspection> {
  const loaded = loadConfig(configFile, env);
  if ("problems" in loaded) {
    // Without a config nothing is known of its servers: what depends on them is judged in the next run.
    const policies = loadPolicies(policiesFolder(resolve(configFile)), new Map());
    return { problems: sortProblems([...loaded.problems, ...("problems" in policies ? policies.problems : [])]), warnings: [], notes: [] };
  }
  const { config } = loaded;
  // The database's driver: loaded by those who need it.
  const { readKnown } = await import("./control/known.ts");
  const { known, unasked } = await readKnown({ dataDir: config.data, postgres: config.shared.postgres?.reveal() ?? null });
  const policies = loadPolicies(config.policies, config.servers, config.mode, {
    known,
    inspectors: config.inspectors,
    meters: meterFactsOf(config),
  });
  const warnings = [...policies.warnings];
  if (unasked !== null) warnings.push({ file: config.file, line: 1, column: 1, message: unasked });
  const apart = keysApart(config);
  if (apart !== null) warnings.push(apart);
  const problems = [...("problems" in policies ? policies.problems : []), ...policies.mismatches];
  // What cases expect is asked by `policy test`; whether they can be read at all is seen here.
  const cases = "problems" in policies ? { questions: [] } : readCases(caseFilesIn(config.policies), policies.agents);
  if ("problems" in cases) problems.push(...cases.problems);
  return { problems: sortProblems(problems), warnings: sortProblems(warnings), notes: policies.notes };
}
