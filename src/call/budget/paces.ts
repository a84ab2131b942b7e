/** Pure. The counters of all limits: what a call would meet, and all that it takes or nothing. */
import type { Limit, Pace, Rate } from "../authorize/permit.ts";
import { type Bucket, delayMs, fill, fullBucket, isFull, take, tokensIn } from "./bucket.ts";
import { COUNTER_BOUNDS, createRoom, type RoomBounds } from "./room.ts";

/** One limit's count for one scope. `Turn`: what waits for it, the first in front. */
export type Counter<Turn> = {
  readonly key: string;
  /** Who made it. */
  readonly owner: string;
  limit: Limit;
  /** Of each rate, in its order; behind them those of rates that an earlier limit had. */
  buckets: readonly Bucket[];
  underWay: number;
  readonly turns: Turn[];
};

/** What of its limits a call takes: a retry, which runs nothing, takes its rates; one whose call runs after all takes its places then. */
export type Part = "all" | "rates" | "places";

/** A limit that does not let the call pass now. `delayMs`: how long until it may; of a place nobody knows, and it is 0. */
export type Blocked<Turn> = {
  readonly reason: "rate_limited" | "concurrency_limited";
  readonly pace: Pace;
  readonly counter: Counter<Turn>;
  readonly delayMs: number;
};

/** What is left of one rate, or of the places. */
export type LeftOf = {
  readonly limit: Limit;
  /** Null: of the places. */
  readonly rate: Rate | null;
  readonly left: number;
  /** Until one more is there, or until all are where some are left; null where nobody knows. */
  readonly resetMs: number | null;
};

export type Paces<Turn> = {
  /** The counters of a call, in its order; null: there is no room for a new one. */
  countersOf(paces: readonly Pace[], owner: string, nowMs: number): readonly Counter<Turn>[] | null;
  leftOf(paces: readonly Pace[], nowMs: number): readonly LeftOf[];
  /** Forgets what says nothing: full buckets, nothing under way, nobody waiting. Returns how many. */
  sweep(nowMs: number): number;
  readonly size: number;
};

/** A sweep of all counters takes some 10 ms. */
const SWEEP_PAUSE_MS = 1_000;

export function createPaces<Turn>(bounds: RoomBounds = COUNTER_BOUNDS): Paces<Turn> {
  const counters = new Map<string, Counter<Turn>>();
  const room = createRoom(bounds);
  let sweptAtMs = Number.NEGATIVE_INFINITY;

  function sweep(nowMs: number): number {
    sweptAtMs = nowMs;
    let forgotten = 0;
    for (const counter of counters.values()) {
      if (!saysNothing(counter, nowMs)) continue;
      counters.delete(counter.key);
      room.gone(counter.owner);
      forgotten++;
    }
    return forgotten;
  }

  function fits(paces: readonly Pace[], owner: string): boolean {
    const missing = paces.reduce((count, { key }) => count + (counters.has(key) ? 0 : 1), 0);
    return room.fits(owner, missing);
  }

  /** Before any of a call's counters is looked up: what makes room may forget one of them that is full. */
  function hasRoom(paces: readonly Pace[], owner: string, nowMs: number): boolean {
    if (fits(paces, owner)) return true;
    if (nowMs - sweptAtMs < SWEEP_PAUSE_MS) return false;
    sweep(nowMs);
    return fits(paces, owner);
  }

  function counterFor({ limit, key }: Pace, owner: string, nowMs: number): Counter<Turn> {
    const known = counters.get(key);
    if (known !== undefined) return adapt(known, limit, nowMs);
    const buckets = limit.rates.map((rate) => fullBucket(rate, nowMs));
    const made: Counter<Turn> = { key, owner, limit, buckets, underWay: 0, turns: [] };
    counters.set(key, made);
    room.made(owner);
    return made;
  }

  return {
    countersOf: (paces, owner, nowMs) => (hasRoom(paces, owner, nowMs) ? paces.map((pace) => counterFor(pace, owner, nowMs)) : null),
    leftOf: (paces, nowMs) => paces.flatMap(({ limit, key }) => leftIn(counters.get(key), limit, nowMs)),
    sweep,
    get size() {
      return counters.size;
    },
  };
}

