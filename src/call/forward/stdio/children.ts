/** The running servers behind one name: one for all or one per principal, within a limit, started on demand, with back-off after a failure. */
import { LRUCache } from "lru-cache";
import { type Refusal, refuse } from "../../../refusal.ts";
import { INITIALIZE, type Initialized, isSpoken } from "./bridge.ts";
import { openPeer, type Peer, type PeerOptions } from "./peer.ts";

/** A server that has shaken hands, and what it said of itself. */
export type Child = { readonly peer: Peer; readonly initialized: Initialized };

export type ChildrenOptions = {
  readonly peer: Omit<PeerOptions, "onEnd">;
  readonly maxChildren: number;
  readonly mono: () => number;
  /** A server ended that was not told to. */
  readonly onEnd: (why: string) => void;
};

export type Children = {
  get(key: string): Promise<Child | Refusal>;
  /** The running server of this key, if there is one. */
  peek(key: string): Peer | null;
  end(graceMs: number): Promise<void>;
};

const BACKOFF_MIN_MS = 500;
const BACKOFF_MAX_MS = 30_000;
/** A server that lived this long was well: its next failure counts as its first. */
const HEALTHY_MS = 60_000;
/** An idle server holds memory, and whatever it keeps of its agent. */
const IDLE_MS = 600_000;
/** An idle server makes room for a newcomer only after this long: an agent between two calls keeps its own. */
const EVICTABLE_MS = 60_000;
const SWEEP_MS = 30_000;
/** A server that does not shake hands in this time does not work. */
const HANDSHAKE_TIMEOUT_MS = 30_000;
const GRACE_MS = 2_000;
/** Keys whose failures are remembered. */
const SETBACKS_MAX = 1_000;

type Slot = { readonly peer: Peer; readonly child: Promise<Child | Refusal>; usedAtMs: number };
type Setback = { readonly failures: number; readonly notBeforeMs: number };

export function createChildren(options: ChildrenOptions): Children {
  const slots = new Map<string, Slot>();
  const setbacks = new LRUCache<string, Setback>({ max: SETBACKS_MAX });
  const { mono } = options;
  let closing = false;

  const start = (key: string): Slot => {
    const startedAtMs = mono();
    const peer = openPeer({
      ...options.peer,
      onEnd(why) {
        // One that was told to end has left its slot before.
        if (slots.get(key)?.peer !== peer) return;
        slots.delete(key);
        setBack(key, startedAtMs);
        options.onEnd(why);
      },
    });
    const slot = { peer, child: shakeHands(peer), usedAtMs: startedAtMs };
    slots.set(key, slot);
    return slot;
  };
  const setBack = (key: string, startedAtMs: number) => {
    const failures = mono() - startedAtMs > HEALTHY_MS ? 1 : (setbacks.get(key)?.failures ?? 0) + 1;
    const waitMs = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** (failures - 1));
    setbacks.set(key, { failures, notBeforeMs: mono() + waitMs });
  };
  const drop = (key: string, slot: Slot) => {
    slots.delete(key);
    void slot.peer.end(GRACE_MS);
  };
  const idleFor = (slot: Slot): number => (slot.peer.busy > 0 ? -1 : mono() - slot.usedAtMs);
  const evict = (): boolean => {
    const [key, slot] = [...slots].toSorted(([, a], [, b]) => idleFor(b) - idleFor(a))[0] ?? [];
    if (key === undefined || slot === undefined || idleFor(slot) < EVICTABLE_MS) return false;
    drop(key, slot);
    return true;
  };
  const sweep = setInterval(() => {
    for (const [key, slot] of slots) {
      if (slot.peer.busy > 0) slot.usedAtMs = mono();
      else if (idleFor(slot) > IDLE_MS) drop(key, slot);
    }
  }, SWEEP_MS);
  sweep.unref();

  return {
    async get(key) {
      if (closing) return refuse("overloaded", {}, "the gateway is closing");
      const running = slots.get(key);
      if (running !== undefined) {
        running.usedAtMs = mono();
        return running.child;
      }
      const waitMs = Math.ceil((setbacks.get(key)?.notBeforeMs ?? 0) - mono());
      if (waitMs > 0) return refuse("upstream_unreachable", { retry_after_ms: waitMs }, "its server ended and is not restarted yet");
      if (slots.size >= options.maxChildren && !evict())
        return refuse("overloaded", { retry_after_ms: 1_000 }, `${options.maxChildren} servers are in use`);
      return start(key).child;
    },
    peek: (key) => slots.get(key)?.peer ?? null,
    async end(graceMs) {
      closing = true;
      clearInterval(sweep);
      const ending = [...slots.values()];
      slots.clear();
      await Promise.all(ending.map((slot) => slot.peer.end(graceMs)));
    },
  };
}

async function shakeHands(peer: Peer): Promise<Child | Refusal> {
  let why: string;
  try {
    const initialized = await peer.ask("initialize", INITIALIZE, HANDSHAKE_TIMEOUT_MS);
    if (isSpoken(initialized)) {
      peer.notify("notifications/initialized", {});
      return { peer, initialized };
    }
    why = "it speaks no revision that is known here";
  } catch (fault) {
    why = fault instanceof Error ? fault.message : "it does not shake hands";
  }
  void peer.end(0);
  return refuse("upstream_unreachable", {}, why);
}
