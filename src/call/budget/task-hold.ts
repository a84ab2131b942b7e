/** A look at a task is held for like a call, because it may bring something of what the task came to: that is posted once, and anything else is free. */
import type { CallId } from "../../ids.ts";
import { type Refusal, refuse } from "../../refusal.ts";
import type { McpRequest } from "../accept/request.ts";
import type { Permit } from "../authorize/permit.ts";
import { ceilingOf } from "./counter.ts";
import type { HoldLine, Reservation, Settlement } from "./reservation.ts";
import type { Round, TaskBill } from "./rounds.ts";
import { endTurn } from "./task-bill.ts";

/** A request that follows a task belongs to the call that the task is the answer to. Null: the request follows none. */
export function roundOfTask(task: (TaskBill & { readonly logicalCallId: CallId }) | null): Round | null {
  return task === null ? null : { logicalCallId: task.logicalCallId, number: 1, calls: 0, key: null, task };
}

/** Whether this request is held and settled: because it may cost something, or because guards look at it under the hold. */
export function isMetered(request: Pick<McpRequest, "course" | "method">, round: Round, { guards }: Pick<Permit, "guards">): boolean {
  return mayCost(request, round) || (request.course === "task" && guards.length > 0);
}

/** Whether an answer to this request may cost anything. */
export function mayCost({ course, method }: Pick<McpRequest, "course" | "method">, { task }: Round): boolean {
  if (course !== "task") return course === "metered";
  return task !== null && (method === "tasks/get" || method === "tasks/result");
}

/** What was charged once may be looked at again, whatever is left of the budgets. */
export function isKnownOf(task: TaskBill | null): boolean {
  return task !== null && task.bill.texts.size > 0;
}

/**
 * Without a task the reservation as it is. `refused`: why nothing is held for this look, so that it may bring only what is charged
 * already.
 */
export function billedOnce(reservation: Reservation, task: TaskBill | null, refused: Refusal | null = null): Reservation {
  if (task === null) return reservation;
  const { bill } = task;
  const { callId } = reservation;
  const ended = <T extends Settlement>(settlement: T, isCharged = false): T => {
    endTurn(bill, callId, isCharged);
    return settlement;
  };
  return {
    callId,
    lines: reservation.lines,
    metersResult: reservation.metersResult || refused !== null,
    // A look gives its hold back, so that nothing may pass on its account before its answer.
    bytesMax: refused !== null || reservation.lines.some(countsBytes) ? 0 : Number.POSITIVE_INFINITY,
    sent: () => reservation.sent(),
    async post(usage, came): Promise<Settlement> {
      if (Object.values(usage).every((amount) => amount === 0)) return ended(reservation.voidUnsent());
      if (refused !== null) {
        const withheld = refuse("result_over_budget", refused.facts, "it brings what is not charged yet, and nothing could be held for it");
        return ended({ ...reservation.voidUnsent(), withheld });
      }
      // What was withheld has not been had: it is asked for, and held for, anew.
      const settlement = await reservation.post(usage, { kind: came?.kind ?? "", refusal: came?.refusal ?? null, isOnce: false });
      return ended(settlement, settlement.withheld === null);
    },
    // Nothing came of this look, and the next one can still bring it.
    postUnknown: () => ended(reservation.voidUnsent()),
    voidUnsent: () => ended(reservation.voidUnsent()),
    [Symbol.dispose]() {
      reservation[Symbol.dispose]();
      endTurn(bill, callId, false);
    },
  };
}

function countsBytes({ draw }: HoldLine): boolean {
  return draw.meter === "bytes" && ceilingOf(draw) !== null;
}
