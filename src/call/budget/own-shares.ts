/** What this gateway has of each shared counter: the absolute truth, as its journal and its open calls have it, to be told anew at any time. */
import { type Limits, roomOf } from "./counter.ts";
import type { Balance, HoldLine } from "./reservation.ts";

/**
 * `held`: by calls that have not ended. `slice`: set aside beside that, for when the shared ledger is away. `others`: what all others
 * used when the slice was last spoken of.
 */
export type Share = {
  readonly budget: string;
  readonly scope: string;
  readonly windowStartMs: number;
  windowEndMs: number | null;
  committed: number;
  held: number;
  debt: number;
  slice: number;
  others: number;
  /** Holds on it that are asked for just now. */
  asking: number;
  usedMonoMs: number;
};

export type Place = Pick<Share, "budget" | "scope" | "windowStartMs" | "windowEndMs">;
export type Change = { readonly held: number; readonly posted: number; readonly debt: number };

export type OwnShares = {
  at(place: Place): Share;
  find(place: Place): Share | undefined;
  all(): IterableIterator<Share>;
  /** What the shared ledger has not been told: taken out of it by whoever tells it. */
  readonly untold: Set<Share>;
  /** From now on all of it is untold. */
  tellAll(): void;
  /** Forgets what ended before that instant, and nobody holds. */
  sweep(endedBeforeMs: number): void;
  /** Forgets it where there is nothing of it: callers may not decide how much memory is used. */
  dropEmpty(share: Share): void;
  readonly size: number;
  /** Windows that had ended by then may be in the journal alone. */
  readonly sinceMs: number;
  /** The start of the latest window that began no later. */
  latestMs(untilMs: number): number;
  /** What the journal has of windows that end after an earlier instant. What is known here already is newer. */
  load(balances: readonly Balance[], sinceMs: number): void;
};

/** `initial`: what the journal has of windows that end after `initialSinceMs`. */
export function createOwnShares(initial: readonly Balance[], initialSinceMs = 0): OwnShares {
  let sinceMs = initialSinceMs;
  const shares = new Map<string, Share>();
  const untold = new Set<Share>();
  const at = ({ budget, scope, windowStartMs, windowEndMs }: Place): Share => {
    const name = nameOf({ budget, scope, windowStartMs });
    const known = shares.get(name);
    if (known !== undefined) return known;
    const nothing = { committed: 0, held: 0, debt: 0, slice: 0, others: 0, asking: 0, usedMonoMs: 0 };
    const made = { budget, scope, windowStartMs, windowEndMs, ...nothing };
    shares.set(name, made);
    return made;
  };
  // What was held is settled when a gateway starts: its calls have ended, or their fate is unknown and posted.
  const add = (balance: Balance) => Object.assign(at(balance), { committed: balance.committed, debt: balance.debt });
  initial.forEach(add);
  return {
    at,
    find: (place) => shares.get(nameOf(place)),
    all: () => shares.values(),
    untold,
    tellAll() {
      for (const share of shares.values()) untold.add(share);
    },
    sweep(endedBeforeMs) {
      sinceMs = Math.max(sinceMs, endedBeforeMs);
      for (const [name, { windowEndMs, held, asking }] of shares)
        if (windowEndMs !== null && windowEndMs < endedBeforeMs && held === 0 && asking === 0) shares.delete(name);
    },
    dropEmpty(share) {
      const { committed, held, debt, slice, asking } = share;
      if (committed === 0 && held === 0 && debt === 0 && slice === 0 && asking === 0 && !untold.has(share)) shares.delete(nameOf(share));
    },
    get size() {
      return shares.size;
    },
    get sinceMs() {
      return sinceMs;
    },
    latestMs(untilMs) {
      let latest = 0;
      for (const { windowStartMs } of shares.values()) if (windowStartMs <= untilMs) latest = Math.max(latest, windowStartMs);
      return latest;
    },
    load(balances, earlierMs) {
      for (const balance of balances) if (!shares.has(nameOf(balance))) add(balance);
      sinceMs = Math.min(sinceMs, earlierMs);
    },
  };
}

export function change(share: Share, { held, posted, debt }: Change): void {
  share.held += held;
  share.committed += posted;
  share.debt += debt;
}

/** What may be taken of its slice beside `spoken`: none of it beyond a limit that was lowered below what is known to be used. */
export function sliceRoom({ slice, others, committed, held, debt }: Share, limits: Limits, spoken: number): number {
  return Math.max(0, Math.min(slice, roomOf(limits, { committed: committed + others, held, debt })) - spoken);
}

/** No name of a budget holds a NUL, and no number does: no two counters have one name, whatever a scope holds. */
export function nameOf({ budget, scope, windowStartMs }: Omit<Place, "windowEndMs">): string {
  return `${shareOf({ budget, scope })}\0${windowStartMs}`;
}

export function shareOf({ budget, scope }: { readonly budget: string; readonly scope: string }): string {
  return `${budget}\0${scope}`;
}

/** The counter that a name means; null where it is none of ours. */
export function placeIn(name: string, windowEndMs: number | null): Place | null {
  const first = name.indexOf("\0");
  const last = name.lastIndexOf("\0");
  const windowStartMs = Number(name.slice(last + 1));
  if (first === -1 || last === first || !Number.isSafeInteger(windowStartMs)) return null;
  return { budget: name.slice(0, first), scope: name.slice(first + 1, last), windowStartMs, windowEndMs };
}

export function placeOf({ draw, windowStartMs, windowEndMs }: HoldLine): Place {
  return { budget: draw.budget, scope: draw.scope, windowStartMs, windowEndMs };
}
