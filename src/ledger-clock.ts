/** What a start says of the clock that budgets are counted by: that it runs ahead and what ends that, or that it was taken back. */
import type { OpenJournal } from "./call/record/journal-client.ts";
import { rfc3339 } from "./call/record/rfc3339.ts";
import type { Log } from "./observe.ts";

/** Less is what clocks of machines differ by, and is over before anybody has read of it. */
const AHEAD_MS = 3_600_000;

/** `isShared`: budgets are counted by the clock of Redis, whatever this gateway knows. */
type Said = { readonly trustClock: boolean; readonly isShared: boolean };

/** Facts for the record of the start. */
export function tellClock({ clock, openedMs }: Pick<OpenJournal, "clock" | "openedMs">, said: Said, log: Log): Record<string, string> {
  const { clockMs, latestWindowMs } = clock;
  if (said.isShared) {
    if (said.trustClock) log.warn("--trust-clock changes nothing where shared.redis is set: its clock counts");
    return {};
  }
  if (said.trustClock && latestWindowMs !== null && latestWindowMs > openedMs) {
    const windows_left_from = rfc3339(latestWindowMs);
    log.warn({ windows_left_from }, "--trust-clock: budgets go by the machine's clock again; windows that begin later are left until then");
    return { budget_clock: rfc3339(clockMs), windows_left_from };
  }
  if (clockMs - openedMs > AHEAD_MS)
    log.warn(
      { budget_clock: rfc3339(clockMs), machine_clock: rfc3339(openedMs) },
      "calls were counted in a budget window that begins after now, and go on to count there: if the machine's clock is right, " +
        "restart once with serve --trust-clock",
    );
  return {};
}
