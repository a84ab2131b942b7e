/** Pure. The meters of a call that the central ledger has columns for, and the sums of an hour as the journal's own side makes them. */
import type { Amount, QUANTITIES as Quantities } from "../record/rows.ts";
import type { HourSums } from "../record/usage-hours.ts";

/** The type says that they are the journal's own, in its order. */
export const QUANTITIES: typeof Quantities = [
  ...(["calls", "tool_tokens", "input_tokens", "output_tokens", "bytes_in", "bytes_out", "duration_ms"] as const),
];

type Columns = Readonly<Record<(typeof QUANTITIES)[number], number>>;

export function hourSums(events: number, columns: Columns, further: readonly Amount[]): HourSums {
  const { calls, tool_tokens, bytes_in, bytes_out, duration_ms } = columns;
  const amounts = [...QUANTITIES.map((name): Amount => [name, columns[name]]), ...further].filter(([, amount]) => amount !== 0);
  const meters = Object.fromEntries(amounts.sort(([a], [b]) => (a < b ? -1 : 1)));
  return { events, calls, tool_tokens, bytes: bytes_in + bytes_out, duration_ms, meters };
}
