/** How the shared ledger says no, and what it has left, from what its scripts answer. */
import { type Refusal, refuse } from "../../refusal.ts";
import type { Draw } from "../authorize/permit.ts";
import { type Counter, judgeHold, remaining } from "./counter.ts";
import { refuseHold } from "./memory-ledger.ts";
import type { Reply } from "./redis-link.ts";
import type { Left } from "./reservation.ts";
import { slotsIn, standingIn } from "./shared-words.ts";
import type { Sharing } from "./sharing.ts";
import { freedAt, type Window } from "./windows.ts";

/** As long as a broken connection, or the filling of a new epoch, usually takes. */
const RETRY_MS = 1_000;

export type Asked = { readonly draw: Draw; readonly window: Window; readonly amount: number | null };

export function away(note: string): Refusal {
  return refuse("store_unavailable", { retry_after_ms: RETRY_MS }, note);
}

export function waiting(sharing: Sharing): string {
  const { waitingFor } = sharing.status();
  return waitingFor.length === 0 ? "it opens soon" : `waiting for ${waitingFor.join(", ")}`;
}

export function hasNoCeiling({ hard, overage }: Draw): boolean {
  return !hard && overage === null;
}

export function resetOf(draw: Draw, window: Window, slots: readonly Counter[], amount: number): number | null {
  return draw.period === "rolling" ? freedAt(slots, draw, amount) : window.endMs;
}

export function weighed(asked: readonly Asked[], reply: Reply, sharing: Sharing): { refusal: Refusal | null; left: Left[] } {
  // What some gateways have used is not what is left.
  if (reply[0] === "filling") return { refusal: asked.every(({ draw }) => hasNoCeiling(draw)) ? null : away(waiting(sharing)), left: [] };
  let at = 2;
  let refusal: Refusal | null = null;
  const left = asked.map(({ draw, window, amount }) => {
    const standing = standingIn(reply, at);
    const count = Number(reply[at + 3]);
    const slots = slotsIn(draw, reply.slice(at + 4, at + 4 + count));
    at += 4 + count;
    const judged = judgeHold(standing, draw, amount);
    if (judged !== "carried") refusal ??= refuseHold(judged, draw, standing, amount ?? 1, resetOf(draw, window, slots, amount ?? 1));
    return { draw, remaining: remaining(draw, standing), held: standing.held, windowEndMs: resetOf(draw, window, slots, 1) };
  });
  return { refusal, left };
}
