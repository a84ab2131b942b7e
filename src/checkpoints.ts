/** Keeps the log signed and witnessed: at the start, while it grows, on demand and at the end; calls never wait for it. */
import { checkpointIn } from "./call/record/checkpoint.ts";
import { StoreUnavailable } from "./call/record/journal.ts";
import type { OpenJournal } from "./call/record/journal-client.ts";
import type { Signing } from "./call/record/log-signing.ts";
import type { Reader } from "./call/record/reader.ts";
import { verifierIn } from "./call/record/signed-note.ts";
import { askWitness, type WitnessOptions } from "./call/record/witness.ts";
import type { Config } from "./config.ts";
import type { Log, Metrics } from "./observe.ts";

export type Checkpoints = {
  /** Now; of several at once one signs for all. */
  sign(): Promise<Signing>;
  /** The verifier key; null: nothing has been signed since the start. */
  key(): string | null;
  /** False while the log is not signed: it is not the one that was signed before, or the key cannot be used. */
  isSigning(): boolean;
  /** False while the witness has not signed the last checkpoint; true where there is none. */
  isWitnessed(): boolean;
  stop(): Promise<void>;
};

export type CheckpointParts = {
  readonly config: Pick<Config, "logKey" | "checkpointEveryMs" | "witness">;
  readonly journal: Pick<OpenJournal, "run">;
  readonly reader: Pick<Reader, "ask">;
  readonly fetch: WitnessOptions["fetch"];
  readonly metrics: Pick<Metrics, "gauge">;
  readonly now: () => number;
  readonly log: Log;
};

type Signed = Exclude<Signing, { kind: "refused" }>;

export async function openCheckpoints(parts: CheckpointParts): Promise<Checkpoints> {
  const { config, journal, now, log } = parts;
  const order = () => ({ keyFile: config.logKey, nowMs: now() });
  let why: string | null = null;
  /** What a witness said cannot be unsaid: nothing is signed until somebody has looked and starts the gateway anew. */
  let forked: string | null = null;
  let signed: Signed | null = null;
  let signing: Promise<Signing> | null = null;
  let stopped = false;

  const told = (outcome: Signing): Signing => {
    if (outcome.kind !== "refused") {
      if (why !== null) log.info({ size: outcome.size }, "the log is signed again");
      why = null;
      signed = outcome;
      return outcome;
    }
    if (why !== outcome.why) log.error({ why: outcome.why }, "the log is NOT signed: calls go on and are recorded");
    why = outcome.why;
    return outcome;
  };
  const sign = (): Promise<Signing> => {
    signing ??= (forked === null ? journal.run("signLog", order()) : Promise.resolve<Signing>({ kind: "refused", why: forked }))
      .then(told)
      .finally(() => {
        signing = null;
      });
    return signing;
  };
  const witness = createWitness(parts, (reason) => {
    forked = reason;
    told({ kind: "refused", why: reason });
  });
  const round = async () => {
    try {
      const outcome = await sign();
      if (outcome.kind !== "refused" && !stopped) void witness.ask(outcome);
    } catch (fault) {
      // An outage is told by the journal itself.
      if (!(fault instanceof StoreUnavailable)) told({ kind: "refused", why: fault instanceof Error ? fault.message : String(fault) });
    }
  };
  await round();
  const timer = setInterval(() => void round(), config.checkpointEveryMs).unref();
  const bit = (is: boolean) => (is ? 1 : 0);
  parts.metrics.gauge("tollgate_log_signing", "1 while the log is signed.", () => bit(why === null));
  parts.metrics.gauge("tollgate_checkpoint_size", "Records that the last signed checkpoint covers.", () => signed?.size ?? 0);
  if (config.witness !== null) parts.metrics.gauge("tollgate_witness_size", "Records that the witness has signed.", () => witness.size());
  return {
    sign,
    key: () => signed?.key ?? null,
    isSigning: () => why === null,
    isWitnessed: () => config.witness === null || (signed !== null && witness.size() >= signed.size),
    async stop() {
      stopped = true;
      clearInterval(timer);
      await round();
      await witness.settled();
    },
  };
}

/** One question at a time; what fails is asked again with the next checkpoint. */
function createWitness({ config, journal, reader, fetch, log }: CheckpointParts, onFork: (why: string) => void) {
  const verifier = config.witness === null ? null : verifierIn(config.witness.key);
  let asking: Promise<void> | null = null;
  let size = 0;
  let failures = 0;
  const askNow = async ({ note }: Signed) => {
    const checkpoint = checkpointIn(note);
    if (config.witness === null || verifier === null || checkpoint === null) return;
    const outcome = await askWitness(checkpoint, {
      ...{ url: config.witness.url, verifier, fetch },
      witnessed: () => reader.ask("witnessed", verifier.vkey),
      consistency: (from, to) => reader.ask("consistency", from, to),
      keep: (cosigned) => journal.run("keepCosignature", cosigned),
    });
    if (outcome.kind === "cosigned") {
      size = outcome.size;
      failures = 0;
      return;
    }
    failures += 1;
    if (outcome.kind === "forked") onFork(outcome.why);
    else log.warn({ witness: verifier.name, failures, why: outcome.why }, "the witness has not signed the checkpoint");
  };
  return {
    size: () => size,
    ask(signed: Signed): Promise<void> {
      if (signed.size === size) return Promise.resolve();
      asking ??= askNow(signed).finally(() => {
        asking = null;
      });
      return asking;
    },
    settled: async () => {
      await asking;
    },
  };
}
