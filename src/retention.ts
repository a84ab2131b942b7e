/** Keeps records for as long as they must be kept and no longer: purges what has become too old, and what was asked to be erased. */
import { auditOfAct } from "./call/record/compose.ts";
import type { OpenJournal } from "./call/record/journal-client.ts";
import { PURGE_MAX } from "./call/record/purge.ts";
import type { Reader } from "./call/record/reader.ts";
import type { Kept, PurgePage, PurgeQuestion } from "./call/record/retention.ts";
import { subjectText } from "./call/record/retries.ts";
import type { Config } from "./config.ts";
import { isAllGone, type Purged, type Retention, retentionRoutes } from "./control/admin/retention-routes.ts";
import type { DigestKeys } from "./control/agents/digest-keys.ts";
import type { Registry } from "./control/agents/registry.ts";
import { dropAllKeys } from "./retries.ts";
import type { Seal } from "./seal.ts";

export type RetentionParts = {
  readonly config: Config;
  readonly journal: OpenJournal;
  readonly reader: Reader;
  readonly registry: Registry;
  readonly digestKeys: DigestKeys;
  readonly seal: Pick<Seal, "digest">;
  /** Never rejects for what is not signed: that is told elsewhere. */
  readonly sign: () => Promise<unknown>;
  readonly now: () => number;
  readonly fault: (thrown: unknown) => void;
};

/** Much shorter than what anybody keeps records for; an erasure that waits for a sink or a hold goes on soon after that has ended. */
const EVERY_MS = 900_000;

export function openRetention({ config, journal, reader, registry, digestKeys, seal, sign, now, fault }: RetentionParts) {
  const { atLeastMs, atMostMs } = config.retention;
  const sinks = config.sync.map(({ name }) => name);
  const scribe = { now, configVersion: () => config.configVersion };
  let underWay: Promise<unknown> = Promise.resolve();
  let closed = false;
  /** A reader held the write-ahead log when it was to be emptied. */
  let traces = false;
  /** One at a time: two that purge the same records would each tell half of it. */
  const alone = <T>(work: () => Promise<T>): Promise<T> => {
    const result = underWay.then(work);
    underWay = result.catch(() => {});
    return result;
  };

  async function purgeAll(of: PurgeQuestion["of"], beforeMs: number, by: string, cause: string): Promise<Purged> {
    let purged = 0;
    let kept: Kept = { young: 0, held: 0, unsent: 0 };
    for (let from: number | null = 0; from !== null && !closed; ) {
      const page: PurgePage = await reader.ask("purgeable", { from, beforeMs, of, sinks });
      for (let i = 0; i < page.sequences.length; i += PURGE_MAX) {
        const sequences = page.sequences.slice(i, i + PURGE_MAX);
        const record = auditOfAct("records.purged", by, { cause, before: new Date(beforeMs).toISOString() }, scribe);
        purged += await journal.run("purge", { sequences, beforeMs, record });
      }
      const { young, held, unsent } = page.kept;
      kept = { young: kept.young + young, held: kept.held + held, unsent: kept.unsent + unsent };
      from = page.next;
    }
    if (purged > 0) {
      await leaveNoTrace();
      // A purge counts once a checkpoint covers the record that tells of it.
      await sign();
    }
    return { purged, kept };
  }

  /** What of it has been kept for long enough goes; the rest waits for a later turn. */
  async function erase(erasure: { agent: string; until_sequence: number; asked_by: string }): Promise<Purged> {
    // What its calls may have been answered with is not evidence: nothing has to keep it.
    await dropAllKeys(journal, { agent: erasure.agent });
    const done = await purgeAll(erasure, now() - atLeastMs, erasure.asked_by, "erasure");
    if (!isAllGone(done)) return done;
    // A stop may have come between the last purge and this.
    if (done.purged === 0) await leaveNoTrace();
    await journal.run("endErasure", erasure.agent, now());
    return done;
  }

  async function leaveNoTrace(): Promise<void> {
    await journal.run("dropUnusedAttributes");
    traces = !(await journal.run("scrub"));
  }

  async function turn(): Promise<void> {
    const { erasures } = await reader.ask("retention");
    for (const erasure of erasures.filter(({ done_ms }) => done_ms === null)) {
      // A stop between the two parts of an erasure leaves the second to this.
      await registry.forget(erasure.agent);
      await erase(erasure);
    }
    if (traces) traces = !(await journal.run("scrub"));
    if (atMostMs !== null) await purgeAll(null, now() - atMostMs, "gateway", "retention");
  }

  const timer = setInterval(() => void alone(turn).catch(fault), EVERY_MS).unref();
  void alone(turn).catch(fault);
  const retention: Retention = {
    atLeastMs,
    atMostMs,
    state: () => reader.ask("retention"),
    purge: (beforeMs, by) => alone(() => purgeAll(null, beforeMs, by, "asked")),
    placeHold: (hold) => {
      const { name, customer, agent, reason } = hold;
      return journal.run(
        "placeHold",
        hold,
        auditOfAct("hold.placed", hold.placed_by, { hold: name, customer, agent_id: agent, reason }, scribe),
      );
    },
    liftHold: (name, by, reason) => journal.run("liftHold", name, auditOfAct("hold.lifted", by, { hold: name, reason }, scribe)),
    eraseAgent: (agent, customer, by, reason) =>
      alone(async () => {
        const record = auditOfAct("agent.erased", by, { agent_id: agent, customer, reason }, scribe);
        await journal.run("askErasure", { agent, asked_ms: now(), asked_by: by, reason }, record);
        const fault = await registry.forget(agent);
        if (fault !== null) return fault;
        const { erasures } = await reader.ask("retention");
        const asked = erasures.find((erasure) => erasure.agent === agent);
        return asked === undefined ? { purged: 0, kept: { young: 0, held: 0, unsent: 0 } } : await erase(asked);
      }),
    eraseSubject: async (customer, person, by, reason) => {
      await journal.append(auditOfAct("subject.erased", by, { customer, reason }, scribe));
      const subject = seal.digest(subjectText(customer, person));
      await dropAllKeys(journal, { subject });
      await registry.forgetSubject(subject);
      traces = !(await journal.run("scrub"));
      return digestKeys.destroy(customer, person);
    },
  };
  return {
    routes: retentionRoutes({ retention, registry, now }),
    async close() {
      closed = true;
      clearInterval(timer);
      await underWay;
    },
  };
}
