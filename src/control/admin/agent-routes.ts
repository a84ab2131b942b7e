/** Agents over the admin API: registered, shown, changed, stopped, and all of one owner when that person leaves. */
import type { z } from "zod";
import type { AgentProfile } from "../../call/authenticate/agent.ts";
import type { LifeEvent } from "../agents/agent-life.ts";
import { iso } from "../agents/profiles.ts";
import type { Registry } from "../agents/registry.ts";
import type { AuthorizationServer } from "../oauth/authorization-server.ts";
import { act, agentChanges, newAgent, newToken, offboarding } from "./bodies.ts";
import type { BudgetRow } from "./budget-rows.ts";
import { isTheirs } from "./permissions.ts";
import { agentJson, agentOf, credentialJson, elsewhere, faultAnswer, issuedAnswer, unnamed } from "./registry-answers.ts";
import { type Answer, type Caller, notThere, pageOf, type Route, route } from "./route.ts";

export type AgentParts = {
  readonly registry: Registry;
  readonly authorizationServer: AuthorizationServer | null;
  readonly publicUrl: string;
  /** Servers and views. */
  readonly routeNames: readonly string[];
  readonly budgetsOf: (profile: AgentProfile) => Promise<readonly BudgetRow[]>;
};

const AGENTS_MAX = 1_000;
const TOKENS_SHOWN = 100;
const FILTERS = ["customer", "team", "owner", "state", "kind", "workflow"] as const;

