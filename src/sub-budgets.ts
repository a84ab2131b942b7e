/** Parts of budgets that are set aside for single tokens, put together: taken at an exchange, carried by callers, given back in the end. */

import type { Budgets, BudgetsParts } from "./budgets.ts";
import type { Authenticate } from "./call/authenticate/authenticate.ts";
import type { PolicySet } from "./call/authorize/candidates.ts";
import { subBudgetDraw } from "./call/authorize/sub-budgets.ts";
import { auditOfAct } from "./call/record/compose.ts";
import type { OpenJournal } from "./call/record/journal-client.ts";
import type { Reader } from "./call/record/reader.ts";
import type { BudgetFacts } from "./control/admin/budget-rows.ts";
import type { Registry } from "./control/agents/registry.ts";
import { createCarrying } from "./control/budgets/carrying.ts";
import { createGiveBack } from "./control/budgets/give-back.ts";
import { createLend } from "./control/budgets/lend.ts";
import { type Aside, openSubBudgets } from "./control/budgets/sub-budgets.ts";
import type { LendWish } from "./control/oauth/grants.ts";
import type { SetAside } from "./control/oauth/issue.ts";
import { isRefusal } from "./refusal.ts";

export type Lending = {
  take(wish: LendWish): Promise<SetAside>;
  /** The same, whose callers carry what was set aside for their tokens. */
  authenticating(authenticate: Authenticate): Authenticate;
  /** Of the parts that are counted now. */
  facts(): readonly BudgetFacts[];
  /** What calls of this agent have handed on and is not over. */
  lentBy(agentId: string): readonly Aside[];
  close(): Promise<void>;
};

export type LendingParts = Pick<BudgetsParts, "config" | "store" | "configVersion" | "now" | "fault"> & {
  readonly policySet: () => PolicySet;
  readonly budgets: Budgets;
  readonly registry: Registry;
  readonly journal: OpenJournal;
  readonly reader: Pick<Reader, "ask">;
};

export async function openLending(parts: LendingParts): Promise<Lending> {
  const { config, store, policySet, configVersion, now, fault, budgets, registry, journal, reader } = parts;
  const { publicUrl: issuer } = config;
  const { ledger } = budgets;
  const gateway = journal.source;
  const recordOf = (...[kind, by, details]: [Parameters<typeof auditOfAct>[0], string, Parameters<typeof auditOfAct>[2]]) =>
    auditOfAct(kind, by, details, { now, configVersion });
  const subBudgets = await openSubBudgets({ store, registry, issuer, gateway, shared: budgets.status !== null, now });
  const carrying = createCarrying(subBudgets, registry, issuer);
  const underWay = { taking: new Set<string>(), counted: new Set<string>() };
  const common = { ledger, run: journal.run, subBudgets, gateway, recordOf, now, fault };
  const giveBack = createGiveBack({ ...common, reader, registry, issuer }, underWay);
  return {
    take: createLend({ ...common, policySet, carrying, onCrossed: budgets.crossed }, underWay),
    authenticating: (authenticate) => (authorization, server, nowMs) => {
      const carried = (agent: Awaited<ReturnType<Authenticate>>) => (isRefusal(agent) ? agent : carrying(agent));
      const agent = authenticate(authorization, server, nowMs);
      return agent instanceof Promise ? agent.then(carried) : carried(agent);
    },
    facts: () => subBudgets.all().map((aside) => ({ each: [], draw: subBudgetDraw(aside) })),
    lentBy: (agentId) => subBudgets.all().filter(({ row, isOpen }) => isOpen && row.parent_agent_id === agentId),
    close: giveBack.close,
  };
}