/** The first limit that blocks, each of them, in the order given; `isNext`: whose turn it is where others wait. */
export function blockedBy<Turn>(
  paces: readonly Pace[],
  counters: readonly Counter<Turn>[],
  isNext: (counter: Counter<Turn>) => boolean,
  part: Part,
): Blocked<Turn>[] {
  return paces.flatMap((pace, i): Blocked<Turn>[] => {
    const counter = counters[i];
    const rates = part === "places" ? [] : pace.limit.rates;
    const concurrent = part === "rates" ? null : pace.limit.concurrent;
    if (counter === undefined || (rates.length === 0 && concurrent === null)) return [];
    const ahead = isNext(counter) ? 0 : counter.turns.length;
    const waitMs = Math.max(0, ...rates.map((rate, at) => waitIn(counter.buckets[at], rate, ahead + 1)));
    if (waitMs > 0) return [{ reason: "rate_limited", pace, counter, delayMs: waitMs }];
    if (concurrent !== null && counter.underWay + ahead >= concurrent)
      return [{ reason: "concurrency_limited", pace, counter, delayMs: 0 }];
    // Nobody overtakes: who came first may be held back by another limit for a moment. A retry leaves the tokens of those ahead.
    if (ahead > 0 && part !== "rates")
      return [{ reason: rates.length > 0 ? "rate_limited" : "concurrency_limited", pace, counter, delayMs: 1 }];
    return [];
  });
}

function waitIn(bucket: Bucket | undefined, rate: Rate, tokens: number): number {
  return bucket === undefined ? 0 : delayMs(bucket, rate, tokens);
}

/** A token of every rate and a place of every limit that counts them. Only where nothing blocks. */
export function takeAll(paces: readonly Pace[], counters: readonly Counter<unknown>[], part: Part): void {
  for (const [i, counter] of counters.entries()) {
    if (part !== "places") for (const bucket of counter.buckets.slice(0, paces[i]?.limit.rates.length)) take(bucket);
    if (part !== "rates") counter.underWay += 1;
  }
}

/** What the newest policies say counts from now on. */
function adapt<Turn>(counter: Counter<Turn>, limit: Limit, nowMs: number): Counter<Turn> {
  if (counter.limit !== limit) counter.buckets = bucketsFor(counter.buckets, limit.rates, nowMs);
  counter.limit = limit;
  for (const [i, rate] of limit.rates.entries()) {
    const bucket = counter.buckets[i];
    if (bucket !== undefined) fill(bucket, rate, nowMs);
  }
  return counter;
}

/** A call that waited over a reload still brings the limit of before: what it does not name is not lost. */
const SPARE_MAX = 2;

/** A rate goes on with the bucket of its window, wherever that stood in the list; where no rate had it, with one that nobody else goes on with. */
function bucketsFor(known: readonly Bucket[], rates: readonly Rate[], nowMs: number): readonly Bucket[] {
  const left = [...known];
  const own = rates.map(({ perMs }) => {
    const at = left.findIndex((bucket) => bucket.perMs === perMs);
    return at < 0 ? undefined : left.splice(at, 1)[0];
  });
  const all = rates.map((rate, i) => own[i] ?? left.shift() ?? fullBucket(rate, nowMs));
  return [...all, ...left.slice(0, SPARE_MAX)];
}

function saysNothing({ limit, buckets, underWay, turns }: Counter<unknown>, nowMs: number): boolean {
  if (underWay > 0 || turns.length > 0) return false;
  return limit.rates.every((rate, i) => {
    const bucket = buckets[i];
    if (bucket === undefined) return true;
    fill(bucket, rate, nowMs);
    return isFull(bucket, rate);
  });
}

/** Looked at, and nothing changed: not even a counter is made. */
function leftIn(counter: Counter<unknown> | undefined, limit: Limit, nowMs: number): LeftOf[] {
  const buckets = bucketsFor(counter?.buckets ?? [], limit.rates, nowMs);
  const ofRates = limit.rates.map((rate, i): LeftOf => {
    const bucket = { ...(buckets[i] ?? fullBucket(rate, nowMs)) };
    fill(bucket, rate, nowMs);
    const left = tokensIn(bucket);
    return { limit, rate, left, resetMs: delayMs(bucket, rate, left === 0 ? 1 : rate.burst) };
  });
  if (limit.concurrent === null) return ofRates;
  return [...ofRates, { limit, rate: null, left: Math.max(0, limit.concurrent - (counter?.underWay ?? 0)), resetMs: null }];
}
