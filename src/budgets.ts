/** How much is left and who is told of it, put together: the ledger, what is told of its thresholds, and corrections by hand. */
import type { AgentProfile } from "./call/authenticate/agent.ts";
import type { PolicySet } from "./call/authorize/candidates.ts";
import type { HoldLine } from "./call/budget/reservation.ts";
import { auditOfAct, noticeOf } from "./call/record/compose.ts";
import { unlessAway } from "./call/record/journal.ts";
import type { OpenJournal } from "./call/record/journal-client.ts";
import type { Reader } from "./call/record/reader.ts";
import { budgetRoutes } from "./control/admin/budget-routes.ts";
import { budgetRows, budgetRowsOf } from "./control/admin/budget-rows.ts";
import type { Route } from "./control/admin/route.ts";
import type { Registry } from "./control/agents/registry.ts";
import { createAdjust } from "./control/budgets/adjust.ts";
import { createInTurn } from "./control/budgets/in-turn.ts";
import { createReportedDrawing, type ReportedDrawing } from "./control/budgets/reported-drawing.ts";
import { type LedgerParts, type OpenLedger, openLedger } from "./ledgers.ts";

export type Budgets = {
  readonly ledger: OpenLedger["ledger"];
  /** The same journal, whose settlements the ledger hears of. */
  readonly heard: OpenLedger["heard"];
  readonly status: OpenLedger["status"];
  /** What others report, and what it draws on. */
  readonly drawing: ReportedDrawing;
  /** Of the admin API. */
  routes(registry: Registry, reader: Pick<Reader, "ask">): readonly Route[];
};

export type BudgetsParts = Omit<LedgerParts, "onCrossed" | "onExhausted" | "journal"> & {
  readonly journal: OpenJournal;
  readonly policySet: () => PolicySet;
  readonly configVersion: () => string;
  /** In reverse order, when the gateway ends. */
  readonly closing: (() => unknown)[];
};

/** Windows of which it has been told that nothing is left; whatever is forgotten here the journal still knows. */
const EXHAUSTED_MAX = 10_000;
/** What a forecast goes by. */
const PACE_MS = 86_400_000;

export async function openBudgets(parts: BudgetsParts): Promise<Budgets> {
  const { journal, policySet, now, configVersion, fault } = parts;
  const scribe = { now, configVersion };
  const exhausted = new Set<string>();
  const tell = (line: Omit<HoldLine, "amount">, percent: number, spent: number) =>
    void journal
      .notice(noticeOf(line, percent, spent, scribe))
      .catch(unlessAway)
      .catch(fault);
  const opened = await openLedger({
    ...parts,
    // Where one process counts alone, its settlements carry what they cross: told in the same transaction.
    onCrossed(line, percents, spent) {
      for (const percent of percents) tell(line, percent, spent);
    },
    onExhausted(draw, windowStartMs, windowEndMs, spent) {
      const window = `${draw.budget} ${draw.scope} ${windowStartMs}`;
      if (exhausted.has(window)) return;
      if (exhausted.size >= EXHAUSTED_MAX) exhausted.clear();
      exhausted.add(window);
      tell({ draw, windowStartMs, windowEndMs }, 0, spent);
    },
  });
  parts.closing.push(() => opened.close());
  const { ledger, balances } = opened;
  const inTurn = createInTurn();
  const adjust = createAdjust({
    ...{ policySet, ledger, now, inTurn },
    run: journal.run,
    recordOf: (by, details) => auditOfAct("budget.adjusted", by, details, scribe),
  });
  return {
    ledger,
    heard: opened.heard,
    status: opened.status,
    drawing: createReportedDrawing(policySet, ledger, inTurn),
    routes: (registry, reader) => [
      ...opened.routes,
      ...budgetRoutes({
        ...{ registry, adjust },
        async budgets() {
          const paces = await reader.ask("pace", now() - PACE_MS);
          return budgetRows(policySet().budgets, await balances(), now(), paces);
        },
        budgetsOf: async (profile: AgentProfile) => budgetRowsOf(policySet(), profile, await balances(), now()),
      }),
    ],
  };
}
