/** A gateway's journal and its sinks in a process of its own, to be killed at any moment: settles calls until there are enough, and says how far all is. */

import { createOutbound } from "../../src/call/forward/outbound.ts";
import { blankRecord } from "../../src/call/record/compose.ts";
import { openJournal } from "../../src/call/record/journal-client.ts";
import { openReaderThread } from "../../src/call/record/reader.ts";
import { Secret } from "../../src/secret.ts";
import { startSinks } from "../../src/sinks.ts";
import { newCallId, permitEntry, settlementEntry } from "../record/entries.ts";

export type GatewayTask = {
  readonly dir: string;
  readonly gateway: string;
  readonly collector: string;
  readonly ledger: string;
  readonly count: number;
  /** The control: what is sent counts at once, whatever becomes of it. */
  readonly early: boolean;
};
/** A line of its output. */
export type GatewayReport = { readonly events: number; readonly pending: number; readonly aside: number };

/** How far calls may run ahead of the slower sink: so that kills find both at work. */
const AHEAD_MAX = 3_000;
const GROUP = 100;
const REPORT_MS = 100;

const task = JSON.parse(process.argv[2] ?? "{}") as GatewayTask;
const journal = await openJournal({
  dataDir: task.dir,
  newSource: task.gateway,
  nowMs: Date.now(),
  outageRecord: blankRecord("gateway.recovered"),
  onState: (state) => process.stderr.write(`journal ${state}\n`),
});
const reader = openReaderThread(task.dir);
const outbound = createOutbound();
const send = (url: string, init: RequestInit) => outbound.fetch(url, init);
const careless = async (url: string, init: RequestInit) => {
  void send(url, init).catch(() => {});
  return new Response(null, { status: 204 });
};
const common = { isNamed: true, everyMs: 20, maxPerSecond: 1_000_000, maxAgeMs: null, backlogMax: null };
await startSinks(
  [
    {
      ...common,
      ...{ type: "cloudevents", name: "collector", url: task.collector, bearer: null, batch: 100, send: ["usage"] },
      ...{ timeoutMs: 500, dedupeWindowMs: 86_400_000, errors: null },
    },
    { ...common, type: "postgres", name: "ledger", url: new Secret(task.ledger), batch: 250, send: ["usage", "records"], timeoutMs: 5_000 },
  ],
  {
    ...{ journal, reader, now: Date.now, log: { warn: () => {} } },
    // Pauses of a fiftieth: the faults of a day in minutes.
    random: () => 0.02,
    fetch: task.early ? careless : send,
  },
);

for (;;) {
  const states = await Promise.all(["collector", "ledger"].map((name) => reader.ask("sinkState", name)));
  const [collector, ledger] = states.map(({ streams }) => streams);
  const usage = collector?.find(({ stream }) => stream === "usage");
  const events = usage?.newest ?? 0;
  const pending = Math.max(
    usage?.pending ?? 0,
    ...(ledger ?? []).filter(({ stream }) => stream !== "checkpoints").map((each) => each.pending),
  );
  const aside = states.reduce((sum, state) => sum + Object.values(state.aside).reduce((all, each) => all + each, 0), 0);
  process.stdout.write(`${JSON.stringify({ events, pending, aside } satisfies GatewayReport)}\n`);
  if (events < task.count && pending < AHEAD_MAX) await settleSome(Math.min(GROUP, task.count - events));
  else await new Promise((resolve) => setTimeout(resolve, REPORT_MS));
}

async function settleSome(count: number): Promise<void> {
  const calls = Array.from({ length: count }, newCallId);
  await Promise.all(calls.map((callId) => journal.permit(permitEntry(callId))));
  await Promise.all(calls.map((callId) => journal.settle(settlementEntry(callId))));
}
