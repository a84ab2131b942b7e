/** `sync status|flush|settle|reconcile|enable`: what leaves the gateway towards each sink and webhook. */
import type { Command } from "commander";
import { instantOf } from "../call/authorize/written.ts";
import { DIFFERENCES, type ReconcileReport } from "../call/sync/reconcile.ts";
import type { Config } from "../config.ts";
import { type SinkJson, sinkJson, type WebhookJson, webhookJson } from "../control/admin/sync-json.ts";
import type { Flushed } from "../control/admin/sync-routes.ts";
import { webhookSink } from "../webhooks.ts";
import { adminClient, allPages } from "./admin-client.ts";
import { askOrRead } from "./books.ts";
import { branch, type CommonOptions, configOf, leaf, print } from "./command.ts";
import { inFolder } from "./folder-books.ts";
import { EXIT, Exit, type Io } from "./io.ts";
import { registerLedger } from "./ledger.ts";
import { type Cell, table } from "./table.ts";

type StatusJson = { readonly sinks: readonly SinkJson[]; readonly webhooks: readonly WebhookJson[] };
type AsideRow = Readonly<Record<"sink" | "stream" | "id" | "state" | "reason" | "at", string> & { sequence: number; tries: number }>;
type StateOptions = { readonly refused?: true; readonly unknown?: true; readonly expired?: true; readonly reason?: string };
type SinkOption = CommonOptions & { readonly sink?: string };

/** A flush waits for the slowest answer of a sink, a comparison for all hours on both sides. */
const FLUSH_TIMEOUT_MS = 300_000;
const RECONCILE_TIMEOUT_MS = 1_800_000;

export function registerSync(program: Command, io: Io): void {
  const sync = branch(program, "sync", "what leaves the gateway: usage events, records, checkpoints, webhooks");
  leaf(sync, "status", "how far each sink and webhook is, and what was set aside", "tollgate sync status --asides")
    .option("--asides", "list what was set aside, and why")
    .action((options: CommonOptions & { asides?: true }) => status(options, io));
  const states = (command: Command) =>
    command
      .option("--refused", "those that the sink refused for good")
      .option("--unknown", "those that the sink may have or not")
      .option("--expired", "those that were too old");
  states(
    leaf(
      sync,
      "flush",
      "send what waits now, and wait for it; exit 1 if a sink does not take all of it",
      "tollgate sync flush --sink meter",
    ),
  )
    .option("--sink <name>", "one sink or webhook (default: all)")
    .option("--reason <text>", "of what was set aside: why it is sent again, for the record")
    .action((options: SinkOption & StateOptions) => flush(options, io));
  states(
    leaf(
      sync,
      "settle",
      "let go of what was set aside: the sink has it after all, or does without",
      'tollgate sync settle --sink meter --unknown --reason "found in the meter\'s own list"',
    ),
  )
    .requiredOption("--sink <name>", "the sink or webhook")
    .requiredOption("--reason <text>", "why, for the record")
    .action((options: SinkOption & StateOptions) => settle(options, io));
  leaf(
    sync,
    "reconcile",
    "compare what was used with what was acknowledged and what the ledger holds; exit 1 if they differ",
    "tollgate sync reconcile --since 2026-11-01",
  )
    .option("--sink <name>", "one sink (default: all)")
    .option("--since <time>", "RFC 3339 time or date, UTC, inclusive (default: seven days ago)")
    .option("--until <time>", "RFC 3339 time or date, UTC, exclusive (default: what should have arrived by now)")
    .option("--deep", "every event, also in hours whose sums agree")
    .action((options: SinkOption & { since?: string; until?: string; deep?: true }) => reconcile(options, io));
  leaf(sync, "enable <webhook>", "enable a webhook that was disabled", "tollgate sync enable ops").action(
    async (webhook: string, options: CommonOptions) => {
      const answer = await adminClient(configOf(options, io), io).post<{ enabled: boolean }>("/sync/enable", { webhook });
      print(io, options, answer, () => (answer.enabled ? `${webhook} is enabled` : `${webhook} was not disabled`));
    },
  );
  registerLedger(sync, io);
}

