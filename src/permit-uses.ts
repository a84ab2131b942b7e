/** When each agent last used each permit that lapses: read from the journal before it counts, and heard of each call from then on. */
import type { PolicySet } from "./call/authorize/candidates.ts";
import { useKey } from "./call/authorize/idle.ts";
import { UNCOUNTED_METHODS } from "./call/record/history.ts";
import type { Reader } from "./call/record/reader.ts";
import type { Story } from "./call/record/story.ts";

export type PermitUses = {
  /** The set with what is known of its uses. Rejects where the journal cannot be read: such a set does not count. */
  prepare(policySet: PolicySet): Promise<PolicySet>;
  /** Of a call that has ended. */
  note(story: Story): void;
};

const UNCOUNTED: ReadonlySet<string> = new Set(UNCOUNTED_METHODS);

export function createPermitUses(reader: Pick<Reader, "ask">, now: () => number): PermitUses {
  const lastUses = new Map<string, number>();
  // The rules of the set in force, and of the one that is about to be.
  let lapsing: ReadonlySet<string> = new Set();
  const note = (rule: string, agent: string, atMs: number) => {
    const key = useKey(rule, agent);
    lastUses.set(key, Math.max(atMs, lastUses.get(key) ?? 0));
  };
  return {
    async prepare(policySet) {
      const rules = policySet.rules.filter(({ idleMs }) => idleMs !== null);
      const names = new Set(rules.map(({ ref }) => ref.name));
      for (const key of lastUses.keys()) if (!lapsing.has(ruleOf(key)) && !names.has(ruleOf(key))) lastUses.delete(key);
      lapsing = lapsing.union(names);
      if (rules.length > 0) {
        const since = new Date(now() - Math.max(...rules.map(({ idleMs }) => idleMs ?? 0))).toISOString();
        const uses = await reader.ask("lastUses", { rules: [...names], since });
        for (const { rule, agent, atMs } of uses) note(rule, agent, atMs);
      }
      lapsing = names;
      return { ...policySet, lastUses };
    },
    note({ permit, request, agent, outcome, settlement, opening }) {
      const { rule = null } = permit ?? {};
      if (rule === null || agent === null || request === null || !lapsing.has(rule.name)) return;
      if (isUse(request) && (settlement === null ? outcome?.sent === true : settlement.state !== "voided"))
        note(rule.name, agent.profile.id, opening.receivedAtMs);
    },
  };
}

function isUse({ course, target }: NonNullable<Story["request"]>): boolean {
  if (target === null || (course !== "metered" && course !== "other")) return false;
  return target.kind !== "method" || !UNCOUNTED.has(target.name);
}

function ruleOf(key: string): string {
  return key.slice(0, key.indexOf(" "));
}
