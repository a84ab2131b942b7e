/** The reference that ledgers are held to: no counters, only a list of holds that is summed anew for each question. */
import type { Draw } from "../../src/call/authorize/permit.ts";
import type { Usage } from "../../src/call/budget/reservation.ts";

export type Entry = {
  budget: string;
  startMs: number;
  endMs: number;
  open: boolean;
  sent: boolean;
  amount: number;
  committed: number;
  debt: number;
};
export type Sums = { committed: number; held: number; debt: number };
const HOUR_MS = 3_600_000;
const LENGTH_MS: Record<string, number> = { hour: HOUR_MS, day: 24 * HOUR_MS };

export class Model {
  entries: Entry[] = [];
  clockMs = 0;

  window({ period, rollingMs }: Draw): { startMs: number; endMs: number } {
    const slot = period === "rolling" ? Math.ceil(rollingMs / 60) : (LENGTH_MS[period] ?? Number.POSITIVE_INFINITY);
    const startMs = slot === Number.POSITIVE_INFINITY ? 0 : Math.floor(this.clockMs / slot) * slot;
    return { startMs, endMs: startMs + slot + rollingMs };
  }
  sums(counts: (entry: Entry) => boolean): Sums {
    const total = (pick: (entry: Entry) => number) => this.entries.reduce((sum, entry) => sum + (counts(entry) ? pick(entry) : 0), 0);
    return { committed: total((e) => e.committed), held: total((e) => (e.open ? e.amount : 0)), debt: total((e) => e.debt) };
  }
  room(draw: Draw, { startMs, endMs }: { startMs: number; endMs: number }): number {
    const counts = (e: Entry) =>
      e.budget === draw.budget &&
      (draw.period === "rolling" ? e.endMs > this.clockMs && e.endMs - e.startMs === endMs - startMs : e.startMs === startMs);
    const { committed, held, debt } = this.sums(counts);
    const ceiling = draw.hard ? draw.limit : draw.overage === null ? Number.POSITIVE_INFINITY : draw.limit + draw.overage;
    return Math.max(0, ceiling - committed - held - debt);
  }
  reserve(draws: readonly Draw[], usage: Usage, nowMs: number): Entry[] | { budget: string; reason: string } {
    this.clockMs = Math.max(this.clockMs, nowMs);
    for (const draw of draws) {
      const room = this.room(draw, this.window(draw));
      if (room < (usage[draw.meter] ?? 0)) return { budget: draw.budget, reason: room < 1 ? "budget_exhausted" : "budget_insufficient" };
    }
    const fresh = { open: true, sent: false, committed: 0, debt: 0 };
    const made = draws.map((draw) => ({ ...fresh, budget: draw.budget, ...this.window(draw), amount: usage[draw.meter] ?? 0 }));
    this.entries.push(...made);
    return made;
  }
  /** True: withheld, so that the hold is the charge on every budget. */
  end(rows: readonly Entry[], draws: readonly Draw[], usage: Usage | "unknown" | "void"): boolean {
    const pairs = rows.map((row, i) => ({ row, draw: draws[i] as Draw }));
    const usedOn = ({ row, draw }: (typeof pairs)[number]) =>
      usage === "void" ? 0 : usage === "unknown" ? row.amount : (usage[draw.meter] ?? 0);
    const withheld = pairs.some(
      (pair) => pair.draw.overrun === "withhold" && usedOn(pair) - pair.row.amount > this.room(pair.draw, pair.row),
    );
    for (const pair of pairs) {
      const used = withheld ? pair.row.amount : usedOn(pair);
      const extended = Math.min(Math.max(0, used - pair.row.amount), this.room(pair.draw, pair.row));
      Object.assign(pair.row, { open: false, committed: Math.min(used, pair.row.amount) + extended });
      pair.row.debt = used - pair.row.committed;
    }
    return withheld;
  }
  /** What was sent is charged as held, what was not is free; the clock is what the open windows say. */
  crash(nowMs: number, keepsClock: boolean): void {
    for (const entry of this.entries) if (entry.open) Object.assign(entry, { open: false, committed: entry.sent ? entry.amount : 0 });
    const starts = this.entries.filter(({ endMs, committed, debt }) => endMs > nowMs && committed + debt > 0).map(({ startMs }) => startMs);
    if (!keepsClock) this.clockMs = Math.max(nowMs, ...starts);
  }
}
