/** Finds the counters that reported usage draws on, and tells the ledger what the journal has of it. */
import type { PolicySet } from "../../call/authorize/candidates.ts";
import { drawsOfReport, type ReportedUse } from "../../call/authorize/reported-draws.ts";
import { LedgerAway } from "../../call/budget/redis-link.ts";
import type { Adjusting, Adjustment, HoldLine } from "../../call/budget/reservation.ts";
import { createCalendar } from "../../call/budget/windows.ts";
import type { InTurn } from "./in-turn.ts";

export type ReportedDrawing = {
  /**
   * In the windows of that time (null: now) which have not ended: one that is over stays as it was. The present is the ledger's, not this
   * machine's. Throws `LedgerAway` where that is not known yet.
   */
  placesOf(use: ReportedUse, atMs: number | null): readonly HoldLine[];
  /** Once it is durable. */
  posted(lines: readonly Adjustment[]): void;
  readonly inTurn: InTurn;
};

type Draws = ReturnType<typeof drawsOfReport>;
/** Reports of a batch are of few agents and places; what is forgotten is found again. */
const KEPT_MAX = 10_000;

/** `nowMs`: the present that windows go by; null: not known yet. */
type Counting = Pick<Adjusting, "apply"> & { nowMs(): number | null };

export function createReportedDrawing(policySet: () => PolicySet, ledger: Counting, inTurn: InTurn): ReportedDrawing {
  const windowOf = createCalendar();
  let kept = new Map<string, Draws>();
  let keptOf: PolicySet | null = null;
  let meters: ReadonlySet<string> = new Set();
  const drawsOf = (use: ReportedUse): Draws => {
    const now = policySet();
    if (now !== keptOf || kept.size >= KEPT_MAX) [kept, keptOf, meters] = [new Map(), now, metersOf(now)];
    if (!meters.has(use.meter)) return NONE;
    const key = JSON.stringify(Object.values(use));
    const known = kept.get(key) ?? drawsOfReport(now, use);
    kept.set(key, known);
    return known;
  };
  return {
    placesOf(use, atMs) {
      const draws = drawsOf(use);
      if (draws.length === 0) return NO_PLACES;
      const nowMs = ledger.nowMs();
      if (nowMs === null) throw new LedgerAway("the shared ledger is away, and what time it is there is not known yet");
      // A reporter's clock that is ahead opens no window before its time.
      const whenMs = Math.min(atMs ?? nowMs, nowMs);
      return draws.flatMap((draw) => {
        const { startMs, endMs } = windowOf(draw, whenMs);
        return endMs !== null && endMs <= nowMs ? [] : [{ draw, windowStartMs: startMs, windowEndMs: endMs, amount: 0 }];
      });
    },
    posted: (lines) => ledger.apply(lines),
    inTurn,
  };
}

const NONE: Draws = [];
const NO_PLACES: readonly HoldLine[] = [];

function metersOf({ budgets }: PolicySet): ReadonlySet<string> {
  return new Set(budgets.map(({ draw }) => draw.meter));
}
