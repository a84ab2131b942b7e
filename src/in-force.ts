/** The policies that count now, with what files do not say: the tools that servers offer, and the budgets made at run time. */
import { type PolicySet, policySetOf } from "./call/authorize/candidates.ts";
import { withMade } from "./call/authorize/made-budget.ts";
import type { Budget } from "./call/authorize/policy-set.ts";
import type { Log } from "./observe.ts";
import type { Offers } from "./pinned-upstreams.ts";

export type InForce = {
  /** What is read has the budgets made at run time; they are added anew to what is put in force. */
  policySet: PolicySet;
  count(made: readonly Budget[]): void;
  /** Whether a policy file has a budget of that name. */
  isInFile(name: string): boolean;
};

export function createInForce(policySet: PolicySet, { at }: Offers, log: Pick<Log, "warn">): InForce {
  let made: readonly Budget[] = [];
  const everMade = new WeakSet<Budget>();
  const shadowed = new Set<string>();
  let base: PolicySet = { ...policySet, offered: at };
  let joined = base;

  function join(): void {
    joined = made.length === 0 ? base : policySetOf({ ...base, ...withMade(base, made) }, base.mode, at);
    const ofFiles = new Set(base.budgets.map(({ draw }) => draw.budget));
    for (const { budget } of made.map(({ draw }) => draw)) {
      if (!ofFiles.has(budget)) shadowed.delete(budget);
      else if (!shadowed.has(budget)) {
        shadowed.add(budget);
        log.warn({ budget }, "a policy file has a budget of this name: the one made at run time does not count");
      }
    }
  }

  return {
    get policySet() {
      return joined;
    },
    set policySet(next) {
      const budgets = next.budgets.filter((budget) => !everMade.has(budget));
      base = { ...next, offered: at, ...(budgets.length === next.budgets.length ? {} : withMade({ budgets }, [])) };
      join();
    },
    isInFile: (name) => base.budgets.some(({ draw }) => draw.budget === name),
    count(budgets) {
      made = budgets;
      for (const budget of budgets) everMade.add(budget);
      join();
    },
  };
}
