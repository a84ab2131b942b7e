/** The ledger of several gateways: one atomic script of Redis decides for all of them, and each gateway's journal stays the truth of its share. */
import type { CallId } from "../../ids.ts";
import { isRefusal, type Refusal, refuse } from "../../refusal.ts";
import type { Draw } from "../authorize/permit.ts";
import { usedOf } from "./counter.ts";
import { creditOver } from "./credit.ts";
import { assertWhole } from "./held-call.ts";
import { COUNTERS_MAX, type LedgerOptions, refuseHold } from "./memory-ledger.ts";
import { change, type OwnShares, placeIn, placeOf, type Share, shareOf, sliceRoom } from "./own-shares.ts";
import { LedgerAway, type Reply } from "./redis-link.ts";
import type { Adjusting, Amounts, Balance, HoldLine, Ledger } from "./reservation.ts";
import { createExtend } from "./shared-extending.ts";
import { type AnsweredLine, type Ending, SharedHold } from "./shared-hold.ts";
import { type Asked, away, hasNoCeiling, resetOf, waiting, weighed } from "./shared-weighing.ts";
import { lineOf, slotsIn, standingIn, toldLine } from "./shared-words.ts";
import type { Sharing } from "./sharing.ts";
import { createCalendar } from "./windows.ts";

export interface SharedLedger extends Ledger, Adjusting {
  balances(): Promise<readonly Balance[]>;
  /** The journal has how this call ended. */
  settled(callId: CallId): void;
  /** Whether its permit is in the journal is not known: what it held is not free before it is `settled`. */
  doubt(callId: CallId): void;
}

export type SharedLedgerParts = {
  readonly sharing: Sharing;
  readonly shares: OwnShares;
  readonly mono: () => number;
  /** Hears of each posting which thresholds are reached over all gateways, and which of them it has crossed. */
  readonly onReached: (line: HoldLine, percent: number, spent: number, isCrossing: boolean) => void;
  /** Hears of the first call that each window of a budget refuses because nothing is left, and may hear of it again. */
  readonly onExhausted?: LedgerOptions["onExhausted"];
  readonly countersMax?: number;
};

/** Counters in one Redis at once, some 500 bytes each with four gateways. */
export const SHARED_COUNTERS_MAX = 500_000;
/** In this process, as many as a ledger in memory keeps: without a limit callers would decide how much memory is used. */
const OWN_COUNTERS_MAX = COUNTERS_MAX;
/** A window that turns while it is asked for turns once; more often the clocks are beyond help. */
const TRIES_MAX = 4;
const PAGE = 1_000;

