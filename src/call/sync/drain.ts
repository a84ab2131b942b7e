/** Sends one stream from where the sink has it, batch after batch, in order; a batch counts only once the sink has said yes. */
import type { Item, Stream } from "../record/outbox.ts";
import type { SinkMove } from "../record/sink-ledger.ts";
import type { Aside, Attempt, SinkState } from "../record/sink-state.ts";
import { deliver } from "./deliver.ts";
import { type ItemFault, NotDelivered, type Target } from "./target.ts";

/** The journal, as one sink sees it. */
export type SinkBooks = {
  state(): Promise<SinkState>;
  after(stream: Stream, after: number, limit: number): Promise<readonly Item[]>;
  at(stream: Stream, sequences: readonly number[]): Promise<readonly Item[]>;
  due(nowMs: number, limit: number): Promise<readonly Aside[]>;
  move(move: Omit<SinkMove, "sink">): Promise<void>;
  keepAttempt(stream: Stream, attempt: Attempt | null): Promise<void>;
  moveAsides(stream: Stream, gone: readonly number[], still: readonly Aside[]): Promise<void>;
};

export type Guards = {
  /** For how long the sink knows an event again that it has; null: for ever. */
  readonly dedupeWindowMs: number | null;
  /** Older usage events are not sent; null: whatever their age. */
  readonly maxAgeMs: number | null;
};

export type Drain = Guards & {
  readonly batch: number;
  /** Items of a backlog in a second, at most: calls and other sinks keep their share of the machine. */
  readonly maxPerSecond: number;
  readonly books: SinkBooks;
  readonly target: Target;
  readonly now: () => number;
  readonly stopping: AbortSignal;
  /** Of those of one batch that were set aside; `items` by their sequence. */
  readonly tell: (items: ReadonlyMap<number, Item>, asides: readonly Aside[]) => void;
};

const RETRY_FIRST_MS = 1_000;
const RETRY_MAX_MS = 600_000;
/** About three hours of trying; then a person has to look. */
export const ITEM_TRIES_MAX = 25;

export async function drainStream(stream: Stream, drain: Drain): Promise<void> {
  const { books, batch, dedupeWindowMs, now, stopping } = drain;
  const state = (await books.state()).streams.find((each) => each.stream === stream);
  if (state === undefined) return;
  let { sequence, attempt } = state;
  // Those of an earlier round that the sink may have already are sent again as they were.
  let undecided = attempt !== null;
  let items = await (attempt === null ? books.after(stream, sequence, batch) : asTheyWere(stream, attempt, drain));
  while (items.length > 0 && !stopping.aborted) {
    const turnMs = performance.now();
    const count = items.length;
    const last = items.at(-1)?.sequence ?? sequence;
    const following = books.after(stream, last, batch);
    // Awaited below: a fault meanwhile must not go unheard.
    following.catch(() => {});
    const { due, aside } = judge(items, attempt, drain);
    if (attempt === null && dedupeWindowMs !== null && due.length > 0) {
      attempt = attemptOf(items, now());
      await books.keepAttempt(stream, attempt);
    }
    const faults = await deliver(due, drain.target, stopping).catch(async (fault: unknown) => {
      if (attempt !== null && !undecided && fault instanceof NotDelivered && fault.fate === "not_taken")
        await books.keepAttempt(stream, null);
      throw fault;
    });
    const asides = [...aside, ...faults.map((fault) => asideOf(stream, fault, 1, now()))];
    if (asides.length > 0) drain.tell(bySequence(items), asides);
    items = await following;
    attempt = dedupeWindowMs === null || items.length === 0 || stopping.aborted ? null : attemptOf(items, now());
    undecided = false;
    await books.move({ stream, sequence: last, aside: asides, next: attempt });
    sequence = last;
    if (items.length > 0) await pause((count / drain.maxPerSecond) * 1_000 - (performance.now() - turnMs), stopping);
  }
}

export function bySequence(items: readonly Item[]): ReadonlyMap<number, Item> {
  return new Map(items.map((item) => [item.sequence, item]));
}

async function pause(ms: number, stopping: AbortSignal): Promise<void> {
  if (ms < 1 || stopping.aborted) return;
  await new Promise<void>((resolve) => {
    const end = () => {
      clearTimeout(timer);
      stopping.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    stopping.addEventListener("abort", end, { once: true });
  });
}

async function asTheyWere(stream: Stream, { first, last }: Attempt, { books }: Drain): Promise<readonly Item[]> {
  return (await books.after(stream, first - 1, last - first + 1)).filter((item) => item.sequence <= last);
}

function attemptOf(items: readonly Item[], atMs: number): Attempt {
  return { first: items[0]?.sequence ?? 0, last: items.at(-1)?.sequence ?? 0, atMs };
}

/** Sending again what the sink has forgotten that it has would bill it twice; what comes too late it would bill wrongly, or not at all. */
function judge(items: readonly Item[], attempt: Attempt | null, { dedupeWindowMs, maxAgeMs, now }: Drain): { due: Item[]; aside: Aside[] } {
  const nowMs = now();
  const forgotten = attempt !== null && dedupeWindowMs !== null && nowMs - attempt.atMs > dedupeWindowMs;
  const due: Item[] = [];
  const aside: Aside[] = [];
  for (const item of items) {
    const { stream, sequence } = item;
    const common = { stream, sequence, status: null, atMs: nowMs, tries: 0, nextMs: null, attemptMs: attempt?.atMs ?? null };
    if (forgotten) aside.push({ ...common, state: "unknown", reason: UNKNOWN_REASON });
    else if (isTooOld(item, maxAgeMs, nowMs)) aside.push({ ...common, state: "expired", reason: EXPIRED_REASON });
    else due.push(item);
  }
  return { due, aside };
}

export const UNKNOWN_REASON = "it was sent, no answer came, and the sink's dedupe window is over";
const EXPIRED_REASON = "it is older than the sink's maxAge";

export function isTooOld(item: Item, maxAgeMs: number | null, nowMs: number): boolean {
  return item.stream === "usage" && item.atMs !== null && maxAgeMs !== null && nowMs - item.atMs > maxAgeMs;
}

/** `tries`: this one included. */
export function asideOf(stream: Stream, { sequence, status, reason, retry }: ItemFault, tries: number, nowMs: number): Aside {
  const again = retry && tries < ITEM_TRIES_MAX;
  const pauseMs = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** Math.min(tries - 1, 16));
  const said = retry && !again ? `still so after ${tries} tries: ${reason}` : reason;
  const state = again ? "retry" : "refused";
  return { stream, sequence, state, status, reason: said, atMs: nowMs, tries, nextMs: again ? nowMs + pauseMs : null, attemptMs: null };
}
