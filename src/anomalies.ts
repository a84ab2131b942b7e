/** Tells of what agents do that they did not use to do: reads behind the calls, from the books, and never stands in their way. */
import type { ActivityPage, ActivityRow } from "./call/record/activity.ts";
import type { AuditRecord } from "./call/record/audit-record.ts";
import { auditOfAct } from "./call/record/compose.ts";
import { StoreUnavailable } from "./call/record/journal.ts";
import type { OpenJournal } from "./call/record/journal-client.ts";
import type { Reader } from "./call/record/reader.ts";
import type { Config } from "./config.ts";
import { createHabits, type Signal } from "./control/agents/habits.ts";
import type { Metrics } from "./observe.ts";

export type AnomalyParts = {
  readonly config: Pick<Config, "anomalies" | "configVersion">;
  readonly journal: Pick<OpenJournal, "run">;
  readonly reader: Pick<Reader, "ask">;
  readonly metrics: Pick<Metrics, "anomaly">;
  readonly now: () => number;
  readonly fault: (thrown: unknown) => void;
};

/** A person hears of it within seconds; the question costs some 20 us where nothing was called. */
const EVERY_MS = 5_000;
/** Usage events in one answer, while it learns: some 20 ms of the reading thread. */
const LEARN_EVENTS = 20_000;
/** And while it judges: what is found among them is written in one transaction, for which calls wait. */
const JUDGE_EVENTS = 1_000;
/** Of the newest so many events habits are learnt at a start: some 10 s, beside calls. */
const HISTORY_EVENTS_MAX = 5_000_000;
/** Where nothing is found the position is kept so often: what follows it is judged again by the next start, with the same result. */
const KEEP_MS = 3_600_000;
const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

export function watchForAnomalies({ config, journal, reader, metrics, now, fault }: AnomalyParts): { close(): Promise<void> } {
  const { anomalies: rules } = config;
  if (rules === null) return { async close() {} };
  const rememberMs = rules.rememberDays * DAY_MS;
  const newHabits = () => createHabits(rules);
  let habits = newHabits();
  const scribe = { now, configVersion: () => config.configVersion };
  let position: number | null = null;
  let keptMs = Number.NEGATIVE_INFINITY;
  /** What was found up to `position` and is not written yet: the store may be away for a while. */
  let found: AuditRecord[] = [];
  let closed = false;

  const note = (row: ActivityRow) => habits.note({ ...row, tool: `${row.server}/${row.tool}` });

  /** What was judged before is learnt again, and told of no more. */
  async function learn(): Promise<number> {
    habits = newHabits();
    const { judged, first, newest } = await reader.ask("activitySpan", now() - rememberMs);
    const until = judged ?? newest;
    for (let at = Math.max(first, until - HISTORY_EVENTS_MAX); at < until && !closed; ) {
      const page = await reader.ask("activity", at, Math.min(LEARN_EVENTS, until - at));
      for (const row of page.rows) note(row);
      if (page.reached === at) break;
      at = page.reached;
    }
    return until;
  }

  function recordOf(row: ActivityRow, signal: Signal, calls: number, busiest: number): AuditRecord {
    const { agentId, agent, customer, server, tool, region, hour } = row;
    const where = { server, tool, ...(region === null ? {} : { region }), hour: new Date(hour * HOUR_MS).toISOString() };
    const details = { signal, agent_id: agentId, agent, customer, ...where, calls, busiest_hour: busiest };
    return auditOfAct("agent.anomaly", "gateway", details, scribe);
  }

  async function keep(reached: number): Promise<void> {
    await journal.run("judgeActivity", reached, found);
    found = [];
    keptMs = now();
  }

  async function turn(): Promise<void> {
    position ??= await learn();
    let at = position;
    for (let more = true; more && !closed; ) {
      if (found.length > 0 || now() - keptMs >= KEEP_MS) await keep(at);
      const { rows, reached }: ActivityPage = await reader.ask("activity", at, JUDGE_EVENTS);
      for (const row of rows)
        for (const { signal, calls, busiest } of note(row)) {
          found.push(recordOf(row, signal, calls, busiest));
          metrics.anomaly(signal);
        }
      more = reached > at;
      at = reached;
      position = at;
    }
  }

  let underWay: Promise<void> | null = null;
  const begin = () => {
    underWay ??= turn()
      .catch((thrown) => {
        if (!(thrown instanceof StoreUnavailable || closed)) fault(thrown);
      })
      .finally(() => {
        underWay = null;
      });
  };
  const timer = setInterval(begin, EVERY_MS).unref();
  begin();
  return {
    async close() {
      closed = true;
      clearInterval(timer);
      await underWay;
      if (position !== null) await keep(position).catch(() => {});
    },
  };
}