export function createSharedLedger(parts: SharedLedgerParts): SharedLedger {
  const { sharing, shares, mono, onReached, countersMax = SHARED_COUNTERS_MAX } = parts;
  const windowOf = createCalendar();
  const extend = createExtend(sharing, shares);
  const open = new Map<CallId, SharedHold>();

  const askedFor = (draws: readonly Draw[], amounts: Amounts): Asked[] => {
    const nowMs = sharing.clock.nowMs();
    return draws.map((draw) => ({ draw, window: windowOf(draw, nowMs), amount: amounts[draw.meter] ?? null }));
  };
  const shareAt = ({ draw, window }: Asked): Share =>
    shares.at({ budget: draw.budget, scope: draw.scope, windowStartMs: window.startMs, windowEndMs: window.endMs });

  function holdOf(callId: CallId, lines: readonly AnsweredLine[]): SharedHold {
    const hold: SharedHold = new SharedHold({
      callId,
      lines,
      extend: (excess) => extend(lines, excess),
      end(ending) {
        open.delete(callId);
        move(ending);
      },
    });
    if (lines.length > 0) open.set(callId, hold);
    return hold;
  }

  /** On this gateway's share at once; told as a change, or with all of the share at the next connection. */
  function move(ending: Ending): void {
    const isReady = sharing.isReady;
    for (const { line, held, posted, debt } of ending) {
      const share = shares.at(placeOf(line));
      change(share, { held: -held, posted, debt });
      if (!isReady) shares.untold.add(share);
    }
    if (isReady) void tell(ending);
  }

  async function tell(ending: Ending): Promise<void> {
    // A connection that breaks meanwhile says all of the share again.
    const reply = await sharing.run("post", ending.flatMap(toldLine)).catch(() => NOTHING);
    for (let i = 1; i < reply.length; i += 4) {
      const { line } = ending[Number(reply[i])] ?? {};
      if (line !== undefined) onReached(line, Number(reply[i + 1]), Number(reply[i + 2]), reply[i + 3] === "1");
    }
  }

  function answered(asked: readonly Asked[], reply: Reply): AnsweredLine[] {
    return asked.map((each, i) => {
      const { draw, window } = each;
      const amount = each.amount ?? 0;
      const share = shareAt(each);
      share.windowEndMs = window.endMs;
      [share.slice, share.others] = [Number(reply[5 * i + 5]), Number(reply[5 * i + 6])];
      share.usedMonoMs = mono();
      change(share, { held: amount, posted: 0, debt: 0 });
      return { draw, windowStartMs: window.startMs, windowEndMs: window.endMs, amount, standing: standingIn(reply, 5 * i + 2) };
    });
  }

  function refusalIn(asked: readonly Asked[], reply: Reply): Refusal {
    const line = asked[Number(reply[2]) - 1];
    if (line === undefined) throw new Error("the shared ledger refuses a line that was not asked for");
    const { draw, window, amount } = line;
    const why = reply[3] === "exhausted" ? "exhausted" : "insufficient";
    const resetsAtMs = resetOf(draw, window, slotsIn(draw, reply.slice(7)), amount ?? 1);
    const standing = standingIn(reply, 4);
    if (why === "exhausted") parts.onExhausted?.(draw, window.startMs, window.endMs, standing.committed + standing.debt);
    return refuseHold(why, draw, standing, amount ?? 1, resetsAtMs);
  }

  /** Null: nobody could be asked. */
  async function askHold(draws: readonly Draw[], amounts: Amounts): Promise<readonly AnsweredLine[] | Refusal | null> {
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const asked = askedFor(draws, amounts);
      const touched = asked.map(shareAt);
      if (shares.size > OWN_COUNTERS_MAX) return letGo(touched, FULL);
      for (const share of touched) share.asking += 1;
      try {
        const lines = asked.flatMap(({ draw, window, amount }) => lineOf(draw, window, amount, String(draw.lease)));
        const reply = await sharing.run("hold", [String(countersMax), ...lines]);
        if (reply[0] === "full") return FULL;
        sharing.clock.heard(Number(reply[1]));
        if (reply[0] === "held") return answered(asked, reply);
        if (reply[0] === "no") return refusalIn(asked, reply);
        if (reply[0] === "filling") return away(`the shared ledger is being filled again: ${waiting(sharing)}`);
      } catch (fault) {
        if (!(fault instanceof LedgerAway)) throw fault;
        return null;
      } finally {
        for (const share of touched) share.asking -= 1;
        letGo(touched, null);
      }
    }
    return away("the windows turn faster than they can be asked for");
  }

  /** What was only asked about leaves nothing behind. */
  function letGo<T>(touched: readonly Share[], answer: T): T {
    for (const share of touched) shares.dropEmpty(share);
    return answer;
  }

  /** What has no ceiling goes on, and so does what was set aside; all lines or none. */
  function holdAlone(callId: CallId, draws: readonly Draw[], amounts: Amounts): SharedHold | Refusal {
    const asked = askedFor(draws, amounts);
    if (shares.size > OWN_COUNTERS_MAX) return FULL;
    const taken: { readonly share: Share; readonly amount: number }[] = [];
    for (const each of asked) {
      if (hasNoCeiling(each.draw)) continue;
      const share = shareAt(each);
      const amount = each.amount ?? 0;
      const spoken = taken.reduce((sum, one) => (one.share === share ? sum + one.amount : sum), 0);
      if (sliceRoom(share, each.draw, spoken) < (each.amount ?? 1)) return letGo([share], away("the shared ledger is away"));
      taken.push({ share, amount });
    }
    for (const { share, amount } of taken) share.slice -= amount;
    const lines = asked.map((each): AnsweredLine => {
      const share = shareAt(each);
      const amount = each.amount ?? 0;
      change(share, { held: amount, posted: 0, debt: 0 });
      shares.untold.add(share);
      const { draw, window } = each;
      return { draw, windowStartMs: window.startMs, windowEndMs: window.endMs, amount, standing: { ...share } };
    });
    return holdOf(callId, lines);
  }

  return {
    async hold(callId, draws, amounts) {
      assertWhole(amounts);
      if (draws.length === 0) return holdOf(callId, []);
      await sharing.settled();
      const answer = sharing.isReady ? await askHold(draws, amounts) : null;
      if (answer === null) return holdAlone(callId, draws, amounts);
      return isRefusal(answer) ? answer : holdOf(callId, answer);
    },

    async weigh(draws, amounts) {
      if (draws.length === 0) return { refusal: null, left: [] };
      await sharing.settled();
      for (let tries = 0; sharing.isReady && tries < TRIES_MAX; tries++) {
        const asked = askedFor(draws, amounts);
        try {
          const lines = asked.flatMap(({ draw, window, amount }) => lineOf(draw, window, amount, ""));
          const reply = await sharing.ask("weigh", [sharing.gateway, ...lines]);
          if (reply[0] === "stranger") break;
          sharing.clock.heard(Number(reply[1]));
          if (reply[0] !== "turned") return weighed(asked, reply, sharing);
        } catch (fault) {
          if (!(fault instanceof LedgerAway)) throw fault;
        }
      }
      return { refusal: draws.every(hasNoCeiling) ? null : away("the shared ledger is away"), left: [] };
    },

    async balances() {
      await sharing.settled();
      const found: Balance[] = [];
      for (let offset = 0; offset < countersMax; offset += PAGE) {
        const page = await sharing.ask("counters", [String(offset), String(PAGE)]);
        for (let i = 0; i < page.length; i += 5) {
          const place = placeIn(String(page[i]), page[i + 1] === "" ? null : Number(page[i + 1]));
          if (place !== null) found.push({ ...place, ...standingIn(page, i + 2) });
        }
        if (page.length < 5 * PAGE) break;
      }
      return found;
    },

    /** Of what this gateway has posted itself: what others have is theirs to give back. */
    async plan(draw, change, amount) {
      await sharing.settled();
      // Nothing is held by 0, but the counter is there, and its window is the one of now.
      const answer = sharing.isReady ? await askHold([{ ...draw, lease: 0 }], { [draw.meter]: 0 }) : null;
      if (answer === null || isRefusal(answer)) return answer ?? away("the shared ledger is away");
      const used = answer[0] === undefined ? 0 : usedOf(answer[0].standing);
      // Beyond 2^53 - 1 a sum is no longer exact, so it is not begun.
      if (change === "debit" && amount > Number.MAX_SAFE_INTEGER - used) return null;
      const { startMs, endMs } = windowOf(draw, sharing.clock.nowMs());
      if (change === "debit") return [{ line: { draw, windowStartMs: startMs, windowEndMs: endMs, amount: 0 }, posted: 0, debt: amount }];
      const isCurrent = ({ windowStartMs, windowEndMs }: Share) =>
        draw.period !== "rolling"
          ? windowStartMs === startMs
          : windowEndMs !== null &&
            endMs !== null &&
            windowEndMs > sharing.clock.nowMs() &&
            windowEndMs - windowStartMs === endMs - startMs;
      const mine = [...shares.all()].filter((share) => shareOf(share) === shareOf(draw) && isCurrent(share));
      return creditOver(
        draw,
        mine.toSorted((a, b) => a.windowStartMs - b.windowStartMs),
        amount,
      );
    },
    apply: (adjustments) => move(adjustments.map(({ line, posted, debt }) => ({ line, held: 0, posted, debt }))),

    settled: (callId) => open.get(callId)?.tell(),
    doubt(callId) {
      const hold = open.get(callId);
      if (hold !== undefined) hold.doubtful = true;
    },
  };
}

const NOTHING: Reply = [];
const FULL: Refusal = refuse("overloaded", {}, "more budget counters than the shared ledger keeps");