export function agentRoutes(parts: AgentParts): readonly Route[] {
  const { registry } = parts;
  /** Runs `then` with the agent of the path, if it is the caller's to see. */
  const withAgent = async (caller: Caller, id: string | undefined, then: (profile: AgentProfile) => Answer | Promise<Answer>) => {
    const profile = agentOf(registry, caller, id);
    return profile === null ? notThere(caller, `there is no agent ${id}`) : await then(profile);
  };
  const change = (event: LifeEvent, summary: string): Route =>
    route({
      method: "POST",
      path: `/agents/:id/${event}`,
      permission: "agents:stop",
      summary,
      body: act,
      answer: ({ caller, params, body }) =>
        withAgent(caller, params.id, async ({ id }) => {
          const answer = await registry.changeState(id, event, body.reason ?? null, caller.name);
          return "fault" in answer ? faultAnswer(answer) : { status: 200, json: agentJson(answer, registry) };
        }),
    });
  return [
    route({
      method: "POST",
      path: "/agents",
      permission: "agents:write",
      summary: "Registers an agent with its first credential, whose secret is shown this once.",
      body: newAgent,
      async answer({ caller, body }) {
        const customer = body.customer ?? caller.customer ?? undefined;
        if (customer !== undefined && !isTheirs(caller, customer)) return elsewhere(caller);
        return unnamed(caller, issuedAnswer(await registry.create({ ...body, customer }, caller.name)));
      },
    }),
    route({
      method: "GET",
      path: "/agents",
      permission: "agents:read",
      summary: `Agents in the order of their ids, filtered by ${FILTERS.join(", ")}.`,
      body: null,
      async answer({ caller, query }) {
        const { limit, after } = pageOf(query, AGENTS_MAX);
        const asked = FILTERS.filter((name) => query[name] !== undefined);
        const all = registry
          .all()
          .filter((profile) => isTheirs(caller, profile.customer) && asked.every((name) => profile[name] === query[name]))
          .filter(({ id }) => after === null || id > after);
        const items = all.toSorted((a, b) => (a.id < b.id ? -1 : 1)).slice(0, limit);
        const next = all.length > limit ? (items.at(-1)?.id ?? null) : null;
        return { status: 200, json: { items: items.map((profile) => agentJson(profile, registry)), next_cursor: next } };
      },
    }),
    route({
      method: "GET",
      path: "/agents/:id",
      permission: "agents:read",
      summary: "One agent by id or name: its credentials without secrets, its instances and newest tokens.",
      body: null,
      answer: ({ caller, params }) =>
        withAgent(caller, params.id, async (profile) => {
          const known = await registry.tokensOf(profile.id, TOKENS_SHOWN);
          const tokens = known.filter(({ jti }) => !registry.isRevoked(parts.publicUrl, jti));
          const instances = [...new Set(tokens.flatMap(({ instance }) => instance ?? []))].toSorted();
          const credentials = registry.credentialsOf(profile.id).map(credentialJson);
          return { status: 200, json: { ...agentJson(profile, registry), credentials, instances, tokens: tokens.map(tokenJson) } };
        }),
    }),
    route({
      method: "PATCH",
      path: "/agents/:id",
      permission: "agents:write",
      summary: "Changes what is known of an agent; one that a policy file declares is changed there.",
      body: agentChanges,
      answer: ({ caller, params, body }) =>
        withAgent(caller, params.id, async ({ id }) => {
          if (body.customer !== undefined && !isTheirs(caller, body.customer)) return elsewhere(caller);
          const answer = await registry.update(id, body, caller.name);
          return "fault" in answer ? unnamed(caller, faultAnswer(answer)) : { status: 200, json: agentJson(answer, registry) };
        }),
    }),
    change("suspend", "Refuses the agent's calls from now on, until it is reinstated."),
    change("reinstate", "Lets a suspended agent call again, with the credentials that it had."),
    change("revoke", "Ends an agent for good, and every token that it obtained or that was made from one."),
    route({
      method: "POST",
      path: "/agents/offboard",
      permission: "agents:stop",
      summary: "Suspends all agents of an owner, when that person leaves, and tells which they were.",
      body: offboarding,
      async answer({ caller, body }) {
        const cut = await registry.offboard(body.owner, body.reason ?? null, caller.name, caller.customer);
        return { status: 200, json: { suspended: cut.map((profile) => agentJson(profile, registry)) } };
      },
    }),
    route({
      method: "GET",
      path: "/agents/:id/budgets",
      permission: "agents:read",
      summary: "The budgets that the agent's calls count against, with what remains.",
      body: null,
      answer: ({ caller, params }) =>
        withAgent(caller, params.id, async (profile) => ({
          status: 200,
          json: { items: await parts.budgetsOf(profile), next_cursor: null },
        })),
    }),
    route({
      method: "POST",
      path: "/agents/:id/tokens",
      permission: "agents:impersonate",
      summary: "An access token in the agent's name, for curl and tests; recorded under the administrator's name.",
      body: newToken,
      answer: ({ caller, params, body }) => withAgent(caller, params.id, (profile) => mintToken(parts, profile, body, caller.name)),
    }),
  ];
}

async function mintToken(parts: AgentParts, profile: AgentProfile, body: z.output<typeof newToken>, by: string): Promise<Answer> {
  const { authorizationServer, routeNames, publicUrl } = parts;
  if (profile.state !== "active") return { status: 409, detail: `${profile.name} is ${profile.state}` };
  if (authorizationServer === null)
    return { status: 409, detail: "authorizationServer.enabled is false: tokens come from the configured issuers" };
  const { server } = body;
  if (server !== undefined && !routeNames.includes(server)) {
    return { status: 404, detail: `there is no server or view ${server}: there is ${routeNames.join(", ")}` };
  }
  const resource = `${publicUrl}/mcp${server === undefined ? "" : `/${server}`}`;
  const minted = await authorizationServer.mint(profile, resource, body.scope ?? null, by);
  if ("fault" in minted) return { status: 422, detail: minted.fault };
  return { status: 201, json: minted, made: `a token for ${profile.name}` };
}

type Token = Awaited<ReturnType<Registry["tokensOf"]>>[number];

function tokenJson({ jti, audience, scope, instance, issued_ms, expires_ms }: Token): object {
  return { id: jti, audience, scope, instance, issued_at: iso(issued_ms), expires_at: iso(expires_ms) };
}
