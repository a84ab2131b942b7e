/** A gateway's place in the shared ledger: it tells all of its share at each connection, gives signs of life, and ends the holds of the dead. */

import type { OwnShares, Share } from "./own-shares.ts";
import { createRedisClock, type RedisClock } from "./redis-clock.ts";
import { type Incarnation, judge, LedgerAway, LedgerUnfit, type Link, openLink, type Reply, type ScriptName } from "./redis-link.ts";
import type { Balance } from "./reservation.ts";
import { giveBack, knowTold, lapseOf, type Say, tellSome } from "./share-telling.ts";

/** Who may hold in the shared ledger, the latest epoch that any of them has told its share to, and the registry's clock, which is no gateway's. */
export type Registered = { readonly gateways: readonly string[]; readonly epoch: number; readonly nowMs: number };

export type SharingParts = {
  readonly url: string;
  /** Of the keys, for several installations on one Redis. */
  readonly namespace: string;
  /** This gateway's id. */
  readonly gateway: string;
  readonly timeoutMs: number;
  readonly lapseMs: number;
  readonly beatMs?: number;
  readonly shares: OwnShares;
  /** What the journal has of windows that end after the first instant, and not after the second. */
  readonly journaled: (sinceMs: number, untilMs: number) => Promise<readonly Balance[]>;
  readonly registered: () => Promise<Registered>;
  /** This gateway has told its share to that epoch. */
  readonly told: (epoch: number) => Promise<void>;
  readonly now: () => number;
  readonly mono: () => number;
  readonly onState: (state: "away" | "filling" | "open" | "lapsed", message: string) => void;
  /** Lua that returns milliseconds since the epoch; whoever tests turns the clock here. */
  readonly time?: string;
};

export type SharingStatus = {
  readonly connected: boolean;
  /** False: counters are being filled again, and nothing is held on a budget that has a ceiling. */
  readonly open: boolean;
  readonly epoch: number;
  /** Gateways that have not told their share to this epoch. */
  readonly waitingFor: readonly string[];
  readonly setAside: number;
};

export interface Sharing {
  /** This gateway's id. */
  readonly gateway: string;
  /** A script in the name of this gateway's session. Rejects with `LedgerAway`. */
  run(name: ScriptName, args: readonly string[]): Promise<Reply>;
  /** With the epoch alone. */
  ask(name: ScriptName, args: readonly string[]): Promise<Reply>;
  /** True while what is asked now comes after all of the share was told. */
  readonly isReady: boolean;
  /** Resolves once it is ready, or away, or has taken longer than one answer may. */
  settled(): Promise<void>;
  /** Whether it is open, at the latest after as long as one answer may take: it counts for all gateways then. */
  opens(): Promise<boolean>;
  /** What windows go by; told by whoever hears of it. */
  readonly clock: RedisClock;
  status(): SharingStatus;
  /** Opens the epoch without those who are missing; answers their names. */
  force(): Promise<readonly string[]>;
  /** `awaited`: the ledger is being filled again, and needs what that gateway has used, or a `force`. `alive`: it still gives signs of life. `lapsing`: its holds are not ended yet. */
  forget(gateway: string): Promise<"forgotten" | "alive" | "lapsing" | "awaited">;
  /** What was told has arrived, and what was set aside is given back, where that takes no longer than one answer may. */
  close(): Promise<void>;
}

const BEAT_MS = 2_000;
/** As long as counters are kept after their windows. */
const KEPT_MS = 3_600_000;
/** While an epoch is being filled. */
const REOPEN_MS = 200;
const RECONNECT_MS = 250;
/** What is set aside and not used for so long is given back. */
const IDLE_MS = 60_000;

