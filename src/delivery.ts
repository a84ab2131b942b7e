/** All that leaves the gateway by itself: its sinks and webhooks, what is told of them, and calls that wait for a sink where that is wanted. */
import { type Journal, StoreUnavailable } from "./call/record/journal.ts";
import type { OpenJournal } from "./call/record/journal-client.ts";
import type { Reader } from "./call/record/reader.ts";
import type { ListedAside } from "./call/record/sink-state.ts";
import { openCentralReader } from "./call/sync/central-read.ts";
import { DIFFERENCES, type ReconcileReport, reconcile } from "./call/sync/reconcile.ts";
import type { Config, Sink } from "./config.ts";
import type { Route } from "./control/admin/route.ts";
import { lagSeconds } from "./control/admin/sync-json.ts";
import { type Deliveries, syncRoutes } from "./control/admin/sync-routes.ts";
import type { Log, Metrics } from "./observe.ts";
import { startSinks } from "./sinks.ts";
import { startWebhooks, webhookSink } from "./webhooks.ts";

type ActDetails = Readonly<Record<string, string | number | boolean | null>>;
export type DeliveryParts = {
  readonly config: Config;
  readonly journal: OpenJournal;
  readonly reader: Reader;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>;
  readonly now: () => number;
  readonly act: (
    kind: "sync.decided" | "sync.reconciled" | "webhook.disabled" | "webhook.enabled",
    by: string,
    details: ActDetails,
  ) => Promise<void>;
};

export type Delivery = {
  /** The journal of calls: where `backlogMax` is set, it takes no more permits while too much waits for that sink. */
  readonly journal: Journal;
  readonly routes: readonly Route[];
  stop(): Promise<void>;
};

/** How soon a call hears that an outbox is too long, or no longer so. */
const BACKLOG_LOOK_MS = 1_000;
/** What has just been used may still be on its way: no difference is made of it. */
const SETTLING_MS = 60_000;
/** What a comparison looks at where nobody says. */
const RECONCILE_SPAN_MS = 7 * 86_400_000;

export async function startDelivery(parts: DeliveryParts): Promise<Delivery> {
  const { config, journal, reader, now, act, log } = parts;
  const common = { ...parts, random: Math.random };
  const sinks = await startSinks(config.sync, common);
  const webhooks = await startWebhooks(config.webhooks, common);
  const running = (name: string) => [...sinks, ...webhooks].find((each) => each.name === name);
  const deliveries: Deliveries = {
    sinks: config.sync,
    webhooks: config.webhooks.map(({ name }) => name),
    sinkStatus: (name) => found(sinks, name).status(),
    webhookStatus: (name) => found(webhooks, name).status(),
    async flush(name) {
      const before = await asideCount(deliveries, name);
      const error = await running(name)
        ?.flush()
        .then(
          () => null,
          (fault: Error) => fault.message,
        );
      const after = await asideCount(deliveries, name);
      return { error: error ?? null, ...after, newly_set_aside: Math.max(0, after.set_aside - before.set_aside) };
    },
    asides: (sink, state, after, limit) => reader.ask("sinkAsides", { sink, state, after, limit }),
    async decide(sink, states, send, by, reason) {
      // The record first: what may be billed twice after it has somebody who answers for it.
      await act("sync.decided", by, { sink, states: states.join(","), decision: send ? "resend" : "settle", reason });
      const key = webhooks.some(({ name }) => name === sink) ? webhookSink(sink) : sink;
      let decided = 0;
      for (let some = -1; some !== 0; decided += some) some = await journal.run("decideAsides", key, states, send);
      return decided;
    },
    reconcile: (name, sinceMs, untilMs, deep, by) => compare(parts, found(config.sync, name), sinceMs, untilMs, deep, by),
    async enable(webhook, by) {
      if ((await reader.ask("webhookState", webhook)).disabledAtMs === null) return false;
      await act("webhook.enabled", by, { webhook });
      await journal.run("keepWebhookState", webhook, { failingSinceMs: null, disabledAtMs: null, reason: null });
      return true;
    },
  };
  show(parts, deliveries);
  const backlog = watchBacklog(parts);
  return {
    journal: bounded(journal, backlog.isFull),
    routes: syncRoutes(deliveries, now),
    async stop() {
      backlog.stop();
      await Promise.all(
        [...sinks, ...webhooks].map((each) => each.stop().catch((fault: Error) => log.warn({ why: fault.message }, "a sink did not stop"))),
      );
    },
  };
}

function found<T extends { readonly name: string }>(all: readonly T[], name: string): T {
  const one = all.find((each) => each.name === name);
  if (one === undefined) throw new Error(`there is no ${name}`);
  return one;
}

/** A sink that has refused something has all the rest, and a flush must not say that it has it all. */
async function asideCount(deliveries: Deliveries, name: string): Promise<{ readonly set_aside: number; readonly retrying: number }> {
  if (deliveries.webhooks.includes(name)) {
    const { expired, waiting } = await deliveries.webhookStatus(name);
    return { set_aside: expired, retrying: waiting };
  }
  const { refused, unknown, expired, retry } = (await deliveries.sinkStatus(name)).aside;
  return { set_aside: refused + unknown + expired, retrying: retry };
}

