/** Tries again what a sink said to come back with, apart from its stream, so that it holds nobody up. */
import type { Item, Stream } from "../record/outbox.ts";
import type { Aside } from "../record/sink-state.ts";
import { deliver } from "./deliver.ts";
import { asideOf, bySequence, type Drain, isTooOld, UNKNOWN_REASON } from "./drain.ts";
import { NotDelivered } from "./target.ts";

/** Also of a stream that is not sent there any more: what was set aside is somebody's decision, not the configuration's. */
const STREAMS_KNOWN: readonly Stream[] = ["usage", "records", "checkpoints"];

export async function retryAsides(drain: Drain): Promise<void> {
  // Each is gone, or not due any more, when its turn is over.
  for (;;) {
    const due = await drain.books.due(drain.now(), drain.batch);
    if (due.length === 0) return;
    for (const stream of STREAMS_KNOWN) {
      const theirs = due.filter((aside) => aside.stream === stream);
      if (drain.stopping.aborted) return;
      if (theirs.length > 0) await retry(stream, theirs, drain);
    }
  }
}

async function retry(stream: Stream, asides: readonly Aside[], drain: Drain): Promise<void> {
  const { books, dedupeWindowMs, maxAgeMs, now, target, stopping, tell } = drain;
  const nowMs = now();
  const sequences = asides.map(({ sequence }) => sequence);
  const found = bySequence(await books.at(stream, sequences));
  const still: Aside[] = [];
  const lost: number[] = [];
  const items: Item[] = [];
  for (const aside of asides) {
    const item = found.get(aside.sequence);
    if (item === undefined) {
      lost.push(aside.sequence);
      continue;
    }
    const forgotten = dedupeWindowMs !== null && aside.attemptMs !== null && nowMs - aside.attemptMs > dedupeWindowMs;
    // A person has asked for it: then its age is no reason any more.
    const asked = aside.tries < 0;
    if (forgotten) still.push({ ...aside, state: "unknown", reason: UNKNOWN_REASON, nextMs: null });
    else if (!asked && isTooOld(item, maxAgeMs, nowMs)) still.push({ ...aside, state: "expired", reason: "too old by now", nextMs: null });
    else items.push(item);
  }
  if (still.length + lost.length > 0) await books.moveAsides(stream, lost, still);
  if (still.length > 0) tell(found, still);
  if (items.length === 0) return;
  const due = bySequence(items);
  const sent = asides.filter(({ sequence }) => due.has(sequence));
  // Durable before a byte leaves, as for a whole batch.
  if (dedupeWindowMs !== null)
    await books.moveAsides(
      stream,
      [],
      sent.map((aside) => ({ ...aside, attemptMs: aside.attemptMs ?? nowMs })),
    );
  const faults = await deliver(items, target, stopping).catch(async (fault: unknown) => {
    if (dedupeWindowMs !== null && fault instanceof NotDelivered && fault.fate === "not_taken") await books.moveAsides(stream, [], sent);
    throw fault;
  });
  const failed = new Set(faults.map(({ sequence }) => sequence));
  const tries = new Map(asides.map((aside) => [aside.sequence, Math.max(0, aside.tries)]));
  const again = faults.map((fault) => asideOf(stream, fault, (tries.get(fault.sequence) ?? 0) + 1, now()));
  if (again.length > 0) tell(found, again);
  await books.moveAsides(
    stream,
    items.map(({ sequence }) => sequence).filter((sequence) => !failed.has(sequence)),
    again,
  );
}
