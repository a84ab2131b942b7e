/** `npm run interop [-- --quick] [--json] [--write] [--only NAME]`: clients of the field against a gateway, the four things that happen to them. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { installClients, versionOf } from "./install.ts";
import { judge } from "./judge.ts";
import { detailOf, type Outcome, pageOf, textOf } from "./page.ts";
import { type Client, type Mode, ROSTER } from "./roster.ts";
import { type ServerName, type Stage, setStage } from "./stage.ts";
import { callOn } from "./visits.ts";

const PAGE = join(import.meta.dirname, "../../docs/interop.md");

const { values: options } = parseArgs({
  options: { quick: { type: "boolean" }, json: { type: "boolean" }, write: { type: "boolean" }, only: { type: "string" } },
});
const clients = ROSTER.filter(({ name }) => options.only === undefined || name === options.only);
if (clients.length === 0) throw new Error(`--only is one of ${ROSTER.map(({ name }) => name).join(", ")}`);
if (options.write && (options.quick || options.only !== undefined)) throw new Error("--write needs the whole run");

/** In a hurry: the default way to say no, towards the server that leaves the client the choice of its era. */
const ALL: readonly (readonly [Mode, ServerName])[] = [
  ["jsonrpc", "both"],
  ["http", "both"],
  ["toolResult", "both"],
  ["jsonrpc", "sessions"],
];
const runs = options.quick ? ALL.slice(0, 1) : ALL;

await installClients((line) => console.error(line));
const stage = await setStage([...new Set(runs.map(([mode]) => mode))]);
try {
  const outcomes: Outcome[] = [];
  for (const client of clients)
    for (const [mode, server] of runs) {
      const outcome = await visited(stage, client, mode, server);
      outcomes.push(outcome);
      if (!options.json) console.error(detailOf(outcome));
    }
  console.log(options.json ? JSON.stringify(outcomes, null, 2) : textOf(outcomes));
  if (options.write) writeFileSync(PAGE, pageOf(outcomes));
  if (outcomes.some(({ faults }) => faults.length > 0)) process.exitCode = 1;
} finally {
  await stage.close();
}

async function visited(at: Stage, client: Client, mode: Mode, server: ServerName): Promise<Outcome> {
  const visit = await at.expect(client.name, mode, server);
  const called = await callOn(client, visit.target);
  const records = await visit.records();
  const report = "report" in called ? called.report : null;
  const about = { client, versions: client.packages.map(versionOf), mode, server, report, attempts: called.attempts };
  const eras = [
    ...new Set(records.flatMap(({ request }) => (request?.method === "tools/call" ? [`${request.era} ${request.revision}`] : []))),
  ];
  if ("fault" in called) {
    // Without a common era there is nothing to say; that too must stay as it is known.
    const known = client.era[server] === null && eras.length === 0;
    return { ...about, eras, fault: called.fault, faults: known ? [] : [called.fault, called.output.slice(-2000)] };
  }
  const expected =
    client.era[server] === null
      ? ["speaks where no common era is"]
      : judge(client, mode, server, called.report, { ran: visit.ran(), records });
  return { ...about, eras, fault: null, faults: expected };
}
