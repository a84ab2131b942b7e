/** A look at a task is held for like a call, because it may bring the result: what the task came to is posted once, and anything else is free. */
import type { CallId } from "../../ids.ts";
import type { McpRequest } from "../accept/request.ts";
import type { Permit } from "../authorize/permit.ts";
import type { Reservation, Settlement } from "./reservation.ts";
import type { Round, TaskBill } from "./rounds.ts";

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
  return task !== null && task.charged !== "success" && (method === "tasks/get" || method === "tasks/result");
}

/** Without a bill the reservation as it is. */
export function billedOnce(reservation: Reservation, bill: TaskBill | null): Reservation {
  if (bill === null) return reservation;
  return {
    callId: reservation.callId,
    lines: reservation.lines,
    metersResult: reservation.metersResult,
    // A look gives its hold back, so that nothing may pass on its account before its answer.
    bytesMax: reservation.bytesMax === Number.POSITIVE_INFINITY ? reservation.bytesMax : 0,
    sent: () => reservation.sent(),
    async post(usage, came): Promise<Settlement> {
      if (Object.values(usage).every((amount) => amount === 0)) return reservation.voidUnsent();
      // Two looks at once may both bring the result: one pays, and the others hear first whether it could. If not, each is asked for itself.
      while (bill.posting !== null) await bill.posting;
      const isSuccess = came?.kind === "result";
      if (bill.charged === "success" || (bill.charged === "error" && !isSuccess)) return reservation.voidUnsent();
      const posting = Promise.withResolvers<void>();
      bill.posting = posting.promise;
      try {
        const settlement = await reservation.post(usage);
        // What was withheld, or kept by a guard, has not been had: it is asked for, and held for, anew.
        if (settlement.withheld === null && (came?.refusal ?? null) === null) bill.charged = isSuccess ? "success" : "error";
        return settlement;
      } finally {
        bill.posting = null;
        posting.resolve();
      }
    },
    // Nothing came of this look, and the next one can still bring it.
    postUnknown: () => reservation.voidUnsent(),
    voidUnsent: () => reservation.voidUnsent(),
    [Symbol.dispose]: () => reservation[Symbol.dispose](),
  };
}