async function status(options: CommonOptions & { asides?: true }, io: Io): Promise<void> {
  const config = configOf(options, io);
  const admin = adminClient(config, io);
  const found = await askOrRead<StatusJson>(
    config,
    io,
    () => admin.get("/sync"),
    () => inBooks(config),
  );
  const asides = options.asides === true ? await allPages<AsideRow>(admin, "/sync/asides", []) : null;
  print(io, options, asides === null ? found : { ...found, asides }, () => {
    if (found.sinks.length + found.webhooks.length === 0) return "no sink and no webhook is configured";
    const parts = [sinkTable(found.sinks), ...(found.webhooks.length === 0 ? [] : [webhookTable(found.webhooks)])];
    const errors = [...found.sinks, ...found.webhooks].flatMap(({ name, last_error, failures }) =>
      failures === 0 || last_error === null ? [] : [`${name}: ${last_error}`],
    );
    return [...parts, ...errors, ...(asides === null ? [] : [asideTable(asides)])].join("\n\n");
  });
}

/** Without a gateway nothing is known of its last tries. */
function inBooks(config: Config): StatusJson {
  const nowMs = Date.now();
  const idle = { failures: 0, lastSuccessMs: null, lastError: null, lastErrorMs: null };
  return inFolder(config, (books) => ({
    sinks: config.sync.map(({ name, type, send }) => sinkJson({ name, ...books.sinkState(name, send), ...idle }, type, nowMs)),
    webhooks: config.webhooks.map(({ name }) => {
      const { retry: waiting, expired } = books.sinkState(webhookSink(name), []).aside;
      return webhookJson({ name, ...books.webhookState(name), waiting, expired, ...idle });
    }),
  }));
}

function sinkTable(sinks: readonly SinkJson[]): string {
  const rows = sinks.flatMap((sink) =>
    sink.streams.map(({ stream, sequence, pending, lag_seconds }, index): Cell[] => {
      const once = index === 0 ? [sink.retrying, sink.refused, sink.unknown, sink.expired, sink.failures, sink.last_success_at] : [];
      return [index === 0 ? sink.name : "", stream, sequence, pending, lag_seconds, ...once];
    }),
  );
  return table(
    ["SINK", "STREAM", "POSITION", "PENDING", "LAG S", "RETRYING", "REFUSED", "UNKNOWN", "EXPIRED", "FAILURES", "LAST SUCCESS"],
    rows,
  );
}

function webhookTable(webhooks: readonly WebhookJson[]): string {
  const rows = webhooks.map(({ name, waiting, expired, disabled_at, reason, failures, last_success_at }): Cell[] => [
    ...[name, disabled_at === null ? "enabled" : `disabled ${disabled_at}`, waiting, expired, failures, last_success_at, reason],
  ]);
  return table(["WEBHOOK", "STATE", "WAITING", "EXPIRED", "FAILURES", "LAST SUCCESS", "WHY"], rows);
}

function asideTable(asides: readonly AsideRow[]): string {
  if (asides.length === 0) return "nothing is set aside";
  const columns = ["sink", "stream", "sequence", "id", "state", "tries", "at", "reason"] as const;
  return table(
    columns.map((name) => name.toUpperCase()),
    asides.map((row) => columns.map((name) => row[name])),
  );
}

function statesOf(options: StateOptions): string[] {
  return (["refused", "unknown", "expired"] as const).filter((state) => options[state] === true);
}

