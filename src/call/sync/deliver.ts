/** Hands one batch over: taken, or item by item not taken; a fault says whether the sink may have it all the same. */
import type { Item } from "../record/outbox.ts";
import { type ItemFault, NotDelivered, type Target } from "./target.ts";

/** A bad batch is halved until the bad items are found, so that they hold nobody up. */
export async function deliver(items: readonly Item[], target: Target, stopping: AbortSignal): Promise<ItemFault[]> {
  const [first, second] = items;
  if (first === undefined) return [];
  const answer = await target.send(items, stopping);
  if (answer.kind === "taken") return [...answer.faults];
  if (second === undefined) return [{ sequence: first.sequence, status: answer.status, reason: answer.reason, retry: false }];
  const middle = Math.ceil(items.length / 2);
  const left = await deliver(items.slice(0, middle), target, stopping);
  try {
    return [...left, ...(await deliver(items.slice(middle), target, stopping))];
  } catch (fault) {
    // The sink has the first half: of the whole batch it can no longer be said that nothing arrived.
    if (fault instanceof NotDelivered) throw new NotDelivered(fault.message, "unknown", fault.retryAfterMs);
    throw fault;
  }
}
