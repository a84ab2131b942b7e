/** Pure. What is said to the scripts of the shared ledger and read from their answers: whole numbers as decimal text. */
import type { Draw } from "../authorize/permit.ts";
import { type Counter, ceilingOf, mayWithhold, type Standing } from "./counter.ts";
import { shareOf } from "./own-shares.ts";
import type { HoldLine } from "./reservation.ts";
import type { Ending } from "./shared-hold.ts";
import { SLOTS, type Window } from "./windows.ts";

type Words = readonly (string | number)[];

/** One line for hold, extend and weigh. `extra` as the script takes it. */
export function lineOf(draw: Draw, { startMs, endMs }: Window, amount: number | null, extra: string): string[] {
  const slotMs = slotOf(draw, startMs, endMs);
  const turnMs = slotMs > 0 ? startMs + slotMs : endMs;
  return [
    shareOf(draw),
    String(startMs),
    textOf(endMs),
    textOf(turnMs),
    String(slotMs),
    String(slotMs > 0 ? slotMs + draw.rollingMs : 0),
    textOf(ceilingOf(draw)),
    textOf(amount),
    extra,
    "",
  ];
}

/** One line of what was used above its hold. */
export function changesOf({ draw, windowStartMs, windowEndMs }: HoldLine, excess: number): string[] {
  return lineOf(draw, { startMs: windowStartMs, endMs: windowEndMs }, excess, mayWithhold(draw) ? "w" : "");
}

/** One line of how a hold has ended. */
export function toldLine({ line, held, posted, debt }: Ending[number]): string[] {
  const { draw, windowStartMs, windowEndMs } = line;
  const slotMs = slotOf(draw, windowStartMs, windowEndMs);
  const span = slotMs > 0 ? slotMs + draw.rollingMs : 0;
  const changes = [held === 0 ? 0 : -held, posted, debt];
  return [
    shareOf(draw),
    ...[windowStartMs, slotMs, span, draw.limit].map(String),
    draw.notify.join(","),
    ...changes.map(String),
    textOf(windowEndMs),
  ];
}

/** Committed, held and debt, one after the other. */
export function standingIn(reply: Words, at: number): Standing {
  return { committed: Number(reply[at]), held: Number(reply[at + 1]), debt: Number(reply[at + 2]) };
}

/** Of a rolling window: the start of each slot and what is used in it, the newest first in the answer, the oldest first here. */
export function slotsIn(draw: Draw, words: Words): Counter[] {
  const { budget, scope, rollingMs } = draw;
  const slots: Counter[] = [];
  for (let i = 0; i + 1 < words.length; i += 2) {
    const windowStartMs = Number(words[i]);
    const windowEndMs = windowStartMs + Math.ceil(rollingMs / SLOTS) + rollingMs;
    slots.unshift({ budget, scope, windowStartMs, windowEndMs, committed: Number(words[i + 1]), held: 0, debt: 0 });
  }
  return slots;
}

function slotOf({ period, rollingMs }: Draw, startMs: number, endMs: number | null): number {
  return period === "rolling" && endMs !== null ? endMs - startMs - rollingMs : 0;
}

function textOf(value: number | null): string {
  return value === null ? "" : String(value);
}
