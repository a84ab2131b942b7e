/** Lets calls pass their limits: at once, after waiting for their turn, or not; and takes back each place when its call ends. */
import type { CallId } from "../../ids.ts";
import type { Pace } from "../authorize/permit.ts";
import { type Blocked, blockedBy, type Counter, createPaces, type LeftOf, type Part, takeAll } from "./paces.ts";
import type { RoomBounds } from "./room.ts";

/** Why a call may not pass. `full`: no room for its counters. `left`: its client has gone. `closing`: the gateway takes no more. */
export type NoTurn =
  | { readonly no: "blocked"; readonly pace: Pace; readonly reason: Blocked<unknown>["reason"]; readonly retryAfterMs: number }
  | { readonly no: "full" | "left" | "closing" | "loop" };

export type Asking = {
  readonly callId: CallId;
  readonly owner: string;
  readonly paces: readonly Pace[];
  readonly part: Part;
  /** False: it passes now or not at all. */
  readonly mayWait: boolean;
  /** Looked at each time before anything is taken: true ends it. */
  readonly isLoop: () => boolean;
  /** In the moment in which it passes. */
  readonly passes: () => void;
  /** Aborts when the client has gone. Asked for only where the call waits. */
  readonly gone: () => AbortSignal;
};

export type Turns = {
  /** Null: it passes, and holds its places until `leave`. */
  take(asking: Asking): NoTurn | null | Promise<NoTurn | null>;
  /** The call has ended. What has no place has nothing to leave. */
  leave(callId: CallId): void;
  leftOf(paces: readonly Pace[]): readonly LeftOf[];
  /** Calls that wait now. */
  readonly waiting: number;
  sweep(): void;
  /** Ends all waiting: from now on nothing waits. */
  close(): void;
};

/** Waiting for one counter: what comes later would hardly be let in before its client gives up. */
const QUEUE_MAX = 128;
/** Of one agent, and in all: each holds its request's body. */
const AGENT_WAITING_MAX = 128;
const WAITING_MAX = 1_024;
/** A place is free when somebody leaves, which nobody knows before: soon enough to ask again. */
const PLACE_RETRY_MS = 1_000;

type Turn = {
  readonly asking: Asking;
  readonly sinceMs: number;
  /** In whose line it stands. */
  at: Counter<Turn>;
  late: NodeJS.Timeout | undefined;
  readonly end: (verdict: NoTurn | null) => void;
};

