/** `npm run conformance [-- --quick] [--json]`: the official suite against a fixture server, at both wire revisions. */
import { parseArgs } from "node:util";
import { BASELINES, missed, REVISIONS, type Revision } from "./baseline.ts";
import { type Tally, tallyOf } from "./compare.ts";
import { startFixture } from "./fixture/server.ts";
import { installSuite, runSuite } from "./suite.ts";

type Result = { readonly revision: Revision; readonly direct: Tally; readonly missed: readonly string[] };

const { values: options } = parseArgs({ options: { quick: { type: "boolean" }, json: { type: "boolean" } } });
await installSuite((line) => console.error(line));
const fixture = await startFixture();
try {
  const results: Result[] = [];
  for (const revision of REVISIONS) {
    const direct = tallyOf(await runSuite(fixture.url, revision));
    results.push({ revision, direct, missed: missed(direct, BASELINES[revision]) });
  }
  console.log(options.json ? JSON.stringify(results, null, 2) : results.map(textOf).join("\n"));
  if (results.some((result) => result.missed.length > 0)) process.exitCode = 1;
} finally {
  await fixture.close();
}

function textOf({ revision, direct, missed }: Result): string {
  const { requiredPassed, required, passed, failed } = direct;
  return [`${revision}: ${requiredPassed}/${required} required scenarios, ${passed} checks passed, ${failed} failed`, ...missed].join(
    "\n  ",
  );
}
