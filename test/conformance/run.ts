/** `npm run conformance [-- --quick] [--json] [--control NAME]`: the official suite directly and through the gateway; no verdict may change. */
import { parseArgs } from "node:util";
import { BASELINES, missed, REVISIONS } from "./baseline.ts";
import { differences, tallyOf } from "./compare.ts";
import { startFixture } from "./fixture/server.ts";
import { isGood, type Result, textOf } from "./report.ts";
import { CONTROLS, isControl } from "./saboteur.ts";
import { installSuite, runSuite } from "./suite.ts";
import { startThrough } from "./through.ts";

// The whole takes some twenty seconds: what other measurements leave out in a hurry is not left out here.
const { values: options } = parseArgs({ options: { quick: { type: "boolean" }, json: { type: "boolean" }, control: { type: "string" } } });
const control = options.control ?? null;
if (control !== null && !isControl(control)) throw new Error(`--control is one of ${CONTROLS.join(", ")}`);
await installSuite((line) => console.error(line));
const fixture = await startFixture();
const through = await startThrough(fixture.url, control);
try {
  const results: Result[] = [];
  for (const revision of REVISIONS) {
    const before = await runSuite(fixture.url, revision);
    const after = await runSuite(through.url, revision);
    const direct = tallyOf(before);
    const lacks = missed(direct, BASELINES[revision]);
    results.push({ revision, direct, through: tallyOf(after), missed: lacks, differences: differences(before, after) });
  }
  console.log(options.json ? JSON.stringify(results, null, 2) : textOf(results));
  if (!results.every(isGood)) process.exitCode = 1;
} finally {
  await through.close();
  await fixture.close();
}
