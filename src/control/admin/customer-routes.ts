/** Customers over the admin API: what their agents may use at most, and the suspension or end of a contract. */
import type { Customer } from "../agents/profiles.ts";
import type { Registry } from "../agents/registry.ts";
import type { CustomerState } from "../tables.ts";
import { act, customerChanges, newCustomer } from "./bodies.ts";
import { isTheirs } from "./permissions.ts";
import { agentJson, faultAnswer } from "./registry-answers.ts";
import { type Answer, type Caller, notThere, pageOf, type Route, route } from "./route.ts";

const CUSTOMERS_MAX = 1_000;

export function customerRoutes(registry: Registry): readonly Route[] {
  /** A bound key sees its own customer and changes not even that: what an account may have is not its own to say. */
  const barred = (caller: Caller, key: string | undefined): Answer | null => {
    const customer = registry.customer(key ?? "");
    if (customer === undefined || !isTheirs(caller, customer.key)) return notThere(caller, `there is no customer ${key}`);
    return caller.customer === null ? null : { status: 403, detail: "a key that is bound to a customer does not change customers" };
  };
  const change = (verb: string, to: CustomerState, summary: string): Route =>
    route({
      method: "POST",
      path: `/customers/:key/${verb}`,
      permission: "customers:write",
      summary,
      body: act,
      async answer({ caller, params, body }) {
        const no = barred(caller, params.key);
        if (no !== null) return no;
        const answer = await registry.changeCustomer(params.key ?? "", to, body.reason ?? null, caller.name);
        if ("fault" in answer) return faultAnswer(answer);
        const agents = answer.agents.map((profile) => agentJson(profile, registry));
        return { status: 200, json: { ...customerJson(answer.customer), agents } };
      },
    });
  return [
    route({
      method: "GET",
      path: "/customers",
      permission: "customers:read",
      summary: "Customers in the order of their keys.",
      body: null,
      async answer({ caller, query }) {
        const { limit, after } = pageOf(query, CUSTOMERS_MAX);
        const all = [...registry.customers()].filter(({ key }) => isTheirs(caller, key) && (after === null || key > after));
        const items = all.toSorted((a, b) => (a.key < b.key ? -1 : 1)).slice(0, limit);
        const next = all.length > limit ? (items.at(-1)?.key ?? null) : null;
        return { status: 200, json: { items: items.map(customerJson), next_cursor: next } };
      },
    }),
    route({
      method: "GET",
      path: "/customers/:key",
      permission: "customers:read",
      summary: "One customer, and how many agents it has.",
      body: null,
      async answer({ caller, params }) {
        const customer = registry.customer(params.key ?? "");
        if (customer === undefined || !isTheirs(caller, customer.key)) return notThere(caller, `there is no customer ${params.key}`);
        const agents = registry.all().filter((profile) => profile.customer === customer.key && profile.state !== "revoked").length;
        return { status: 200, json: { ...customerJson(customer), agents } };
      },
    }),
    route({
      method: "POST",
      path: "/customers",
      permission: "customers:write",
      summary: "Describes a customer: patterns, scopes and number of agents that its account allows at most.",
      body: newCustomer,
      async answer({ caller, body }) {
        if (caller.customer !== null) return { status: 403, detail: "a key that is bound to a customer does not change customers" };
        const answer = await registry.createCustomer(body.key, body.bounds, caller.name);
        return "fault" in answer ? faultAnswer(answer) : { status: 201, json: customerJson(answer) };
      },
    }),
    route({
      method: "PATCH",
      path: "/customers/:key",
      permission: "customers:write",
      summary: "Changes a customer's bounds; null removes one.",
      body: customerChanges,
      async answer({ caller, params, body }) {
        const no = barred(caller, params.key);
        if (no !== null) return no;
        const answer = await registry.updateCustomer(params.key ?? "", body, caller.name);
        return "fault" in answer ? faultAnswer(answer) : { status: 200, json: customerJson(answer) };
      },
    }),
    change("suspend", "suspended", "Suspends all agents of a customer, until it is reinstated."),
    change("reinstate", "active", "Lets the agents of a suspended customer call again."),
    change("end", "ended", "Ends a contract for good: its agents stay suspended."),
  ];
}

function customerJson({ agentsMax, createdAt, createdBy, ...rest }: Customer): object {
  return { ...rest, agents_max: agentsMax, created_at: createdAt, created_by: createdBy };
}
