/** The client that the suite starts with a gateway of its own before the scenario's server. `--control NAME` sets a saboteur between the two. */
import { isControl } from "../saboteur.ts";
import { startGoverned } from "../through.ts";
import { visit } from "./scenarios.ts";
import { sceneOf } from "./scene.ts";

/** Less than the suite waits: what it kills is a shell, and a gateway would be left behind. */
const VISIT_TIMEOUT_MS = 20_000;

const { scenario, url, scene } = sceneOf(process);
const asked = process.argv.indexOf("--control");
const control = asked === -1 ? null : (process.argv[asked + 1] ?? "");
if (control !== null && !isControl(control)) throw new Error(`unknown control ${control}`);
const governed = await startGoverned(url, control);
const late = AbortSignal.timeout(VISIT_TIMEOUT_MS);
const givenUp = new Promise<never>((_, reject) => late.addEventListener("abort", () => reject(late.reason)));
try {
  await Promise.race([visit(scenario, governed, scene), givenUp]);
} catch (fault) {
  console.error(fault);
  process.exitCode = 1;
} finally {
  await governed.close();
}
// What a client that was given up still waits for would keep the process alive.
process.exit();
