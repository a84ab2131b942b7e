/** `npm run interop [-- --quick] [--json] [--write] [--only NAME]`: clients of the field against a gateway, the four things that happen to them. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { installClients, versionOf } from "./install.ts";
import { erasOfCalls, erasTried, judge, judgeFailure } from "./judge.ts";
import { lineOf, type Outcome, pageWith, textOf } from "./page.ts";
import { COURSES, type Course } from "./play.ts";
import { type Client, ROSTER } from "./roster.ts";
import { type Stage, setStage } from "./stage.ts";
import { callOn } from "./visits.ts";

const PAGE = join(import.meta.dirname, "../../docs/interop.md");

/** Of what a client printed before it failed. */
const OUTPUT_CHARACTERS_MAX = 2000;

const { values: options } = parseArgs({
  options: { quick: { type: "boolean" }, json: { type: "boolean" }, write: { type: "boolean" }, only: { type: "string" } },
});
const clients = ROSTER.filter(({ name }) => options.only === undefined || name === options.only);
if (clients.length === 0) throw new Error(`--only is one of ${ROSTER.map(({ name }) => name).join(", ")}`);
if (options.write && (options.quick || options.only !== undefined)) throw new Error("--write needs the whole run");

/** In a hurry: the default way to say no, towards the server that leaves the client the choice of its era. */
const courses: readonly Course[] = options.quick ? ["jsonrpc"] : ["jsonrpc", "http", "toolResult", "sessions", "view", "stranger"];

await installClients((line) => console.error(line));
const stage = await setStage([...new Set(courses.map((course) => COURSES[course].mode))]);
try {
  const outcomes: Outcome[] = [];
  for (const client of clients)
    for (const course of courses) {
      const outcome = await visited(stage, client, course);
      outcomes.push(outcome);
      if (!options.json) console.error(lineOf(outcome));
    }
  console.log(options.json ? JSON.stringify(outcomes, null, 2) : textOf(outcomes));
  if (options.write) writeFileSync(PAGE, pageWith(readFileSync(PAGE, "utf8"), outcomes));
  if (outcomes.some(({ faults }) => faults.length > 0)) process.exitCode = 1;
} finally {
  await stage.close();
}

async function visited(at: Stage, client: Client, course: Course): Promise<Outcome> {
  const visit = await at.expect(client.name, course);
  const called = await callOn(client, visit.target);
  const evidence = { ran: visit.ran(), records: await visit.records() };
  const { records } = evidence;
  const wire = { eras: erasOfCalls(records), tried: erasTried(records), attempts: called.attempts };
  const about = { client, versions: client.packages.map(versionOf), course, ...wire };
  if ("report" in called) return { ...about, report: called.report, fault: null, faults: judge(client, course, called.report, evidence) };
  const faults = judgeFailure(client, course, called.fault, evidence);
  if (faults.length > 0 && called.output !== "") faults.push(called.output.slice(-OUTPUT_CHARACTERS_MAX));
  return { ...about, report: null, fault: called.fault, faults };
}
