/** Tells one receiver what was done, message by message: again and again for a day, then no more; one who is gone for good is not told. */
import type { ActPage, ActRow } from "../record/acts.ts";
import type { WebhookState } from "../record/sink-ledger.ts";
import type { Aside } from "../record/sink-state.ts";
import { sayable } from "./sayable.ts";
import { messageOf, signatureOf } from "./webhook-message.ts";

export type WebhookBooks = {
  position(): Promise<number>;
  actsAfter(after: number, patterns: readonly string[], limit: number): Promise<ActPage>;
  actsAt(sequences: readonly number[]): Promise<readonly ActRow[]>;
  due(nowMs: number, limit: number): Promise<readonly Aside[]>;
  move(sequence: number, aside: readonly Aside[]): Promise<void>;
  moveAsides(gone: readonly number[], still: readonly Aside[]): Promise<void>;
  counts(): Promise<Readonly<Record<Aside["state"], number>>>;
  state(): Promise<WebhookState>;
  keepState(state: WebhookState): Promise<void>;
};

export type WebhookOptions = {
  readonly name: string;
  readonly url: string;
  /** The key's bytes, at the moment of use. */
  readonly key: () => Uint8Array;
  readonly events: readonly string[];
  readonly timeoutMs: number;
  readonly books: WebhookBooks;
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>;
  readonly now: () => number;
  readonly random: () => number;
  readonly warn: (facts: Readonly<Record<string, string | number | null>>, message: string) => void;
  /** Recorded before it counts. */
  readonly disabled: (reason: string) => Promise<void>;
  readonly everyMs?: number;
};

export type WebhookStatus = WebhookState & {
  readonly name: string;
  readonly waiting: number;
  readonly expired: number;
  /** Rounds in a row that failed, for a reason of the receiver's or of ours. */
  readonly failures: number;
  readonly lastSuccessMs: number | null;
  readonly lastError: string | null;
  readonly lastErrorMs: number | null;
};

export type RunningWebhook = {
  readonly name: string;
  flush(): Promise<void>;
  status(): Promise<WebhookStatus>;
  stop(): Promise<void>;
};

/** What was done is told within a second or so. */
const EVERY_MS = 1_000;
const PAGE = 50;
const RETRY_FIRST_MS = 5_000;
const RETRY_MAX_MS = 6 * 3_600_000;
/** With these pauses about a day. */
export const MESSAGE_TRIES_MAX = 10;
/** Nobody looks after a receiver that has not taken anything for so long. */
export const DISABLED_AFTER_MS = 3 * 86_400_000;