async function compare(
  { journal, reader, now, act }: DeliveryParts,
  sink: Sink,
  sinceMs: number | null,
  untilMs: number | null,
  deep: boolean,
  by: string,
): Promise<ReconcileReport> {
  const settled = now() - Math.max(SETTLING_MS, 2 * sink.everyMs);
  const until = untilMs ?? settled;
  const central = sink.type === "postgres" ? await openCentralReader(sink.url.reveal(), sink.timeoutMs) : null;
  try {
    const state = await reader.ask("sinkState", sink.name, ["usage"]);
    const report = await reconcile({
      ...{ sink: sink.name, gateway: journal.source, sinceMs: sinceMs ?? until - RECONCILE_SPAN_MS, untilMs: until, deep, central },
      hours: (from, to) => reader.ask("usageHours", sink.name, from, to),
      within: (from, to, after, limit) => reader.ask("usageWithin", from, to, after, limit),
      at: (sequences) => reader.ask("outboxAt", "usage", sequences),
      spans: () => reader.ask("eventSpans"),
      purged: (records) => reader.ask("purgedAmong", records),
      asides: async () => allAsides(reader, sink.name),
      position: state.streams[0]?.sequence ?? 0,
    });
    const { gateway: _, hours, counts, differences: __, ...span } = report;
    const events = hours.reduce((sum, { local }) => sum + local.events, 0);
    await act("sync.reconciled", by, {
      ...span,
      deep,
      hours: hours.length,
      events,
      ...Object.fromEntries(DIFFERENCES.map((name) => [name, counts[name]])),
    });
    return report;
  } finally {
    await central?.close();
  }
}

async function allAsides(reader: Reader, sink: string): Promise<ListedAside[]> {
  const all: ListedAside[] = [];
  for (let after: [string, string, number] | null = null; ; ) {
    const page: ListedAside[] = await reader.ask("sinkAsides", { sink, state: null, after, limit: 1_000 });
    all.push(...page.filter(({ stream }) => stream === "usage"));
    const last = page.at(-1);
    if (last === undefined || page.length < 1_000) return all;
    after = [last.sink, last.stream, last.sequence];
  }
}

/** Names that an operator chose may be seen there; those made of a URL may not. */
function show({ config, metrics, now }: DeliveryParts, deliveries: Deliveries): void {
  const label = (each: { name: string; isNamed: boolean }, index: number) => (each.isNamed ? each.name : String(index));
  const perSink = (name: string, help: string, read: (status: Awaited<ReturnType<Deliveries["sinkStatus"]>>) => number) =>
    metrics.gauges(name, help, "sink", () =>
      Promise.all(config.sync.map(async (sink, index) => [label(sink, index), read(await deliveries.sinkStatus(sink.name))] as const)),
    );
  const perWebhook = (name: string, help: string, read: (status: Awaited<ReturnType<Deliveries["webhookStatus"]>>) => number) =>
    metrics.gauges(name, help, "webhook", () =>
      Promise.all(
        config.webhooks.map(async (hook, index) => [label(hook, index), read(await deliveries.webhookStatus(hook.name))] as const),
      ),
    );
  if (config.sync.length > 0) {
    perSink("tollgate_sync_pending", "What a sink has not acknowledged: events, records and checkpoints.", ({ streams }) =>
      streams.reduce((sum, { pending }) => sum + pending, 0),
    );
    perSink("tollgate_sync_lag_seconds", "Age of the oldest that a sink has not acknowledged.", ({ streams }) =>
      Math.max(0, ...streams.map(({ oldestMs }) => lagSeconds(oldestMs, now()))),
    );
    perSink("tollgate_sync_failures", "Rounds in a row that failed.", ({ failures }) => failures);
    perSink("tollgate_sync_refused", "What a sink has refused for good.", ({ aside }) => aside.refused);
    perSink("tollgate_sync_unknown", "What a sink may have or not: to be reconciled by a person.", ({ aside }) => aside.unknown);
    perSink("tollgate_sync_expired", "What was too old for a sink.", ({ aside }) => aside.expired);
  }
  if (config.webhooks.length > 0) {
    perWebhook("tollgate_webhook_waiting", "Messages that a receiver has not taken yet.", ({ waiting }) => waiting);
    perWebhook("tollgate_webhook_disabled", "1 while nothing is sent to a receiver.", ({ disabledAtMs }) =>
      disabledAtMs === null ? 0 : 1,
    );
  }
}

function watchBacklog({ config, reader, log }: DeliveryParts) {
  let full = false;
  const bounds = config.sync.filter((sink): sink is Sink & { readonly backlogMax: number } => sink.backlogMax !== null);
  const look = async () => {
    const over = [];
    for (const { name, backlogMax } of bounds) {
      const state = await reader.ask("sinkState", name, ["usage"]);
      if ((state.streams[0]?.pending ?? 0) > backlogMax) over.push(name);
    }
    if (over.length > 0 !== full)
      log[over.length > 0 ? "error" : "info"](
        { sinks: over },
        over.length > 0 ? "calls are refused: too much waits for a sink" : "calls go on",
      );
    full = over.length > 0;
  };
  const timer = bounds.length === 0 ? null : setInterval(() => void look().catch(() => {}), BACKLOG_LOOK_MS).unref();
  return { isFull: () => full, stop: () => timer !== null && clearInterval(timer) };
}

function bounded(journal: OpenJournal, isFull: () => boolean): Journal {
  return {
    get available() {
      return journal.available;
    },
    permit: (entry) => (isFull() ? Promise.reject(new StoreUnavailable("too much waits for a sink")) : journal.permit(entry)),
    settle: (entry) => journal.settle(entry),
    append: (record) => journal.append(record),
    notice: (notice) => journal.notice(notice),
  };
}
