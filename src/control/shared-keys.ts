/** The keys of several gateways: each knows its own by its journal, and takes a new one where all of them see it. */
import type { Begun, KeyClaim, KeyRun, KnownKey, RetryKeys } from "../call/record/retry-key.ts";
import { type CallKeys, knownIn } from "./call-keys.ts";

export type SharedKeys = RetryKeys & {
  /** Says of this gateway's own calls what its journal says of them; before it takes any, and again where that did not arrive. */
  catchUp(): Promise<void>;
  close(): Promise<void>;
};

export type SharedKeysParts = {
  /** Those of the journal, and what it has of a key, however long ago its time was over; null: nothing. */
  readonly own: RetryKeys;
  readonly find: (key: string) => Promise<KnownKey | null>;
  readonly rows: CallKeys;
  readonly gateway: string;
  readonly fault: (thrown: unknown) => void;
};

/** An ending is written behind its answer: whoever asks in that moment hears of the ending, not of a call under way. */
const LINGER_MS = 100;
/** Of one begin: each further one means that the row has changed meanwhile. */
const TRIES_MAX = 4;
const CATCH_UP_MS = 1_000;
/** A statement that was given up may still take effect until the database gives it up too (5 s, postgres.ts). */
const CALM_ROUNDS = 10;

export function createSharedKeys({ own, find, rows, gateway, fault }: SharedKeysParts): SharedKeys {
  const running = new Set<string>();
  const endings = new Map<string, Promise<void>>();
  /** How many rounds without a fault are still due; 0: all that this gateway has to say is said. */
  let due = 0;
  let round: Promise<void> | null = null;

  function late(thrown: unknown): void {
    if (due === 0 && thrown !== null) fault(thrown);
    due = CALM_ROUNDS;
  }

  /** False: not even the journal has an ending yet; its settlement waits for the disk. */
  async function follow(run: KeyRun): Promise<boolean> {
    const known = await find(run.key);
    // What the journal has of an earlier call under that key says nothing of this one: it was never permitted.
    if (known === null || known.runId !== run.runId) await rows.free(run);
    else if (known.state === "waiting") await rows.wait(run);
    else if (known.state === "open" && known.record === null) return false;
    else await rows.settle(run, known);
    return true;
  }

  async function catchUp(): Promise<void> {
    let all = true;
    for (let last: string | null = ""; last !== null; ) {
      const open: readonly KeyRun[] = await rows.openRuns(last);
      for (const run of open) if (!running.has(run.runId)) all = (await follow(run)) && all;
      last = open.at(-1)?.key ?? null;
    }
    due = all ? Math.max(0, due - 1) : CALM_ROUNDS;
  }

  const timer = setInterval(() => {
    if (due === 0 || round !== null) return;
    round = catchUp()
      .catch(late)
      .finally(() => {
        round = null;
      });
  }, CATCH_UP_MS).unref();

  /** Null: it is this call's, at every gateway. */
  async function take(claim: KeyClaim): Promise<Begun | null> {
    const { key, fingerprint } = claim;
    let callId = claim.callId;
    for (let tries = 0; tries < TRIES_MAX; tries += 1) {
      if (await rows.take(claim)) return null;
      const row = await rows.find(key);
      if (row === undefined) continue;
      callId = row.call_id;
      // Nobody else here has the key: a run of ours that is open there has ended, and that was not written.
      if (row.state === "open" && row.gateway === gateway) await follow({ key, runId: row.run_id });
      else if (row.state === "open" && tries === 0) await new Promise((resolve) => setTimeout(resolve, LINGER_MS));
      else if (row.fingerprint !== fingerprint) return { kind: "mismatch", callId };
      else if (row.state === "settled") return { kind: "ended", known: knownIn(row) };
      else if (row.state === "open") break;
    }
    return { kind: "in_flight", callId };
  }

  function leave(claim: KeyClaim): void {
    running.delete(claim.callId);
    own.end(claim);
  }

  return {
    catchUp,
    async begin(claim) {
      await endings.get(claim.key);
      const begun = await own.begin(claim);
      if (begun.kind !== "begun") return begun;
      running.add(claim.callId);
      try {
        const elsewhere = await take(claim);
        if (elsewhere === null) return begun;
        leave(claim);
        return elsewhere;
      } catch (thrown) {
        // It may be taken there all the same: nothing of it will be in the journal, which frees it.
        leave(claim);
        late(null);
        throw thrown;
      }
    },
    end(claim) {
      const { key, callId } = claim;
      const ending = follow({ key, runId: callId })
        .then((said) => (said ? undefined : late(null)), late)
        .finally(() => {
          endings.delete(key);
          leave(claim);
        });
      endings.set(key, ending);
    },
    async close() {
      clearInterval(timer);
      await Promise.all([...endings.values(), round]);
      // What cannot be said now is said at the next start.
      if (due > 0) await catchUp().catch(() => {});
    },
  };
}
