/** How much is left and who is told of it, put together: the ledger, what is told of its thresholds, and corrections by hand. */
import type { AgentProfile } from "./call/authenticate/agent.ts";
import type { PolicySet } from "./call/authorize/candidates.ts";
import { createLedger, type MemoryLedger } from "./call/budget/memory-ledger.ts";
import { auditOfAct, noticeOf } from "./call/record/compose.ts";
import { unlessAway } from "./call/record/journal.ts";
import type { OpenJournal } from "./call/record/journal-client.ts";
import type { Reader } from "./call/record/reader.ts";
import { budgetRoutes } from "./control/admin/budget-routes.ts";
import { budgetRows, budgetRowsOf } from "./control/admin/budget-rows.ts";
import type { Route } from "./control/admin/route.ts";
import type { Registry } from "./control/agents/registry.ts";
import { createAdjust } from "./control/budgets/adjust.ts";

export type Budgets = {
  readonly ledger: MemoryLedger;
  /** Of the admin API. */
  routes(registry: Registry, reader: Pick<Reader, "ask">): readonly Route[];
  close(): void;
};

export type BudgetsParts = {
  readonly journal: OpenJournal;
  readonly policySet: () => PolicySet;
  readonly now: () => number;
  readonly configVersion: () => string;
  readonly fault: (thrown: unknown) => void;
};

const SWEEP_MS = 60_000;
/** What a forecast goes by. */
const PACE_MS = 86_400_000;

export function openBudgets({ journal, policySet, now, configVersion, fault }: BudgetsParts): Budgets {
  const scribe = { now, configVersion };
  const ledger = createLedger(journal.balances, {
    onExhausted(draw, windowStartMs, windowEndMs, spent) {
      const notice = noticeOf({ draw, windowStartMs, windowEndMs }, 0, spent, scribe);
      void journal.notice(notice).catch(unlessAway).catch(fault);
    },
  });
  const sweep = setInterval(() => ledger.sweep(now()), SWEEP_MS).unref();
  const adjust = createAdjust({
    ...{ policySet, ledger, now },
    run: journal.run,
    recordOf: (by, details) => auditOfAct("budget.adjusted", by, details, scribe),
  });
  return {
    ledger,
    routes: (registry, reader) =>
      budgetRoutes({
        ...{ registry, adjust },
        async budgets() {
          const paces = await reader.ask("pace", now() - PACE_MS);
          return budgetRows(policySet().budgets, await ledger.balances(), now(), paces);
        },
        budgetsOf: async (profile: AgentProfile) => budgetRowsOf(policySet(), profile, await ledger.balances(), now()),
      }),
    close: () => clearInterval(sweep),
  };
}
