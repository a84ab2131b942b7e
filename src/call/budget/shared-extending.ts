/** What a result needs beyond its hold: from what is set aside here, or from the shared ledger once it is open; else it is not carried. */
import { mayWithhold } from "./counter.ts";
import { change, type OwnShares, placeOf, type Share, sliceRoom } from "./own-shares.ts";
import { LedgerAway } from "./redis-link.ts";
import type { AnsweredLine, Extension } from "./shared-hold.ts";
import { changesOf, standingIn } from "./shared-words.ts";
import type { Sharing } from "./sharing.ts";

export type Extend = (lines: readonly AnsweredLine[], excess: readonly number[]) => Promise<Extension>;

/** A connection that breaks while it is asked breaks once; more often the result has waited long enough. */
const TRIES_MAX = 3;

export function createExtend(sharing: Sharing, shares: OwnShares): Extend {
  const shareOn = (line: AnsweredLine): Share => shares.at(placeOf(line));

  /** Null: it is away, or the sums are not those of all gateways. */
  async function ask(lines: readonly AnsweredLine[], excess: readonly number[]): Promise<Extension | null> {
    const touched = lines.map(shareOn);
    for (const share of touched) share.asking += 1;
    try {
      const [word, redisMs, ...rest] = await sharing.run(
        "extend",
        lines.flatMap((line, i) => changesOf(line, excess[i] ?? 0)),
      );
      sharing.clock.heard(Number(redisMs));
      if (word === "filling") return null;
      if (word === "over") return { over: Number(rest[0]) - 1, standing: standingIn(rest, 1) };
      const extended = lines.map((_, i) => Number(rest[4 * i]));
      for (const [i, share] of touched.entries()) {
        change(share, { held: extended[i] ?? 0, posted: 0, debt: 0 });
        [share.slice, share.others] = [Number(rest[4 * i + 2]), Number(rest[4 * i + 3])];
      }
      return { extended, owed: lines.map((_, i) => Number(rest[4 * i + 1])) };
    } catch (fault) {
      if (!(fault instanceof LedgerAway)) throw fault;
      return null;
    } finally {
      for (const share of touched) share.asking -= 1;
    }
  }

  /** By line, what is set aside carries of it; not while Redis could be asked, which knows of slices, too. */
  function fromSlices(lines: readonly AnsweredLine[], excess: readonly number[]): number[] {
    const spoken = new Map<Share, number>();
    return lines.map((line, i) => {
      if (sharing.isReady) return 0;
      const share = shareOn(line);
      const before = spoken.get(share) ?? 0;
      const carried = Math.min(excess[i] ?? 0, sliceRoom(share, line.draw, before));
      spoken.set(share, before + carried);
      return carried;
    });
  }

  /** All of them, or as much as there is of those that become debt beyond it. */
  function take(lines: readonly AnsweredLine[], excess: readonly number[], carried: readonly number[]): Extension {
    for (const [i, line] of lines.entries()) {
      const taken = carried[i] ?? 0;
      if (taken === 0) continue;
      const share = shareOn(line);
      share.slice -= taken;
      change(share, { held: taken, posted: 0, debt: 0 });
      shares.untold.add(share);
    }
    return { extended: carried, owed: excess.map((more, i) => more - (carried[i] ?? 0)) };
  }

  return async (lines, excess) => {
    const isCarried = (carried: readonly number[]) => carried.every((some, i) => some === (excess[i] ?? 0));
    const atOnce = fromSlices(lines, excess);
    if (isCarried(atOnce)) return take(lines, excess, atOnce);
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const answer = sharing.isReady ? await ask(lines, excess) : null;
      if (answer !== null) return answer;
      if (!(await sharing.opens())) break;
    }
    // Nobody can be asked: a result that may be withheld is, and what is delivered all the same is owed.
    const carried = fromSlices(lines, excess);
    const over = lines.findIndex(({ draw }, i) => mayWithhold(draw) && (carried[i] ?? 0) < (excess[i] ?? 0));
    return over === -1 ? take(lines, excess, carried) : { over, standing: null };
  };
}
