/** The suite as a server: every scenario for a client without authorization, by the client directly and by the client behind a gateway. */
import { join } from "node:path";
import type { Revision } from "../baseline.ts";
import type { Run, Scenario } from "../compare.ts";
import type { Control } from "../saboteur.ts";
import { requirementsOf, runClientScenario } from "../suite.ts";

/** Of the skills extension, which the lists of the revisions do not name. */
const EXTENSION = ["no-prefetch", "verify-digest", "verify-size", "verify-frontmatter"].map((name) => `sep-2640-client-${name}`);

/** One waits while another works: a gateway takes two seconds to be ready. */
const PLAYED_AT_ONCE = 2;

export async function playBoth(revision: Revision, control: Control | null): Promise<{ direct: Run; through: Run }> {
  const { client, not_scored } = requirementsOf(revision);
  const required = client.filter(isOpen);
  const unscored = not_scored.filter(({ scenario, leg }) => leg === "client" && isOpen(scenario)).map(({ scenario }) => scenario);
  const names = [...required, ...unscored, ...(revision === "2026-07-28" ? EXTENSION : [])];
  const saboteur = control === null ? "" : ` --control ${control}`;
  const played = { direct: await play(names, revision, "direct"), through: await play(names, revision, "through", saboteur) };
  return { direct: { required, scenarios: played.direct }, through: { required, scenarios: played.through } };
}

/** The rest asks how a client obtains a token from the scenario's server, where a gateway stands on the server's side. */
function isOpen(scenario: string): boolean {
  return !scenario.startsWith("auth/");
}

async function play(names: readonly string[], revision: Revision, program: string, options = ""): Promise<Scenario[]> {
  // The suite hands the command to a shell, with the URL behind it.
  const command = `"${process.execPath}" "${join(import.meta.dirname, `${program}.ts`)}"${options}`;
  const left = [...names];
  const played: Scenario[] = [];
  const one = async () => {
    for (let name = left.shift(); name !== undefined; name = left.shift())
      for (const scenario of await runClientScenario(command, name, revision)) played.push(withoutLog(scenario));
  };
  await Promise.all(Array.from({ length: PLAYED_AT_ONCE }, one));
  return played;
}

/** INFO is the scenario's log of what came in: there the gateway's own reading of the tools has lines of its own, and it is no verdict. */
function withoutLog({ name, checks }: Scenario): Scenario {
  return { name, checks: checks.filter(({ status }) => status !== "INFO") };
}
