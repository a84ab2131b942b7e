/** `npm run conformance [-- --mode server|client] [--quick] [--json] [--control NAME]`: the official suite directly and through the gateway; no verdict may change. */
import { parseArgs } from "node:util";
import { BASELINES, MODES, type Mode, missed, REVISIONS, type Revision } from "./baseline.ts";
import { playBoth } from "./client/play.ts";
import { differences, type Run, tallyOf } from "./compare.ts";
import { startFixture } from "./fixture/server.ts";
import { isGood, type Result, textOf } from "./report.ts";
import { CONTROLS, type Control, canFail, isControl } from "./saboteur.ts";
import { installSuite, runServerSuite } from "./suite.ts";
import { startThrough } from "./through.ts";

const STRING = { type: "string" } as const;
const { values: options } = parseArgs({
  options: { quick: { type: "boolean" }, json: { type: "boolean" }, control: STRING, mode: STRING },
});
const control = options.control ?? null;
if (control !== null && !isControl(control)) throw new Error(`--control is one of ${CONTROLS.join(", ")}`);
const modes = MODES.filter((mode) => options.mode === undefined || mode === options.mode).filter((mode) => canFail(mode, control));
if (modes.length === 0) throw new Error(`--mode is one of ${MODES.join(", ")}, and --control foreign-host is of the first alone`);
// In a hurry the newest revision stands for both.
const revisions = options.quick ? REVISIONS.slice(-1) : REVISIONS;
await installSuite((line) => console.error(line));
const results: Result[] = [];
if (modes.includes("server")) await asClient(results, control);
if (modes.includes("client")) await asServer(results, control);
console.log(options.json ? JSON.stringify(results, null, 2) : textOf(results));
if (!results.every(isGood)) process.exitCode = 1;

/** The suite plays the client of one fixture. */
async function asClient(into: Result[], saboteur: Control | null): Promise<void> {
  const fixture = await startFixture();
  const through = await startThrough(fixture.url, saboteur);
  try {
    for (const revision of revisions) {
      const direct = await runServerSuite(fixture.url, revision);
      into.push(resultOf("server", revision, direct, await runServerSuite(through.url, revision)));
    }
  } finally {
    await through.close();
    await fixture.close();
  }
}

/** The suite plays a server a scenario. */
async function asServer(into: Result[], saboteur: Control | null): Promise<void> {
  for (const revision of revisions) {
    const { direct, through } = await playBoth(revision, saboteur);
    into.push(resultOf("client", revision, direct, through));
  }
}

function resultOf(mode: Mode, revision: Revision, before: Run, after: Run): Result {
  const direct = tallyOf(before);
  const lacks = missed(direct, BASELINES[mode][revision]);
  return { mode, revision, direct, through: tallyOf(after), missed: lacks, differences: differences(before, after) };
}
