/** The ledger of this gateway: in its memory alone, or shared with others in Redis, with all that goes with that. */
import { createLedger, type LedgerOptions } from "./call/budget/memory-ledger.ts";
import { createOwnShares } from "./call/budget/own-shares.ts";
import type { Adjusting, Balance, HoldLine, Ledger } from "./call/budget/reservation.ts";
import { createSharedLedger, type SharedLedger } from "./call/budget/shared-ledger.ts";
import { openSharing, type Sharing, type SharingStatus } from "./call/budget/sharing.ts";
import type { Journal } from "./call/record/journal.ts";
import type { OpenJournal } from "./call/record/journal-client.ts";
import { type BalancePage, CLOCKS_APART_MS } from "./call/record/recover.ts";
import type { Config } from "./config.ts";
import type { Route } from "./control/admin/route.ts";
import { type SharedBudgets, type Sign, sharedBudgetRoutes } from "./control/admin/shared-budget-routes.ts";
import { withoutReturned } from "./control/budgets/sub-budgets.ts";
import { sharingGateways } from "./control/sharing-gateways.ts";
import type { ControlStore } from "./control/store.ts";
import type { CallId } from "./ids.ts";
import { StartRefused } from "./load.ts";
import type { Log, Metrics } from "./observe.ts";

export type OpenLedger = {
  readonly ledger: Ledger & Adjusting;
  readonly routes: readonly Route[];
  /** The same journal, whose settlements the ledger hears of. */
  heard(journal: Journal): Journal;
  balances(): Promise<readonly Balance[]>;
  /** The present that windows go by; null: it is not known yet. */
  nowMs(): number | null;
  /** Null: budgets are counted here alone. */
  readonly status: (() => SharingStatus) | null;
  close(): void | Promise<void>;
};

export type LedgerParts = {
  readonly config: Config;
  readonly journal: Pick<OpenJournal, "balances" | "source" | "openedMs" | "clock" | "run">;
  readonly store: ControlStore;
  readonly act: (kind: ActKind, by: string, details: Readonly<Record<string, string>>) => Promise<void>;
  readonly metrics: Pick<Metrics, "gauge">;
  readonly log: Log;
  readonly now: () => number;
  readonly mono: () => number;
  readonly fault: (thrown: unknown) => void;
  readonly onReached: (line: HoldLine, percent: number, spent: number, isCrossing: boolean) => void;
  /** What is used may have become more without any posting. */
  readonly onSums: () => void;
  readonly onExhausted: NonNullable<LedgerOptions["onExhausted"]>;
};

type ActKind = "shared_ledger.forced" | "shared_ledger.forgotten" | "shared_ledger.lapsed";

const SWEEP_MS = 60_000;

/** Rejects with `StartRefused` where the Redis at that address cannot carry budgets; one that is away is waited for. */
export async function openLedger(parts: LedgerParts): Promise<OpenLedger> {
  const { redis } = parts.config.shared;
  return redis === null ? ledgerAlone(parts) : await ledgerIn(redis.reveal(), parts);
}

function ledgerAlone({ journal, now, onReached, onExhausted }: LedgerParts): OpenLedger {
  const ledger = createLedger(journal.balances, {
    clockMs: journal.clock.clockMs,
    onExhausted,
    onCrossed(line, percents, spent) {
      for (const percent of percents) onReached(line, percent, spent, true);
    },
  });
  const sweep = setInterval(() => ledger.sweep(now()), SWEEP_MS).unref();
  return {
    ledger,
    routes: sharedBudgetRoutes(null),
    heard: (heard) => heard,
    balances: async () => ledger.balances(),
    nowMs: () => ledger.presentMs(now()),
    status: null,
    close: () => clearInterval(sweep),
  };
}

