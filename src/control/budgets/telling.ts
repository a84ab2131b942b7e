/** Tells people what a window of a budget has come to: each thing once, in the order in which it was heard of. */
import type { Draw } from "../../call/authorize/permit.ts";
import type { HoldLine } from "../../call/budget/reservation.ts";
import { lengthStartMs } from "../../call/record/compose.ts";
import { unlessAway } from "../../call/record/journal.ts";
import { RegistryAway } from "../postgres.ts";
import { createInTurn } from "./in-turn.ts";
import { isPart } from "./sub-budgets.ts";

/** `percent` 0: the first call that was refused. `lengthMs`: of a rolling window, else 0. `isCrossing` false: it was reached at an instant that nobody has seen. */
export type Telling = Pick<HoldLine, "windowStartMs" | "windowEndMs"> &
  Pick<Draw, "budget" | "scope"> & {
    readonly percent: number;
    readonly lengthMs: number;
    readonly isCrossing: boolean;
    /** Of another budget, set aside for a token. */
    readonly isPart: boolean;
  };

export type TellingParts = {
  /** Whether this gateway is the one that tells it. Where the registry is away it is: rather twice than never. */
  readonly isTeller: (telling: Telling) => Promise<boolean>;
  /** Into the journal, which has each once. */
  readonly write: (line: Omit<HoldLine, "amount">, percent: number, spent: number) => Promise<void>;
  readonly fault: (thrown: unknown) => void;
};

export type Teller = {
  tell(line: Omit<HoldLine, "amount">, percent: number, spent: number, isCrossing?: boolean): void;
  /** All that was heard of by now is told. */
  settled(): Promise<void>;
  /** The same, where it takes no longer than a moment: what is reached is told at the next start, or by another gateway. */
  close(): Promise<void>;
};

/** What was told already; whatever is forgotten here the registry and the journal still know. */
const KNOWN_MAX = 100_000;
/** A registry that hangs holds up each for seconds. */
const CLOSE_MS = 2_000;

export function createTelling({ isTeller, write, fault }: TellingParts): Teller {
  const known = new Set<string>();
  const waiting = new Set<string>();
  // One at a time: however much there is to tell, calls need the registry, too.
  const inTurn = createInTurn();
  let closed = false;
  const settled = () => inTurn(async () => {});
  const tell: Teller["tell"] = (line, percent, spent, isCrossing = true) => {
    const { budget, scope, period, rollingMs } = line.draw;
    const windowStartMs = lengthStartMs(line);
    const name = `${budget}\0${scope}\0${windowStartMs}\0${percent}`;
    const key = isCrossing ? `${name}\0crossing` : name;
    const isHeardOf = (of: string) => known.has(of) || waiting.has(of);
    if (isHeardOf(key) || isHeardOf(`${name}\0crossing`)) return;
    const telling = {
      ...{ budget, scope, windowStartMs, windowEndMs: line.windowEndMs, percent, isCrossing },
      lengthMs: period === "rolling" ? rollingMs : 0,
      isPart: isPart(budget),
    };
    waiting.add(key);
    void inTurn(async () => {
      if (closed) return;
      const isMine = await isTeller(telling).catch((thrown: unknown) => {
        if (!(thrown instanceof RegistryAway)) fault(thrown);
        return true;
      });
      // Where the journal is away it is not known, and told when it is heard of again.
      if (isMine) await write(line, percent, spent);
      if (known.size >= KNOWN_MAX) known.clear();
      known.add(key);
    })
      .catch(unlessAway)
      .catch(fault)
      .finally(() => waiting.delete(key));
  };
  return {
    tell,
    settled,
    async close() {
      const timer = setTimeout(() => {
        closed = true;
      }, CLOSE_MS);
      await settled();
      clearTimeout(timer);
    },
  };
}
