/** Gateways of one shared ledger in one process: a real Redis, whose clock a test turns by a key that no shipped script reads. */
import { createOwnShares, type OwnShares } from "../../src/call/budget/own-shares.ts";
import type { Adjusting, Balance, Ledger, Reservation, Settlement } from "../../src/call/budget/reservation.ts";
import { createSharedLedger, type SharedLedger, type SharedLedgerParts } from "../../src/call/budget/shared-ledger.ts";
import { openSharing, type Sharing, type SharingParts } from "../../src/call/budget/sharing.ts";
import { isRefusal } from "../../src/refusal.ts";
import type { RedisServer } from "../fixtures/redis.ts";
import { DAY_MS, NOON } from "./draws.ts";

export type Sharer = {
  readonly ledger: SharedLedger;
  /** As a gateway uses it: the journal has each settlement as soon as the call has it. */
  readonly journaled: Ledger;
  readonly sharing: Sharing;
  readonly shares: OwnShares;
  readonly states: [string, string][];
  /** Line, percent, what is spent, and whether this posting has crossed it. */
  readonly told: Parameters<SharedLedgerParts["onReached"]>[];
};

export type Joining = Partial<SharingParts> & {
  readonly id?: string;
  readonly initial?: readonly Balance[];
  /** Windows that had ended by then are in the journal alone. */
  readonly sinceMs?: number;
  readonly countersMax?: number;
};

let namespaces = 0;

/** One installation: its namespace, its clock, and who is registered. */
export function createStage(redis: RedisServer) {
  namespaces += 1;
  const namespace = `test${namespaces}`;
  const gateways = new Set<string>();
  const sharers: Sharer[] = [];
  let epoch = 0;
  const setClock = (nowMs: number) => redis.command("SET", `{${namespace}}:test-clock`, String(nowMs));
  return {
    namespace,
    gateways,
    setClock,
    /** `id`: the same one again is a gateway that has restarted. */
    async join({ id = "gw-1", initial = [], sinceMs = 0, countersMax, ...changes }: Joining = {}): Promise<Sharer> {
      gateways.add(id);
      const shares = createOwnShares(initial, sinceMs);
      const states: [string, string][] = [];
      const told: Sharer["told"] = [];
      const mono = () => performance.now();
      const sharing = await openSharing({
        ...{ url: redis.url, namespace, gateway: id, timeoutMs: 10_000, lapseMs: 3_600_000, beatMs: 50, shares, now: Date.now, mono },
        registered: async () => ({ gateways: [...gateways], epoch, nowMs: NOON + 30 * DAY_MS }),
        journaled: async () => [],
        told: async (to) => {
          epoch = Math.max(epoch, to);
        },
        onState: (...state) => void states.push(state),
        ...changes,
      });
      const ledger = createSharedLedger({
        ...{ sharing, shares, mono, onReached: (...reached) => void told.push(reached) },
        ...(countersMax === undefined ? {} : { countersMax }),
      });
      const sharer = { ledger, sharing, shares, states, told, journaled: journaled(ledger) };
      sharers.push(sharer);
      return sharer;
    },
    /** As one that is killed: what it holds, and its session, stay behind. */
    async kill(id: string, { sharing }: Sharer): Promise<void> {
      await sharing.close();
      await redis.command("HSET", `{${namespace}}:control`, `s:${id}`, "of a process that is gone");
    },
    close() {
      for (const { sharing } of sharers) sharing.close();
    },
  };
}

/** One gateway's ledger, for what is promised of every ledger; the clock of Redis is turned to the time of each hold. */
export async function ledgerOn(
  stage: ReturnType<typeof createStage>,
  initial: readonly Balance[],
): Promise<Ledger & Pick<Adjusting, "apply">> {
  await stage.setClock(NOON);
  // No sweep in the middle of a test that asks for windows of yesterday.
  const { journaled, ledger, sharing } = await stage.join({ initial, time: TURNED_BY_TEST, beatMs: 600_000 });
  while (!sharing.status().open) await new Promise((resolve) => setTimeout(resolve, 1));
  return {
    ...journaled,
    apply: ledger.apply,
    async hold(callId, draws, amounts, nowMs) {
      await stage.setClock(nowMs);
      return journaled.hold(callId, draws, amounts, nowMs);
    },
  };
}

export const TURNED_BY_TEST = "return tonumber(redis.call('GET', P .. 'test-clock') or '0')";

function journaled(ledger: SharedLedger): Ledger {
  const told = (settlement: Settlement, reservation: Reservation): Settlement => {
    ledger.settled(reservation.callId);
    return settlement;
  };
  return {
    weigh: (...asked) => ledger.weigh(...asked),
    balances: () => ledger.balances(),
    async hold(...asked) {
      const held = await ledger.hold(...asked);
      if (isRefusal(held)) return held;
      return {
        callId: held.callId,
        lines: held.lines,
        metersResult: held.metersResult,
        bytesMax: held.bytesMax,
        sent: () => held.sent(),
        post: async (usage) => told(await held.post(usage), held),
        postUnknown: () => told(held.postUnknown(), held),
        voidUnsent: () => told(held.voidUnsent(), held),
        [Symbol.dispose]: () => held[Symbol.dispose](),
      };
    },
  };
}
