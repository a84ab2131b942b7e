/** One call's hold in memory: ends exactly once, as posted, voided or unknown; leaving its scope ends it too. */
import type { CallId } from "../../ids.ts";
import { type Refusal, refuse } from "../../refusal.ts";
import { type Counter, remaining, settleHold } from "./counter.ts";
import type { HoldLine, PostedLine, Reservation, Settlement, Usage } from "./reservation.ts";

export type CountedLine = HoldLine & { readonly counter: Counter };

/** Whether a result can be larger than the budget carries, and is then not delivered. */
export function mayWithhold({ hard, meter, overrun }: Pick<HoldLine["draw"], "hard" | "meter" | "overrun">): boolean {
  return hard && meter === "tool_tokens" && overrun === "withhold";
}

export class HeldCall implements Reservation {
  readonly callId: CallId;
  readonly lines: readonly HoldLine[];
  readonly metersResult: boolean;
  readonly #counters: readonly Counter[];
  #state: "held" | "sent" | "ended" = "held";

  constructor(callId: CallId, lines: readonly CountedLine[]) {
    this.callId = callId;
    this.#counters = lines.map((line) => line.counter);
    this.lines = lines.map(({ draw, windowStartMs, windowEndMs, amount }) => ({ draw, windowStartMs, windowEndMs, amount }));
    this.metersResult = lines.some(({ draw }) => mayWithhold(draw));
  }

  sent(): void {
    this.#demand("held", "marked sent");
    this.#state = "sent";
  }

  post(usage: Usage): Settlement {
    this.#demand("sent", "posted");
    for (const meter of ["calls", "tool_tokens"] as const) {
      if (!Number.isSafeInteger(usage[meter]) || usage[meter] < 0) throw new RangeError(`a usage of ${usage[meter]} ${meter}`);
    }
    return this.#end("posted", (line) => usage[line.draw.meter]);
  }

  postUnknown(): Settlement {
    this.#demand("sent", "posted as unknown");
    return this.#end("unknown", (line) => line.amount);
  }

  voidUnsent(): Settlement {
    if (this.#state === "ended") this.#demand("held", "voided");
    return this.#end("voided", () => 0);
  }

  [Symbol.dispose](): void {
    if (this.#state === "held") this.voidUnsent();
    else if (this.#state === "sent") this.postUnknown();
  }

  /** Every line settles in the window of its hold, also when the period has turned since. */
  #end(state: Settlement["state"], usedOn: (line: HoldLine) => number): Settlement {
    this.#state = "ended";
    let withheld: Refusal | null = null;
    const lines: PostedLine[] = [];
    for (const [i, line] of this.lines.entries()) {
      const counter = this.#counters[i];
      if (counter === undefined) throw new Error("a line without its counter");
      const used = usedOn(line);
      const posting = settleHold(counter, line.draw, line.amount, used);
      if (posting.withheld) withheld ??= refuseResult(line, counter, used);
      lines.push({ line, posted: posting.posted, debt: posting.debt });
    }
    return { state, lines, withheld };
  }

  #demand(state: "held" | "sent", verb: string): void {
    if (this.#state !== state) throw new Error(`a hold that is ${this.#state} cannot be ${verb} (${this.callId})`);
  }
}

function refuseResult(line: HoldLine, counter: Counter, used: number): Refusal {
  return refuse("result_over_budget", {
    budget: line.draw.budget,
    meter: line.draw.meter,
    remaining: remaining(counter, counter),
    required: used,
    ...(line.windowEndMs === null ? {} : { resets_at: new Date(line.windowEndMs).toISOString() }),
  });
}
