/** One call's hold in memory: ends exactly once, as posted, voided or unknown; leaving its scope ends it too. */
import type { CallId } from "../../ids.ts";
import { type Refusal, refuse } from "../../refusal.ts";
import { type Counter, crossedBy, extensionOf, mayWithhold, remaining, roomOf, type Standing } from "./counter.ts";
import type { Amounts, Came, HoldLine, PostedLine, Reservation, Settlement } from "./reservation.ts";

/** `standing`: all that counts against the limit now, which is more than this counter where the window rolls. */
export type CountedLine = HoldLine & { readonly counter: Counter; readonly standing: () => Readonly<Standing> };

export class HeldCall implements Reservation {
  readonly callId: CallId;
  readonly lines: readonly HoldLine[];
  readonly metersResult: boolean;
  readonly bytesMax: number;
  readonly #counted: readonly CountedLine[];
  readonly #ended: () => void;
  #state: "held" | "sent" | "ended" = "held";

  constructor(callId: CallId, counted: readonly CountedLine[], ended: () => void) {
    this.callId = callId;
    this.#ended = ended;
    this.#counted = counted;
    this.lines = counted.map(({ draw, windowStartMs, windowEndMs, amount }) => ({ draw, windowStartMs, windowEndMs, amount }));
    this.metersResult = metersResult(counted);
    this.bytesMax = bytesMax(counted);
  }

  sent(): void {
    demand(this.callId, this.#state, "held", "marked sent");
    this.#state = "sent";
  }

  post(usage: Amounts, came?: Came): Settlement {
    demand(this.callId, this.#state, "sent", "posted");
    assertWhole(usage);
    const over = this.#counted.find((line) => isOver(line, usage, line.standing()));
    if (over === undefined) return this.#end("posted", (line) => usage[line.draw.meter] ?? 0);
    const withheld = refuseResult(over, usage, over.standing());
    const ended = came?.isOnce === false ? this.#end("voided", () => 0) : this.#end("posted", (line) => line.amount);
    return { ...ended, withheld };
  }

  postUnknown(passed: Amounts = {}): Settlement {
    demand(this.callId, this.#state, "sent", "posted as unknown");
    return this.#end("unknown", (line) => unknownOn(line, passed));
  }

  voidUnsent(): Settlement {
    if (this.#state === "ended") demand(this.callId, this.#state, "held", "voided");
    return this.#end("voided", () => 0);
  }

  [Symbol.dispose](): void {
    if (this.#state === "held") this.voidUnsent();
    else if (this.#state === "sent") this.postUnknown();
  }

  /** Every line settles in the window of its hold, also when the period has turned since. */
  #end(state: Settlement["state"], usedOn: (line: HoldLine) => number): Settlement {
    this.#state = "ended";
    const lines: PostedLine[] = [];
    for (const [i, counted] of this.#counted.entries()) {
      const line = this.lines[i];
      if (line === undefined) throw new Error("a counter without its line");
      const { draw, counter, amount } = counted;
      const used = usedOn(line);
      const before = counted.standing();
      const spent = before.committed + before.debt;
      const { extended, owed } = extensionOf(draw, before, Math.max(0, used - amount));
      // What was held has been carried once, however the limit has changed since.
      counter.held -= amount;
      const posted = Math.min(used, amount) + extended;
      counter.committed += posted;
      counter.debt += owed;
      const left = remaining(draw, counted.standing());
      const spentNow = spent + posted + owed;
      lines.push({ line, posted, debt: owed, spent: spentNow, remaining: left, crossed: crossedBy(draw, spent, spentNow) });
    }
    this.#ended();
    return { state, lines, withheld: null };
  }
}

/** The hold, or what has passed where that is more: only a budget that withholds stops it at the hold. */
export function unknownOn({ draw, amount }: HoldLine, passed: Amounts): number {
  return mayWithhold(draw) ? amount : Math.max(amount, passed[draw.meter] ?? 0);
}

export function bytesMax(lines: readonly HoldLine[]): number {
  const held = lines.filter(({ draw }) => draw.meter === "bytes" && mayWithhold(draw)).map(({ amount }) => amount);
  return Math.min(Number.POSITIVE_INFINITY, ...held);
}

export function metersResult(lines: readonly HoldLine[]): boolean {
  return lines.some(({ draw }) => mayWithhold(draw));
}

/** Whether the use is more than the hold, and a budget that withholds results cannot carry what is more. */
export function isOver({ draw, amount }: HoldLine, usage: Amounts, standing: Readonly<Standing>): boolean {
  const excess = (usage[draw.meter] ?? 0) - amount;
  return excess > 0 && mayWithhold(draw) && excess > roomOf(draw, standing);
}

/** `standing` null: nobody could say, in time, what is left. */
export function refuseResult({ draw, amount, windowEndMs }: HoldLine, usage: Amounts, standing: Readonly<Standing> | null): Refusal {
  const hint = draw.hint ?? (standing === null ? UNASKED : undefined);
  const facts = {
    budget: draw.budget,
    meter: draw.meter,
    ...(standing === null ? {} : { remaining: roomOf(draw, standing) }),
    required: (usage[draw.meter] ?? 0) - amount,
    ...(windowEndMs === null ? {} : { resets_at: new Date(windowEndMs).toISOString() }),
    ...(hint === undefined ? {} : { hint }),
  };
  return refuse("result_over_budget", facts, standing === null ? "the shared ledger could not be asked in time" : null);
}

const UNASKED = "The shared budget ledger could not be asked: whether enough is left is not known.";

export function assertWhole(amounts: Amounts): void {
  for (const [meter, amount] of Object.entries(amounts))
    if (!Number.isSafeInteger(amount) || amount < 0) throw new RangeError(`${amount} ${meter} is no whole amount`);
}

/** A hold ends once, whatever goes wrong around it. */
export function demand(callId: CallId, state: "held" | "sent" | "ended", wanted: "held" | "sent", verb: string): void {
  if (state !== wanted) throw new Error(`a hold that is ${state} cannot be ${verb} (${callId})`);
}
