/** Every record whose words are gone must be named by a tombstone: a purge that nobody tells of is a deletion. */
import { rangesIn } from "./purge.ts";
import type { Complain } from "./verify.ts";

/** Keeps the ranges that are gone and the ones that tombstones name. */
export function createPurgeCheck(complain: Complain) {
  const gone: [number, number][] = [];
  const told: [number, number][] = [];
  const toldLater: [number, number][] = [];
  return {
    /** In ascending order. */
    purged(from: number, to: number): void {
      const last = gone.at(-1);
      if (last !== undefined && last[1] + 1 === from) last[1] = to;
      else gone.push([from, to]);
    },
    /** `later`: what it tells of may have been read before. */
    tombstone(sequence: number, sequences: string, later = false): void {
      const ranges = rangesIn(sequences);
      if (ranges === null) complain(sequence, `record ${sequence}: it does not say what was purged`);
      else (later ? toldLater : told).push(...ranges);
    },
    end(): void {
      const named = merged([...told, ...toldLater]);
      for (const [from, to] of gone) {
        let at = from;
        for (const [low, high] of named) if (low <= at && high >= at) at = high + 1;
        if (at <= to) complain(at, `record ${at} is purged, and no record tells of it`);
      }
      for (const range of merged(told)) {
        if (!gone.some(([from, to]) => from <= range[0] && to >= range[1]))
          complain(null, `records ${range[0]} to ${range[1]} are said to be purged, and not all of them are`);
      }
    },
  };
}

function merged(ranges: readonly [number, number][]): [number, number][] {
  const all: [number, number][] = [];
  for (const [from, to] of ranges.toSorted((a, b) => a[0] - b[0])) {
    const last = all.at(-1);
    if (last !== undefined && last[1] + 1 >= from) last[1] = Math.max(last[1], to);
    else all.push([from, to]);
  }
  return all;
}
