/** A folder of policies, for commands that ask it without a gateway. */
import { existsSync } from "node:fs";
import type { PolicySet } from "../call/authorize/candidates.ts";
import { meterFactsOf } from "../catalogue.ts";
import type { Config } from "../config.ts";
import type { ImaginedAgent } from "../imagined.ts";
import { loadPolicies } from "../policy-load.ts";
import { problemLines } from "./command.ts";
import { EXIT, Exit } from "./io.ts";

/** The compiled set of a folder, or exit 78 with every problem. */
export function policiesOf(
  folder: string,
  config: Pick<Config, "servers" | "inspectors" | "metering">,
): { policySet: PolicySet; declared: ReadonlyMap<string, ImaginedAgent> } {
  if (!existsSync(folder)) throw new Exit(EXIT.usage, `there is no folder ${folder}`);
  const loaded = loadPolicies(folder, config.servers, "enforce", { inspectors: config.inspectors, meters: meterFactsOf(config) });
  if ("problems" in loaded) throw new Exit(EXIT.config, problemLines(loaded.problems));
  return { policySet: loaded.policySet, declared: loaded.agents };
}
