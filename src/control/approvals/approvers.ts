/** Pure. Who may decide a question: whoever the rule names, and nobody else, whatever else they may do. */
import type { RuleRef } from "../../refusal.ts";
import type { Seal } from "../../seal.ts";
import type { Caller } from "../admin/route.ts";
import type { ApprovalRow } from "../tables.ts";

/** As a policy writes it: `role:approver`, `key:NAME`. */
export function mayDecide(row: Pick<ApprovalRow, "approvers" | "customer">, { name, role, customer }: Caller): boolean {
  if (customer !== null && customer !== row.customer) return false;
  return approversOf(row).some((named) => named === `role:${role}` || named === `key:${name}`);
}

export function approversOf({ approvers }: Pick<ApprovalRow, "approvers">): readonly string[] {
  return JSON.parse(approvers) as string[];
}

/** The rule that asks. */
export function ruleOf({ rule }: Pick<ApprovalRow, "rule">): RuleRef | null {
  return JSON.parse(rule) as RuleRef | null;
}

/** What a link says: which question, and in whose name it is answered. */
export type Link = { readonly approvalId: string; readonly by: string };

/** Whoever has the text may decide that one question: it is sealed, so that nobody can make or change one. */
export function linkText(seal: Seal, { approvalId, by }: Link): string {
  return seal.seal("approver", "", JSON.stringify([approvalId, by]));
}

/** Null: not one of ours. */
export function openLink(seal: Seal, text: string): Link | null {
  const opened = seal.open("approver", "", text);
  if (opened === null) return null;
  const [approvalId, by] = JSON.parse(opened) as [string, string];
  return { approvalId, by };
}
