/** Pure. What a call is billed as it was held: where its fate is unknown, or where its result was withheld. */
import { type Measures, namedIn } from "./measures.ts";
import type { Story } from "./story.ts";

type Held = Pick<Story, "reservation">;

/** The largest amount that was held for it on a meter; undefined: no budget of it counts that meter. */
export function heldOn({ reservation }: Held, meter: string): number | undefined {
  let held: number | undefined;
  for (const { draw, amount } of reservation?.lines ?? []) if (draw.meter === meter) held = Math.max(held ?? 0, amount);
  return held;
}

/** An event has these in columns: bytes and milliseconds as they were measured, which is known of every call. */
const IN_COLUMNS = new Set(["calls", "tool_tokens", "bytes", "duration_ms", "cost_micros"]);

/** By the names of outcomes and of further meters, so that the bill says on each what its budgets were charged. */
export function furtherHeld(story: Held): Pick<Measures, "outcomes" | "outputs"> {
  const meters = new Set(story.reservation?.lines.map(({ draw }) => draw.meter)).difference(IN_COLUMNS);
  return namedIn([...meters].map((meter) => [meter, heldOn(story, meter) ?? 0] as const).filter(([, amount]) => amount > 0));
}
