/** Finds the counters that reported usage draws on, and tells the ledger what the journal has of it. */
import type { PolicySet } from "../../call/authorize/candidates.ts";
import { drawsOfReport, type ReportedUse } from "../../call/authorize/reported-draws.ts";
import type { Adjusting, Adjustment, HoldLine } from "../../call/budget/reservation.ts";
import { createCalendar } from "../../call/budget/windows.ts";
import type { InTurn } from "./in-turn.ts";

export type ReportedDrawing = {
  /** In the windows of that time which have not ended: one that is over stays as it was. */
  placesOf(use: ReportedUse, atMs: number, nowMs: number): readonly HoldLine[];
  /** Once it is durable. */
  posted(lines: readonly Adjustment[]): void;
  readonly inTurn: InTurn;
};

type Draws = ReturnType<typeof drawsOfReport>;
/** Reports of a batch are of few agents and places; what is forgotten is found again. */
const KEPT_MAX = 10_000;

export function createReportedDrawing(policySet: () => PolicySet, ledger: Pick<Adjusting, "apply">, inTurn: InTurn): ReportedDrawing {
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
    placesOf(use, atMs, nowMs) {
      // A reporter's clock that is ahead opens no window before its time.
      const whenMs = Math.min(atMs, nowMs);
      return drawsOf(use).flatMap((draw) => {
        const { startMs, endMs } = windowOf(draw, whenMs);
        return endMs !== null && endMs <= nowMs ? [] : [{ draw, windowStartMs: startMs, windowEndMs: endMs, amount: 0 }];
      });
    },
    posted: (lines) => ledger.apply(lines),
    inTurn,
  };
}

const NONE: Draws = [];

function metersOf({ budgets }: PolicySet): ReadonlySet<string> {
  return new Set(budgets.map(({ draw }) => draw.meter));
}
