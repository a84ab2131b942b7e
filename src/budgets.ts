/** How much is left and who is told of it, put together: the ledger, what is told of its thresholds, and corrections by hand. */
import type { AgentProfile } from "./call/authenticate/agent.ts";
import { compileMade, faultOfMade } from "./call/authorize/made-budget.ts";
import { LedgerAway } from "./call/budget/redis-link.ts";
import type { PostedLine } from "./call/budget/reservation.ts";
import { auditOfAct, noticeOf } from "./call/record/compose.ts";
import type { OpenJournal } from "./call/record/journal-client.ts";
import type { Reader } from "./call/record/reader.ts";
import { meterFactsOf } from "./catalogue.ts";
import { budgetRoutes, rowsOfCustomer } from "./control/admin/budget-routes.ts";
import { type BudgetFacts, budgetRows, budgetRowsOf } from "./control/admin/budget-rows.ts";
import { madeBudgetRoutes } from "./control/admin/made-budget-routes.ts";
import type { Caller, Route } from "./control/admin/route.ts";
import type { Registry } from "./control/agents/registry.ts";
import { createAdjust } from "./control/budgets/adjust.ts";
import { createInTurn } from "./control/budgets/in-turn.ts";
import { type MadeBudgetsParts, openMadeBudgets } from "./control/budgets/made-budgets.ts";
import { reachedIn } from "./control/budgets/reached.ts";
import { createReportedDrawing, type ReportedDrawing } from "./control/budgets/reported-drawing.ts";
import { withoutReturned } from "./control/budgets/sub-budgets.ts";
import { createTelling } from "./control/budgets/telling.ts";
import { tellingOf } from "./control/budgets/told.ts";
import type { InForce } from "./in-force.ts";
import { type LedgerParts, type OpenLedger, openLedger } from "./ledgers.ts";

export type Budgets = {
  readonly ledger: OpenLedger["ledger"];
  /** The same journal, whose settlements the ledger hears of. */
  readonly heard: OpenLedger["heard"];
  readonly status: OpenLedger["status"];
  /** Tells of the thresholds that these lines have crossed. */
  crossed(lines: readonly PostedLine[]): void;
  /** What others report, and what it draws on. */
  readonly drawing: ReportedDrawing;
  /** Of the admin API. `further`: budgets that no policy names. */
  routes(reader: Pick<Reader, "ask">, further: () => readonly BudgetFacts[]): readonly Route[];
};

export type BudgetsParts = Omit<LedgerParts, "onReached" | "onSums" | "onExhausted" | "journal" | "act"> & {
  readonly journal: OpenJournal;
  readonly act: LedgerParts["act"] & MadeBudgetsParts["audit"];
  readonly inForce: InForce;
  readonly registry: Registry;
  readonly configVersion: () => string;
  /** In reverse order, when the gateway ends. */
  readonly closing: (() => unknown)[];
};

/** What a forecast goes by. */
const PACE_MS = 86_400_000;

export async function openBudgets(parts: BudgetsParts): Promise<Budgets> {
  const { journal, inForce, registry, now, configVersion, fault } = parts;
  const policySet = () => inForce.policySet;
  const scribe = { now, configVersion };
  const { tell, close } = createTelling({
    isTeller: parts.config.shared.redis === null ? async () => true : tellingOf(parts.store, journal.source, parts.mono),
    write: (line, percent, spent) => journal.notice(noticeOf(line, percent, spent, scribe)),
    fault,
  });
  parts.closing.push(close);
  let onSums = () => {};
  const opened = await openLedger({
    ...parts,
    journal: {
      ...{ source: journal.source, openedMs: journal.openedMs, clock: journal.clock, run: journal.run },
      balances: await withoutReturned(parts.store, journal.balances),
    },
    // Where one process counts alone, its settlements carry what they cross: told in the same transaction.
    onReached: tell,
    onExhausted: (draw, windowStartMs, windowEndMs, spent) => tell({ draw, windowStartMs, windowEndMs }, 0, spent),
    onSums: () => onSums(),
  });
  parts.closing.push(() => opened.close());
  const { ledger, balances } = opened;
  const present = () => opened.nowMs() ?? now();
  const { made, isInFile } = await openMade(parts, balances);
  const tellReached = async () => {
    for (const { line, percent, spent } of reachedIn(policySet().budgets, await balances(), present())) tell(line, percent, spent, false);
  };
  // Where the ledger is away, its sums are heard of when it is there again.
  onSums = () => void tellReached().catch((thrown) => (thrown instanceof LedgerAway ? undefined : fault(thrown)));
  if (opened.status !== null || journal.recovered > 0) onSums();
  const inTurn = createInTurn();
  const adjust = createAdjust({
    ...{ policySet, ledger, now, inTurn },
    known: {
      agentId: (idOrName) => registry.find(idOrName)?.id,
      teams: () => new Set(registry.all().map(({ team }) => team ?? "")),
      customers: () => new Set(registry.all().map(({ customer }) => customer)),
      servers: new Set(parts.config.servers.keys()),
    },
    run: journal.run,
    recordOf: (by, details) => auditOfAct("budget.adjusted", by, details, scribe),
  });
  return {
    ledger,
    heard: opened.heard,
    status: opened.status,
    crossed(lines) {
      for (const { line, crossed, spent } of lines) for (const percent of crossed) tell(line, percent, spent);
    },
    drawing: createReportedDrawing(policySet, { apply: ledger.apply, nowMs: opened.nowMs }, inTurn),
    routes(reader, further) {
      const facts = () => [...policySet().budgets, ...further()];
      const factsOf = (name: string) => facts().find(({ draw }) => draw.budget === name);
      const paces = () => reader.ask("pace", now() - PACE_MS);
      const rowsFor = async ({ customer }: Caller) => {
        const rows = budgetRows(facts(), await balances(), present(), await paces());
        return rowsOfCustomer(rows, customer, registry, (name, theirs) => !isInFile(name) && made.find(name)?.customer === theirs);
      };
      const budgetsOf = async (profile: AgentProfile) => budgetRowsOf(policySet(), profile, await balances(), present(), await paces());
      return [
        ...opened.routes,
        ...budgetRoutes({ registry, adjust, rowsFor, budgetsOf }),
        ...madeBudgetRoutes({ registry, made, rowsFor, isInFile, factsOf }),
      ];
    },
  };
}

async function openMade({ config, store, registry, inForce, act, log, now }: BudgetsParts, balances: OpenLedger["balances"]) {
  const meters = meterFactsOf(config);
  const isInFile = (name: string) => inForce.isInFile(name);
  const made = await openMadeBudgets({
    ...{ store, registry, audit: act, now, isInFile },
    compile: compileMade,
    isCounted: async (name) => (await balances()).some(({ budget }) => budget === name),
    faultOf: (file) => faultOfMade(file, config.servers, meters),
    unreadable: (budget, why) => log.error({ budget, why }, "a budget of the registry cannot be read, and does not count"),
    count: inForce.count,
  });
  return { made, isInFile };
}