async function ledgerIn(url: string, parts: LedgerParts): Promise<OpenLedger> {
  const { config, journal, store, act, metrics, log, now, mono, fault } = parts;
  const { file, shared } = config;
  if (!/^rediss?:$/.test(URL.parse(url)?.protocol ?? ""))
    throw new StartRefused(`${file}: shared.redis: the reference must hold a redis:// or rediss:// URL`, []);
  const gateways = sharingGateways(store, now);
  // Before anything is held: whoever fills the ledger again waits for it from now on.
  await gateways.register(journal.source);
  const shares = createOwnShares(journal.balances, journal.openedMs - CLOCKS_APART_MS);
  const sharing = await openSharing({
    ...{ url, namespace: shared.namespace, timeoutMs: shared.timeoutMs, lapseMs: shared.lapseMs },
    ...{ gateway: journal.source, shares, registered: gateways.all, now, mono },
    journaled: async (sinceMs, untilMs) => withoutReturned(store, await balancesOf(journal, sinceMs, untilMs)),
    told: (epoch) => gateways.told(journal.source, epoch),
    onState(state, why) {
      log[state === "open" ? "info" : "warn"]({ shared_ledger: state, why }, `the shared ledger: ${WORDS[state]}`);
      // Others' postings, those of a crash, and those of a gateway that has died, are in them now.
      if (state === "open" || state === "lapsed") parts.onSums();
      if (state === "lapsed") void act("shared_ledger.lapsed", "gateway", { gateway: why }).catch(fault);
    },
  }).catch((thrown: unknown) => {
    throw new StartRefused(thrown instanceof Error ? thrown.message : String(thrown), []);
  });
  const ledger = createSharedLedger({ sharing, shares, mono, onReached: parts.onReached, onExhausted: parts.onExhausted });
  const told: SharedBudgets = {
    status: async () => ({ ...sharing.status(), gateways: (await gateways.all()).gateways, signs: await signsOf(sharing) }),
    async force(by, reason) {
      const { connected, open } = sharing.status();
      // Nothing was done that a record could tell of.
      if (connected && open) return "open";
      const without = await sharing.force();
      await act("shared_ledger.forced", by, { reason, without: without.join(",") });
      return without;
    },
    async forget(gateway, by, reason) {
      const { gateways: known } = await gateways.all();
      if (!known.includes(gateway)) return "unknown";
      const answer = await sharing.forget(gateway);
      if (answer !== "forgotten") return answer;
      await gateways.remove(gateway);
      await act("shared_ledger.forgotten", by, { gateway, reason });
      return "forgotten";
    },
  };
  showSharing(metrics, sharing.status);
  return {
    ledger,
    routes: sharedBudgetRoutes(told),
    heard: (heard) => tellingLedger(heard, ledger),
    balances: ledger.balances,
    nowMs: () => (sharing.clock.heardMs === null ? null : sharing.clock.nowMs()),
    status: sharing.status,
    close: sharing.close,
  };
}

/** Rejects with `StoreUnavailable` while the journal is away. */
async function balancesOf({ run }: LedgerParts["journal"], sinceMs: number, untilMs: number): Promise<readonly Balance[]> {
  const found: Balance[] = [];
  for (let after: number | null = 0; after !== null; ) {
    const page: BalancePage = await run("balancesEnding", sinceMs, untilMs, after);
    for (const balance of page.balances) found.push(balance);
    after = page.next;
  }
  return found;
}

/** Nothing while the ledger is away. */
async function signsOf(sharing: Sharing): Promise<readonly Sign[]> {
  const reply = await sharing.ask("signs", []).catch(() => []);
  return Array.from({ length: reply.length / 3 }, (_, i) => {
    const [gateway, atMs, counts] = reply.slice(i * 3, i * 3 + 3);
    return {
      gateway: String(gateway),
      atMs: Number(atMs),
      ageMs: Math.max(0, sharing.clock.nowMs() - Number(atMs)),
      counts: counts === "1",
    };
  });
}

const WORDS = {
  away: "it cannot be asked; budgets with a ceiling refuse",
  filling: "it is being filled again; budgets with a ceiling refuse",
  open: "open",
  lapsed: "a gateway gives no sign of life; its open calls count as used",
} as const;

function showSharing(metrics: Pick<Metrics, "gauge">, status: () => SharingStatus): void {
  const bit = (is: boolean) => (is ? 1 : 0);
  metrics.gauge("tollgate_shared_ledger_connected", "1 while the shared ledger answers.", () => bit(status().connected));
  metrics.gauge("tollgate_shared_ledger_open", "0 while it is away or being filled again.", () => bit(status().open));
  metrics.gauge("tollgate_shared_ledger_epoch", "How often it was filled anew.", () => status().epoch);
  metrics.gauge("tollgate_shared_ledger_waiting", "Gateways that have not told their share yet.", () => status().waitingFor.length);
  metrics.gauge("tollgate_shared_ledger_set_aside", "Units that this gateway may spend while it is away.", () => status().setAside);
}

/** What is in the journal is told; what failed to be written is there once the next write succeeds, since the journal keeps it. */
function tellingLedger(journal: Journal, ledger: SharedLedger): Journal {
  const late = new Set<CallId>();
  const written = () => {
    for (const callId of late) ledger.settled(callId);
    late.clear();
  };
  return {
    get available() {
      return journal.available;
    },
    append: (record) => journal.append(record),
    notice: (notice) => journal.notice(notice),
    async permit(entry) {
      try {
        await journal.permit(entry);
      } catch (thrown) {
        ledger.doubt(entry.callId);
        late.add(entry.callId);
        throw thrown;
      }
      written();
    },
    async settle(entry) {
      try {
        await journal.settle(entry);
      } catch (thrown) {
        late.add(entry.callId);
        throw thrown;
      }
      ledger.settled(entry.callId);
      written();
    },
  };
}
