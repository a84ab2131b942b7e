/** What a start reads before it does anything: the configuration and its policies, or every problem in them at once. */
import { gatewayOf } from "./call/record/epoch.ts";
import { meterFactsOf } from "./catalogue.ts";
import type { Config } from "./config.ts";
import { type Environment, loadConfig } from "./config-load.ts";
import { readKnown } from "./control/known.ts";
import type { Problem } from "./document.ts";
import { keysApart } from "./keys-folder.ts";
import type { Log } from "./observe.ts";
import { appearanceOf, loadPolicies, type Policies } from "./policy-load.ts";

/** The start is refused: with problems the configuration is at fault (exit 78), without them the machine (exit 69). */
export class StartRefused extends Error {
  readonly problems: readonly Problem[] | null;
  constructor(message: string, problems: readonly Problem[] | null) {
    super(message);
    this.problems = problems;
  }
}

/** Events are numbered without a gap under one id: what a data folder began, it goes on with. */
export function refuseOtherId({ file, data, gatewayId }: Config, source: string): void {
  if (gatewayId === null || gatewayId === source || gatewayId === gatewayOf(source)) return;
  const remedy = `write gatewayId: ${source}, or give ${gatewayId} a data folder of its own`;
  throw new StartRefused(`${file}: gatewayId: the books in ${data} are those of the gateway ${source}: ${remedy}`, []);
}

/** `seen`: what the policy files looked like before they were read. */
export type Loaded = { readonly config: Config; readonly policies: Policies; readonly seen: string };

export async function load(configFile: string, env: Environment, log: Log): Promise<Loaded> {
  const loaded = loadConfig(configFile, env);
  const problems = "problems" in loaded ? [...loaded.problems] : [];
  const seen = "config" in loaded ? appearanceOf(loaded.config.policies) : "";
  const policies = "config" in loaded ? await loadKnowing(loaded.config, log) : null;
  if (policies !== null && "problems" in policies) problems.push(...policies.problems);
  if ("problems" in loaded || policies === null || "problems" in policies) {
    throw new StartRefused(problems.map((each) => `${each.file}:${each.line}:${each.column}: ${each.message}`).join("\n"), problems);
  }
  if (loaded.config.mode === "observe")
    log.warn({ mode: "observe" }, "policies are observed: they are judged and recorded, and refuse nothing");
  const apart = keysApart(loaded.config);
  warnOf(apart === null ? policies : { ...policies, warnings: [apart, ...policies.warnings] }, log);
  return { config: loaded.config, policies, seen };
}

async function loadKnowing(config: Config, log: Log): Promise<ReturnType<typeof loadPolicies>> {
  const { known, unasked } = await readKnown({ dataDir: config.data, postgres: config.shared.postgres?.reveal() ?? null });
  if (unasked !== null) log.warn(unasked);
  return loadPolicies(config.policies, config.servers, config.mode, { known, inspectors: config.inspectors, meters: meterFactsOf(config) });
}

/** A server that changes its schema must not stop a start: what is wrong at `check` only is a warning here. */
export function warnOf({ warnings, mismatches }: Pick<Policies, "warnings" | "mismatches">, log: Log): void {
  for (const { file, line, message } of [...mismatches, ...warnings]) log.warn({ file, line }, message);
}
