/** Human approval put together: the step in a call's life, the routes and the page where people decide, and the sweep. */

import { isIPv6 } from "node:net";
import { isLoopbackHost } from "./addresses.ts";
import type { Ledger } from "./call/budget/reservation.ts";
import type { Rounds } from "./call/budget/rounds.ts";
import type { Scribe } from "./call/record/compose.ts";
import { StoreUnavailable } from "./call/record/journal.ts";
import type { Config } from "./config.ts";
import type { AdminKeys } from "./control/admin/admin-keys.ts";
import { createApprovalPage, DECIDE_PATH } from "./control/admin/approval-page.ts";
import { approvalRoutes } from "./control/admin/approval-routes.ts";
import type { Route } from "./control/admin/route.ts";
import type { Registry } from "./control/agents/registry.ts";
import { type ApprovalsOptions, openApprovals } from "./control/approvals/approvals.ts";
import { type Approving, createApproving } from "./control/approvals/approve.ts";
import { linkText } from "./control/approvals/approvers.ts";
import { RegistryAway } from "./control/postgres.ts";
import type { ControlStore } from "./control/store.ts";
import type { Reserve } from "./reserving.ts";
import type { Seal } from "./seal.ts";

export type HumanApproval = {
  readonly step: Approving;
  /** Of the admin API. */
  routes(): readonly Route[];
  page(keys: AdminKeys): (request: Request) => Promise<Response> | null;
  close(): void;
};

export type HumanApprovalParts = {
  readonly config: Pick<Config, "admin">;
  readonly store: ControlStore;
  readonly registry: Pick<Registry, "byId">;
  readonly seal: Seal;
  readonly ledger: Ledger;
  readonly reserve: Reserve;
  readonly rounds: Rounds;
  readonly scribe: Scribe;
  readonly audit: ApprovalsOptions["audit"];
  readonly now: () => number;
  readonly fault: (thrown: unknown) => void;
};

/** What is over is told soon; until then it counts as over all the same. */
const SWEEP_MS = 1_000;

export function openHumanApproval(parts: HumanApprovalParts): HumanApproval {
  const { config, store, registry, seal, ledger, reserve, rounds, scribe, audit, now, fault } = parts;
  const approvals = openApprovals({ store, audit, now });
  const agentById = registry.byId;
  const origin = originOf(config.admin);
  let sweeping = false;
  const sweep = setInterval(() => {
    if (sweeping) return;
    sweeping = true;
    // What is away returns, and the next sweep does what this one could not.
    const unlessAway = (thrown: unknown) => thrown instanceof RegistryAway || thrown instanceof StoreUnavailable || fault(thrown);
    void approvals
      .sweep()
      .catch(unlessAway)
      .finally(() => {
        sweeping = false;
      });
  }, SWEEP_MS).unref();
  return {
    step: createApproving({
      ...{ approvals, seal, ledger, reserve, scribe, now, fault },
      putBack: rounds.putBack,
    }),
    routes: () =>
      approvalRoutes({
        ...{ approvals, agentById, now },
        linkFor: (approvalId, by) => `${origin}${DECIDE_PATH}/${linkText(seal, { approvalId, by })}`,
      }),
    page: (keys) => createApprovalPage({ approvals, keys, seal, agentById, now, fault }),
    close: () => clearInterval(sweep),
  };
}

/** The admin listener answers to loopback names only. */
function originOf({ host, port }: Config["admin"]): string {
  const name = isLoopbackHost(host) ? host : "127.0.0.1";
  return `http://${isIPv6(name) ? `[${name}]` : name}:${port}`;
}
