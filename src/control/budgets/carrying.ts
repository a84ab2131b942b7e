/** A caller with what its token may use of other agents' budgets. */
import { AccessToken, type Agent, type SubBudget } from "../../call/authenticate/agent.ts";
import type { VerifiedToken } from "../../call/authenticate/verified-token.ts";
import { type BudgetDetail, detailsOf } from "../oauth/budget-details.ts";
import type { LendWish } from "../oauth/grants.ts";
import { budgetNameOf, type SubBudgets } from "./sub-budgets.ts";

export type Carrying = (agent: Agent) => Agent | Promise<Agent>;

const NOTHING: ReadonlySet<string> = new Set();

export function createCarrying(subBudgets: SubBudgets, registry: { catchUp(): Promise<void> }, issuer: string): Carrying {
  // An agent lives as long as its verified token: most have nothing, and are asked for one member.
  const known = new WeakMap<Agent, Agent>();
  const withThem = (agent: Agent, details: readonly BudgetDetail[]): Agent => {
    const found = details.map((detail) => subBudgets.find(detail.identifier) ?? ended(detail));
    const made = { ...agent, subBudgets: found };
    if (found.every((each) => each.takenFrom !== NOTHING)) known.set(agent, made);
    return made;
  };
  return (agent) => {
    if (agent.claims.authorization_details === undefined || agent.issuer !== issuer) return agent;
    const before = known.get(agent);
    if (before !== undefined) return before;
    const details = detailsOf(agent.claims);
    if (details.every(({ identifier }) => subBudgets.find(identifier) !== undefined)) return withThem(agent, details);
    // Another gateway may have made the token a moment ago.
    return registry.catchUp().then(() => withThem(agent, details));
  };
}

/** The registry knows nothing of it any more. */
function ended({ identifier, meter, limit }: BudgetDetail): SubBudget {
  return { budget: budgetNameOf(identifier), meter, limit, takenFrom: NOTHING, isOpen: false };
}

/** The caller that a token would make. */
export function callerOf(token: VerifiedToken & Pick<LendWish["from"], "profile">): Agent {
  const { profile, workflow } = token;
  return {
    ...token,
    profile: profile.workflow === null && workflow !== null ? { ...profile, workflow } : profile,
    environment: "live",
    principal: "",
    accessToken: new AccessToken(""),
  };
}