export async function openSharing(parts: SharingParts): Promise<Sharing> {
  const { gateway, shares, mono, timeoutMs, lapseMs, onState } = parts;
  let link: Link | null = null;
  let state: "away" | "telling" | "ready" = "away";
  let [epoch, session, isOpen, closed] = ["0", "", false, false];
  let waitingFor: readonly string[] = [];
  let settling = Promise.withResolvers<void>();
  let opening = Promise.withResolvers<void>();
  // Nothing is counted in a window that had ended when the journal was read: what it has of that is not known here.
  const clock = createRedisClock(shares.sinceMs + KEPT_MS, parts.now, mono);
  let wake = () => {};
  /** Said once, however often it is tried again. */
  let saidAway = "";
  let noted = "";
  settling.resolve();

  const isOpenNow = () => isOpen && state === "ready";
  const pause = (ms: number) =>
    new Promise<void>((resolve) => {
      wake = resolve;
      setTimeout(resolve, ms).unref();
    });
  const away = (why: string) => {
    if (!closed && why !== saidAway) onState("away", why);
    saidAway = why;
  };
  const lost = (why: string) => {
    if (state !== "away") away(why);
    if (isOpenNow()) opening = Promise.withResolvers();
    [link, state] = [null, "away"];
    settling.resolve();
    wake();
  };

  /** From the first word to the last of one connection: afterwards it may hold. */
  async function enter(): Promise<Link> {
    let made: Link | null = null;
    let [broken, isMine] = [false, false];
    const onBroken = (why: string) => {
      broken = true;
      if (isMine) lost(why);
    };
    made = await openLink({ ...parts, onBroken });
    try {
      const { id } = judge(await made.incarnation());
      const registry = await parts.registered().catch(() => ({ epoch: 0, nowMs: 0 }));
      session = crypto.randomUUID();
      const latest = [Math.max(registry.epoch, Number(epoch)), Math.max(clock.heardMs ?? 0, shares.latestMs(registry.nowMs))];
      const [entered, redisMs] = await made.run("enter", [id, gateway, session, ...latest.map(String)]);
      await loadSince(Number(redisMs) - KEPT_MS);
      epoch = String(entered);
      clock.heard(Number(redisMs));
      [link, state, isMine, isOpen] = [made, "telling", true, false];
      settling = Promise.withResolvers();
      await tellAll(made);
      if (broken) throw new LedgerAway("the connection broke");
      return made;
    } catch (fault) {
      made.break("entering failed");
      // It may have broken in the very step in which it was ready.
      if (isMine) lost("entering failed");
      throw fault;
    }
  }

  /** Where this machine's clock is ahead, or was, its journal knows more of the windows that are open by the clock of Redis. */
  async function loadSince(sinceMs: number): Promise<void> {
    if (sinceMs < shares.sinceMs) shares.load(await parts.journaled(sinceMs, shares.sinceMs), sinceMs);
  }

  async function tellAll(made: Link): Promise<void> {
    const say: Say = async (name, args) => inSession(await made.run(name, [epoch, gateway, session, ...args]), made);
    await knowTold((name, args) => made.run(name, [epoch, gateway, ...args]), shares);
    shares.tellAll();
    while (shares.untold.size > 0) await tellSome(say, shares);
    // In one step: what changes from here on is told as a change, and comes after this.
    state = "ready";
    const ready = made.run("ready", [epoch, gateway, session]);
    settling.resolve();
    const [, wasOpen] = inSession(await ready, made);
    if (wasOpen === "open") opened();
  }

  async function live(made: Link, incarnation: Incarnation): Promise<void> {
    await note();
    await open(made);
    while (link === made) {
      await pause(isOpen ? (parts.beatMs ?? BEAT_MS) : REOPEN_MS);
      if (link !== made) return;
      const { id, policy } = judge(await made.incarnation());
      if (id !== incarnation.id || policy !== incarnation.policy) return made.break("another process answers there");
      const [word, redisMs, ...silent] = inSession(await made.run("beat", [epoch, gateway, session, String(lapseMs)]), made);
      clock.heard(Number(redisMs));
      for (const of of silent) await lapse(made, String(of));
      if (word === "open") opened();
      else await open(made);
      const isOver = ({ windowEndMs }: Share) => windowEndMs !== null && windowEndMs <= clock.nowMs();
      await giveBack(sharing.run, shares, (share) => mono() - share.usedMonoMs > IDLE_MS || isOver(share));
      if (noted !== epoch) await note();
      shares.sweep(clock.nowMs() - KEPT_MS);
    }
  }

  /** Where the registry is away it is noted later. */
  async function note(): Promise<void> {
    const to = epoch;
    noted = await parts.told(Number(to)).then(
      () => to,
      () => noted,
    );
  }

  async function open(made: Link): Promise<void> {
    const registered = await parts.registered().catch(() => null);
    if (registered === null) waitingFor = ["the registry"];
    else {
      const [word, ...missing] = await made.run("open", [epoch, "", ...registered.gateways]);
      if (word === "open") return opened();
      if (missing.join() !== waitingFor.join()) onState("filling", `waiting for ${missing.join(", ")}`);
      waitingFor = missing.map(String);
    }
    isOpen = false;
  }

  function opened(): void {
    if (!isOpen) onState("open", `epoch ${epoch}`);
    saidAway = "";
    [isOpen, waitingFor] = [true, []];
    if (isOpenNow()) opening.resolve();
  }

  async function lapse(made: Link, of: string): Promise<void> {
    const isDone = await lapseOf((page) => made.run("lapse", [epoch, of, String(lapseMs), ...page]));
    if (isDone) onState("lapsed", of);
  }

  async function keepUp(first: Link | null): Promise<void> {
    for (let made = first; !closed; made = null) {
      try {
        made ??= await enter();
        if (closed) return made.break("this gateway stops");
        await live(made, await made.incarnation());
      } catch (fault) {
        const why = fault instanceof Error ? fault.message : String(fault);
        made?.break(why);
        away(why);
      }
      if (!closed) await pause(RECONNECT_MS);
    }
  }

  const here = (): Link => {
    if (link === null) throw new LedgerAway("the shared ledger is away");
    return link;
  };
  const sharing: Sharing = {
    gateway,
    async run(name, args) {
      const made = here();
      return inSession(await made.run(name, [epoch, gateway, session, ...args]), made);
    },
    ask: async (name, args) => here().run(name, [epoch, ...args]),
    get isReady() {
      return state === "ready";
    },
    async settled() {
      if (state !== "telling") return;
      await within(timeoutMs, settling.promise);
    },
    async opens() {
      if (!isOpenNow()) await within(timeoutMs, opening.promise);
      return isOpenNow();
    },
    clock,
    status() {
      let setAside = 0;
      for (const { slice } of shares.all()) setAside += slice;
      return { connected: state === "ready", open: isOpenNow(), epoch: Number(epoch), waitingFor, setAside };
    },
    async force() {
      const { gateways } = await parts.registered();
      const [, ...missing] = await here().run("open", [epoch, "1", ...gateways]);
      opened();
      return missing.map(String);
    },
    async forget(of) {
      // Without its share the others could spend what it has spent: that is what `force` is for, and says.
      if (!isOpen) return "awaited";
      await lapse(here(), of);
      const [word] = await here().run("forget", [of, String(lapseMs)]);
      return word === "alive" || word === "lapsing" ? word : "forgotten";
    },
    async close() {
      closed = true;
      const made = link;
      if (made !== null && state === "ready")
        await giveBack(sharing.run, shares, () => true)
          .then(() => sharing.run("leave", []))
          .catch(() => {});
      made?.break("this gateway stops");
      wake();
    },
  };
  const first = await enter().catch((fault: unknown) => {
    if (fault instanceof LedgerUnfit) throw fault;
    away(fault instanceof Error ? fault.message : String(fault));
    return null;
  });
  void keepUp(first);
  return sharing;
}

async function within(timeoutMs: number, what: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([what, new Promise<void>((resolve) => (timer = setTimeout(resolve, timeoutMs)))]);
  clearTimeout(timer);
}

function inSession(reply: Reply, made: Link): Reply {
  if (reply[0] !== "stranger") return reply;
  const why = "its session has ended, or the counters are others";
  made.break(why);
  throw new LedgerAway(why);
}