export function createTurns(mono: () => number, waited: (waitedMs: number, passed: boolean) => void, bounds?: RoomBounds): Turns {
  const paces = createPaces<Turn>(bounds);
  const held = new Map<CallId, readonly Counter<Turn>[]>();
  const timers = new Map<Counter<Turn>, NodeJS.Timeout>();
  const waitingOf = new Map<string, number>();
  const waiting = new Set<Turn>();
  let closed = false;
  const nowMs = () => Math.floor(mono());

  /** Takes everything or nothing. */
  function attempt(asking: Asking, turn: Turn | null): NoTurn | readonly Blocked<Turn>[] | null {
    if (asking.isLoop()) return { no: "loop" };
    const counters = paces.countersOf(asking.paces, asking.owner, nowMs());
    if (counters === null) return { no: "full" };
    const blocked = blockedBy(asking.paces, counters, (counter) => counter.turns.length === 0 || counter.turns[0] === turn, asking.part);
    if (blocked.length > 0) return blocked;
    takeAll(asking.paces, counters, asking.part);
    if (asking.part !== "rates") held.set(asking.callId, counters);
    asking.passes();
    return null;
  }

  /** The first of the limits for which it cannot wait long enough; null: it may wait. */
  function tooLong(blocked: readonly Blocked<Turn>[], sinceMs: number): Blocked<Turn> | null {
    const left = ({ pace }: Blocked<Turn>) => sinceMs + pace.limit.waitMs - nowMs();
    return blocked.find((each) => left(each) <= 0 || each.delayMs > left(each)) ?? null;
  }

  function take(asking: Asking): NoTurn | null | Promise<NoTurn | null> {
    const tried = attempt(asking, null);
    if (tried === null || "no" in tried) return tried;
    const [first] = tried;
    if (first === undefined) return null;
    const sinceMs = nowMs();
    const own = waitingOf.get(asking.owner) ?? 0;
    const hasRoom = first.counter.turns.length < QUEUE_MAX && own < AGENT_WAITING_MAX && waiting.size < WAITING_MAX;
    if (!asking.mayWait || closed || !hasRoom || tooLong(tried, sinceMs) !== null) return refusing(tried, tooLong(tried, sinceMs) ?? first);
    return new Promise((resolve) => wait(asking, tried, first, resolve));
  }

  function wait(asking: Asking, blocked: readonly Blocked<Turn>[], first: Blocked<Turn>, resolve: (verdict: NoTurn | null) => void): void {
    const gone = asking.gone();
    const sinceMs = nowMs();
    const turn: Turn = {
      ...{ asking, sinceMs, at: first.counter, late: undefined },
      end(verdict) {
        clearTimeout(turn.late);
        gone.removeEventListener("abort", leave);
        waiting.delete(turn);
        const others = (waitingOf.get(asking.owner) ?? 1) - 1;
        if (others > 0) waitingOf.set(asking.owner, others);
        else waitingOf.delete(asking.owner);
        waited(nowMs() - sinceMs, verdict === null);
        resolve(verdict);
      },
    };
    const leave = () => giveUp(turn, { no: "left" });
    gone.addEventListener("abort", leave);
    waiting.add(turn);
    waitingOf.set(asking.owner, (waitingOf.get(asking.owner) ?? 0) + 1);
    join(turn, blocked, first.counter);
    if (gone.aborted) leave();
  }

  function join(turn: Turn, blocked: readonly Blocked<Turn>[], counter: Counter<Turn>): void {
    const untilMs = turn.sinceMs + Math.min(...blocked.map(({ pace }) => pace.limit.waitMs));
    clearTimeout(turn.late);
    turn.late = setTimeout(() => giveUp(turn, expired(turn)), untilMs - nowMs());
    turn.at = counter;
    counter.turns.push(turn);
    if (counter.turns.length === 1) serve(counter);
  }

  /** Out of the line, and the next one is looked at. */
  function giveUp(turn: Turn, verdict: NoTurn): void {
    const { turns } = turn.at;
    const place = turns.indexOf(turn);
    if (place === -1) return;
    turns.splice(place, 1);
    turn.end(verdict);
    serve(turn.at);
  }

  /** What it still waits for; what has come free in this very moment, it asks for anew. */
  function expired(turn: Turn): NoTurn {
    const { asking, at } = turn;
    const counters = paces.countersOf(asking.paces, asking.owner, nowMs()) ?? [];
    const blocked = blockedBy(asking.paces, counters, (counter) => counter.turns.length === 0 || counter.turns[0] === turn, asking.part);
    const pace = asking.paces.find(({ key }) => key === at.key) ?? asking.paces[0];
    if (pace === undefined) return { no: "full" };
    const [first] = blocked;
    if (first !== undefined) return refusing(blocked, first);
    return { no: "blocked", pace, reason: pace.limit.rates.length > 0 ? "rate_limited" : "concurrency_limited", retryAfterMs: 1 };
  }

  /** From the front of a line, as far as it goes now. */
  function serve(counter: Counter<Turn>): void {
    clearTimeout(timers.get(counter));
    timers.delete(counter);
    for (let turn = counter.turns[0]; turn !== undefined; turn = counter.turns[0]) {
      const tried = attempt(turn.asking, turn);
      if (tried !== null && !("no" in tried)) {
        const late = tooLong(tried, turn.sinceMs);
        const here = tried.find((each) => each.counter === counter);
        if (late === null && here !== undefined) return here.delayMs > 0 ? later(counter, here.delayMs) : undefined;
        counter.turns.shift();
        const [elsewhere] = tried;
        if (late === null && elsewhere !== undefined) join(turn, tried, elsewhere.counter);
        else turn.end(late === null ? { no: "full" } : refusing(tried, late));
      } else {
        counter.turns.shift();
        turn.end(tried);
      }
    }
  }

  function later(counter: Counter<Turn>, ms: number): void {
    timers.set(
      counter,
      setTimeout(() => serve(counter), ms),
    );
  }

  return {
    take,
    leave(callId) {
      const counters = held.get(callId);
      if (counters === undefined) return;
      held.delete(callId);
      for (const counter of counters) counter.underWay -= 1;
      for (const counter of counters) if (counter.turns.length > 0) serve(counter);
    },
    leftOf: (asked) => paces.leftOf(asked, nowMs()),
    get waiting() {
      return waiting.size;
    },
    sweep: () => void paces.sweep(nowMs()),
    close() {
      closed = true;
      for (const turn of [...waiting]) {
        turn.at.turns.splice(turn.at.turns.indexOf(turn), 1);
        turn.end({ no: "closing" });
      }
      for (const timer of timers.values()) clearTimeout(timer);
      timers.clear();
    },
  };
}

/** Named is the limit for which there is no waiting; a call that comes after all of them have let go would pass. */
function refusing(blocked: readonly Blocked<Turn>[], { pace, reason }: Blocked<Turn>): NoTurn {
  const delays = blocked.map(({ reason: why, delayMs }) => (why === "concurrency_limited" ? Math.max(delayMs, PLACE_RETRY_MS) : delayMs));
  return { no: "blocked", pace, reason, retryAfterMs: Math.max(1, ...delays) };
}