export function startWebhook(options: WebhookOptions): RunningWebhook {
  const { name, books, events, now, random } = options;
  const stopping = new AbortController();
  let timer: NodeJS.Timeout | null = null;
  let running: Promise<void> | null = null;
  /** Not durable until there was something for this receiver: looking again at what is none costs little. */
  let reached: number | null = null;
  let lastSuccessMs: number | null = null;
  let failures = 0;
  let last: { readonly why: string; readonly atMs: number } | null = null;

  const succeeded = async () => {
    lastSuccessMs = now();
    const state = await books.state();
    if (state.failingSinceMs !== null) await books.keepState({ failingSinceMs: null, disabledAtMs: null, reason: null });
  };
  const disable = async (reason: string, failingSinceMs: number) => {
    await options.disabled(reason);
    await books.keepState({ failingSinceMs, disabledAtMs: now(), reason });
    options.warn({ webhook: name, why: reason }, "the webhook is disabled: nothing is sent there until it is enabled again");
  };
  /** False: nothing more in this round. */
  const failed = async ({ reason, gone }: Failure): Promise<void> => {
    failures += 1;
    last = { why: reason, atMs: now() };
    const since = (await books.state()).failingSinceMs ?? now();
    if (gone || now() - since >= DISABLED_AFTER_MS)
      return disable(gone ? "the receiver answered 410" : `it failed for three days: ${reason}`, since);
    await books.keepState({ failingSinceMs: since, disabledAtMs: null, reason });
    options.warn({ webhook: name, why: reason }, "a message waits: the webhook's receiver does not take it");
  };
  const asideOf = (sequence: number, tries: number, { reason, status }: Failure): Aside => {
    const again = tries < MESSAGE_TRIES_MAX;
    const pauseMs = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 4 ** (tries - 1)) * (0.5 + random() / 2);
    const nextMs = again ? now() + Math.round(pauseMs) : null;
    const common = { stream: "records" as const, sequence, status, atMs: now(), tries, nextMs, attemptMs: null };
    return again
      ? { ...common, state: "retry", reason }
      : { ...common, state: "expired", reason: `given up after ${tries} tries: ${reason}` };
  };
  /** True: all of what was due has been taken. */
  const again = async (): Promise<boolean> => {
    const due = await books.due(now(), PAGE);
    const acts = new Map((await books.actsAt(due.map(({ sequence }) => sequence))).map((act) => [act.sequence, act]));
    for (const { sequence, tries } of due) {
      const act = acts.get(sequence);
      if (stopping.signal.aborted) return false;
      // Purged meanwhile: nothing is left to tell.
      if (act === undefined) {
        await books.moveAsides([sequence], []);
        continue;
      }
      const failure = await send(act, options, stopping.signal);
      if (stopping.signal.aborted) return false;
      await books.moveAsides(
        failure === null ? [sequence] : [],
        failure === null ? [] : [asideOf(sequence, Math.max(0, tries) + 1, failure)],
      );
      if (failure !== null) {
        await failed(failure);
        return false;
      }
      await succeeded();
    }
    return true;
  };
  /** True: the receiver has been told all that there is. */
  const forward = async (): Promise<boolean> => {
    reached ??= await books.position();
    for (;;) {
      const page = await books.actsAfter(reached, events, PAGE);
      for (const act of page.acts) {
        const failure = await send(act, options, stopping.signal);
        if (stopping.signal.aborted) return false;
        await books.move(act.sequence, failure === null ? [] : [asideOf(act.sequence, 1, failure)]);
        reached = act.sequence;
        if (failure !== null) {
          await failed(failure);
          return false;
        }
        await succeeded();
      }
      if (page.reached === reached) return true;
      reached = page.reached;
    }
  };
  const once = async () => {
    try {
      if ((await books.state()).disabledAtMs !== null) return;
      if ((await again()) && (await forward())) failures = 0;
    } catch (fault) {
      // Ours, not the receiver's: it must not stand still in silence.
      failures += 1;
      last = { why: fault instanceof Error ? fault.message : String(fault), atMs: now() };
      options.warn({ webhook: name, failures, why: last.why }, "a round of the webhook failed: what is to be told waits");
      throw fault;
    }
  };
  const round = (): Promise<void> => {
    running ??= once().finally(() => {
      running = null;
    });
    return running;
  };
  const tick = async () => {
    await round().catch(() => {});
    if (stopping.signal.aborted) return;
    timer = setTimeout(tick, options.everyMs ?? EVERY_MS).unref();
  };
  timer = setTimeout(tick, options.everyMs ?? EVERY_MS).unref();
  return {
    name,
    async flush() {
      await running?.catch(() => {});
      await round();
    },
    async status() {
      const { retry, expired } = await books.counts();
      const told = { failures, lastSuccessMs, lastError: last?.why ?? null, lastErrorMs: last?.atMs ?? null };
      return { name, ...(await books.state()), waiting: retry, expired, ...told };
    },
    async stop() {
      stopping.abort();
      if (timer !== null) clearTimeout(timer);
      await running?.catch(() => {});
      // What was none for this receiver need not be looked at again.
      if (reached !== null) await books.move(reached, []).catch(() => {});
    },
  };
}

type Failure = { readonly reason: string; readonly status: number | null; readonly gone: boolean };

/** Null: taken. */
async function send(act: ActRow, { url, key, timeoutMs, fetch, now }: WebhookOptions, stopping: AbortSignal): Promise<Failure | null> {
  const message = messageOf(act.body);
  const atSeconds = Math.floor(now() / 1_000);
  try {
    const answer = await fetch(url, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "webhook-id": message.id,
        "webhook-timestamp": String(atSeconds),
        "webhook-signature": signatureOf(message, atSeconds, key()),
      },
      body: message.body,
      redirect: "manual",
      signal: AbortSignal.any([stopping, AbortSignal.timeout(timeoutMs)]),
    });
    await answer.body?.cancel().catch(() => {});
    const { status } = answer;
    return status >= 200 && status < 300 ? null : { reason: `the receiver answered ${status}`, status, gone: status === 410 };
  } catch (fault) {
    const cause = fault instanceof Error && fault.cause instanceof Error ? fault.cause : fault;
    const words = cause instanceof Error && cause.message !== "" ? cause.message : "the connection broke";
    return { reason: sayable(words, [Buffer.from(key()).toString("base64")]), status: null, gone: false };
  }
}
