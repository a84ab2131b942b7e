/** Pure. Whose share of a budget or a limit a call draws on: `team=support&server=tickets`. */
import { createHash } from "node:crypto";
import type { Target } from "../accept/request.ts";
import { writtenAs } from "./pattern.ts";
import type { EACH } from "./rule-parts.ts";
import type { Facets } from "./who.ts";

export type Each = (typeof EACH)[number];

/** In the order of `each`. `server` empty, `target` null: nobody says which. */
export function scopeOf({ each }: { readonly each: readonly Each[] }, facets: Facets, server: string, target: Target | null): string {
  const value: Record<Each, () => string | null | undefined> = {
    agent: () => facets.agent[0],
    instance: () => facets.instance,
    team: () => facets.team,
    workflow: () => facets.workflow,
    customer: () => facets.customer,
    subject: () => (typeof facets.person === "string" ? pseudonym(facets.person) : null),
    server: () => server,
    tool: () => (target === null ? null : writtenAs(server, target)),
  };
  // Callers without the attribute share one counter, so that leaving it out is no way around the budget.
  return each.map((one) => `${one}=${(value[one]() ?? "").replace(/[%&=]/g, encodeURIComponent)}`).join("&");
}

/** A person's name does not enter the journal: the record holds it under a key of its own. */
function pseudonym(subject: string): string {
  return `sha256:${createHash("sha256").update(subject).digest("hex").slice(0, 16)}`;
}

/** As a policy file writes it: one, several, or none. */
export function eachOf({ each }: { readonly each?: Each | readonly Each[] | undefined }): readonly Each[] {
  return [...new Set(each === undefined ? [] : [each].flat())];
}
