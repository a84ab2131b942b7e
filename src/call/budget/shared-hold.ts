/** One call's hold in the shared ledger. What leaves room for others is told only once the journal has it. */
import type { CallId } from "../../ids.ts";
import { ceilingOf, remaining, type Standing } from "./counter.ts";
import { assertWhole, bytesMax, demand, metersResult, refuseResult, unknownOn } from "./held-call.ts";
import type { Amounts, Came, HoldLine, PostedLine, Reservation, Settlement } from "./reservation.ts";

/** `standing`: of all gateways, as the hold was answered. */
export type AnsweredLine = HoldLine & { readonly standing: Readonly<Standing> };

/** By line: what was added to the hold, and what no ceiling carries; or the line that is over, with how it stands; null: nobody could say. */
export type Extension =
  | { readonly extended: readonly number[]; readonly owed: readonly number[] }
  | { readonly over: number; readonly standing: Readonly<Standing> | null };

/** How a hold ends on each line: what of it goes, what is committed, what is owed. */
export type Ending = readonly { readonly line: HoldLine; readonly held: number; readonly posted: number; readonly debt: number }[];

export type HoldParts = {
  readonly callId: CallId;
  readonly lines: readonly AnsweredLine[];
  /** One question for all lines; `excess` by line. */
  readonly extend: (excess: readonly number[]) => Promise<Extension>;
  readonly end: (ending: Ending) => void;
};

export class SharedHold implements Reservation {
  readonly callId: CallId;
  readonly lines: readonly HoldLine[];
  readonly metersResult: boolean;
  readonly bytesMax: number;
  readonly #parts: HoldParts;
  #state: "held" | "sent" | "ended" = "held";
  /** Whether its permit may be on disk although it failed: its room is not free before that is known. */
  doubtful = false;
  /** Waits for the journal; null: there is nothing (more) to tell. */
  #ending: Ending | null = null;

  constructor(parts: HoldParts) {
    this.callId = parts.callId;
    this.#parts = parts;
    this.lines = parts.lines.map(({ draw, windowStartMs, windowEndMs, amount }) => ({ draw, windowStartMs, windowEndMs, amount }));
    this.metersResult = metersResult(parts.lines);
    this.bytesMax = bytesMax(parts.lines);
  }

  sent(): void {
    demand(this.callId, this.#state, "held", "marked sent");
    this.#state = "sent";
  }

  async post(usage: Amounts, came?: Came): Promise<Settlement> {
    demand(this.callId, this.#state, "sent", "posted");
    assertWhole(usage);
    // Before anything is waited for: a hold ends once.
    this.#state = "ended";
    const used = this.#parts.lines.map(({ draw }) => usage[draw.meter] ?? 0);
    const excess = this.#parts.lines.map((line, i) => (ceilingOf(line.draw) === null ? 0 : Math.max(0, (used[i] ?? 0) - line.amount)));
    const asked: Extension = excess.some((more) => more > 0) ? await this.#parts.extend(excess) : { extended: [], owed: [] };
    if ("over" in asked) {
      const over = this.#parts.lines[asked.over];
      if (over === undefined) throw new Error("a line that was not asked about");
      const isOnce = came?.isOnce !== false;
      const ended = this.#end(isOnce ? "posted" : "voided", (line) => [isOnce ? line.amount : 0, 0, 0]);
      return { ...ended, withheld: refuseResult(over, usage, asked.standing) };
    }
    return this.#end("posted", (line, i) => {
      const [extended, owed] = [asked.extended[i] ?? 0, asked.owed[i] ?? 0];
      const posted = ceilingOf(line.draw) === null ? (used[i] ?? 0) : Math.min(used[i] ?? 0, line.amount) + extended;
      return [posted, owed, extended];
    });
  }

  postUnknown(passed: Amounts = {}): Settlement {
    demand(this.callId, this.#state, "sent", "posted as unknown");
    // Nobody is asked: what a ceiling may not carry is owed.
    const settlement = this.#end("unknown", (line) => {
      const used = unknownOn(line, passed);
      return ceilingOf(line.draw) === null ? [used, 0, 0] : [line.amount, used - line.amount, 0];
    });
    // It leaves no room for anybody, whatever becomes of the journal.
    this.tell();
    return settlement;
  }

  voidUnsent(): Settlement {
    const wasSent = this.#state === "sent";
    if (this.#state === "ended") demand(this.callId, this.#state, "held", "voided");
    const settlement = this.#end("voided", () => [0, 0, 0]);
    // What was not marked sent has no permit in the journal: after a crash nobody would charge it.
    if (!wasSent && !this.doubtful) this.tell();
    return settlement;
  }

  /** The journal has how it ended. */
  tell(): void {
    const ending = this.#ending;
    this.#ending = null;
    this.doubtful = false;
    if (ending !== null) this.#parts.end(ending);
  }

  [Symbol.dispose](): void {
    if (this.#state === "held") this.voidUnsent();
    else if (this.#state === "sent") this.postUnknown();
  }

  /** `outcome`: posted, owed, and by how much the hold was extended. */
  #end(state: Settlement["state"], outcome: (line: AnsweredLine, i: number) => readonly [number, number, number]): Settlement {
    this.#state = "ended";
    const lines: PostedLine[] = [];
    const ending: Ending[number][] = [];
    for (const [i, line] of this.lines.entries()) {
      const answered = this.#parts.lines[i];
      if (answered === undefined) throw new Error("a line without its answer");
      const [posted, debt, extended] = outcome(answered, i);
      const { committed, held, debt: owed } = answered.standing;
      const after = { committed: committed + posted, held: held - line.amount, debt: owed + debt };
      // Which thresholds were crossed is known once all gateways' postings are in one order: the ledger tells it then.
      lines.push({ line, posted, debt, spent: after.committed + after.debt, remaining: remaining(line.draw, after), crossed: NONE });
      ending.push({ line, held: line.amount + extended, posted, debt });
    }
    this.#ending = ending;
    return { state, lines, withheld: null };
  }
}

const NONE: readonly number[] = Object.freeze([]);