async function flush(options: SinkOption & StateOptions, io: Io): Promise<void> {
  const { sink, reason } = options;
  const resend = statesOf(options);
  if (resend.length > 0 && (sink === undefined || reason === undefined))
    throw new Exit(EXIT.usage, "what was set aside is sent again to one sink, for a reason: add --sink NAME --reason TEXT");
  const body = { ...(sink === undefined ? {} : { sink }), ...(resend.length === 0 ? {} : { resend, reason }) };
  const answer = await adminClient(configOf(options, io), io).post<{ items: FlushedRow[]; resent: number }>(
    "/sync/flush",
    body,
    FLUSH_TIMEOUT_MS,
  );
  print(io, options, answer, () => answer.items.map(flushedText).join("\n"));
  if (answer.items.some(({ error, retrying }) => error !== null || retrying > 0))
    throw new Exit(EXIT.no, "not everything has arrived; what waits is sent later");
  if (answer.items.some(({ newly_set_aside }) => newly_set_aside > 0))
    throw new Exit(EXIT.no, "not everything was taken: tollgate sync status --asides says what was set aside, and why");
}

type FlushedRow = Flushed & { readonly name: string };

function flushedText({ name, error, set_aside, newly_set_aside, retrying }: FlushedRow): string {
  const now = newly_set_aside === 0 ? "" : `, ${newly_set_aside} of them now`;
  const but = [
    ...(set_aside === 0 ? [] : [`${set_aside} set aside${now} (tollgate sync status --asides)`]),
    ...(retrying === 0 ? [] : [`${retrying} to be tried again`]),
  ].join(" and ");
  if (error !== null) return `${name}: ${error}${but === "" ? "" : `; ${but}`}`;
  return `${name}: ${but === "" ? "has it all" : `has all but ${but}`}`;
}

async function settle(options: SinkOption & StateOptions, io: Io): Promise<void> {
  const states = statesOf(options);
  if (states.length === 0) throw new Exit(EXIT.usage, "say which: --refused, --unknown, --expired");
  const { sink, reason } = options;
  const answer = await adminClient(configOf(options, io), io).post<{ settled: number }>("/sync/settle", { sink, states, reason });
  print(io, options, answer, () => `${answer.settled} settled`);
}

async function reconcile(options: SinkOption & { since?: string; until?: string; deep?: true }, io: Io): Promise<void> {
  for (const written of [options.since, options.until])
    if (written !== undefined && instantOf(written) === null)
      throw new Exit(EXIT.usage, `${written} is not a time: 2026-11-01 or 2026-11-01T12:00:00Z`);
  const { sink, since, until, deep = false } = options;
  const body = { ...(sink && { sink }), ...(since && { since }), ...(until && { until }), deep };
  const { items } = await adminClient(configOf(options, io), io).post<{ items: ReconcileReport[] }>(
    "/sync/reconcile",
    body,
    RECONCILE_TIMEOUT_MS,
  );
  print(io, options, { items }, () => items.map(reportText).join("\n\n") || "no sink is configured");
  const differing = items.filter(({ counts }) => DIFFERENCES.some((name) => counts[name] > 0));
  if (differing.length > 0) throw new Exit(EXIT.no, `${differing.map((report) => report.sink).join(", ")}: not what the journal says`);
}

function reportText({ sink, since, until, comparable, hours, counts, differences }: ReconcileReport): string {
  const head = `${sink}, ${since} to ${until}${comparable ? "" : " (not comparable: this sink cannot be asked what it holds)"}`;
  const rows = hours.map(({ hour, local, acknowledged, central }): Cell[] => [
    ...[hour, local.events, acknowledged.events, central?.events ?? null, local.calls, central?.calls ?? null],
    ...[local.tool_tokens, central?.tool_tokens ?? null],
  ]);
  const sums = table(["HOUR", "EVENTS", "ACKNOWLEDGED", "CENTRAL", "CALLS", "CENTRAL", "TOKENS", "CENTRAL"], rows);
  const found = DIFFERENCES.map((name) => `${name} ${counts[name]}`).join(", ");
  const list = differences.map((each): Cell[] => [each.class, each.sequence, each.id, each.time, each.detail]);
  return [head, sums, found, ...(list.length === 0 ? [] : [table(["CLASS", "SEQ", "ID", "TIME", "WHAT"], list)])].join("\n");
}
