/** What agents have asked for, and what a person decides. An approval changes no policy: it comes with the entitlement to paste. */
import { z } from "zod";
import { type AccessRequests, askedOf, DEFAULT_DURATION_MS, requestPage, validityOf } from "../me/access-requests.ts";
import type { AccessRequestRow } from "../tables.ts";
import { isTheirs } from "./permissions.ts";
import type { Answer, Caller, Route } from "./route.ts";
import { NOT_THERE, route } from "./route.ts";

export type AccessRequestRoutesParts = { readonly accessRequests: AccessRequests };

const PAGE_MAX = 1_000;
const STATES = ["pending", "approved", "denied"] as const;
const reasoned = z.strictObject({ reason: z.string().trim().min(1).max(512).describe("Why; the agent is told.") });

export function accessRequestRoutes({ accessRequests }: AccessRequestRoutesParts): readonly Route[] {
  const decide = (state: "approved" | "denied"): Route =>
    route({
      method: "POST",
      path: state === "approved" ? "/access-requests/:id/approve" : "/access-requests/:id/deny",
      permission: "requests:decide",
      summary: state === "approved" ? "Approves a request; answers the entitlement to write." : "Denies a request.",
      body: reasoned,
      async answer({ caller, params, body }): Promise<Answer> {
        const known = await mine(accessRequests, caller, params.id);
        if (known === null) return NOT_THERE;
        const decided = await accessRequests.decide(known.id, { state, reason: body.reason, by: caller.name });
        if (decided !== null) return { status: 200, json: { ...requestJson(decided), note: noteOf(known) } };
        const first = (await accessRequests.find(known.id))?.state ?? "decided";
        return { status: 409, detail: `it was ${first} before` };
      },
    });
  return [
    route({
      method: "GET",
      path: "/access-requests",
      permission: "requests:read",
      summary: "Lists what agents have asked for, the oldest first. state: pending, approved or denied.",
      body: null,
      async answer({ caller, query }) {
        const { state = null, after = null } = query;
        if (state !== null && !isState(state)) return { status: 400, detail: `state: there is ${STATES.join(", ")}` };
        const limit = Number(query.limit ?? "100");
        if (!Number.isInteger(limit) || limit < 1 || limit > PAGE_MAX) return { status: 400, detail: `limit: 1 to ${PAGE_MAX}` };
        const rows = await accessRequests.list({ customer: caller.customer, state, after, limit: limit + 1 });
        const items = rows.slice(0, limit);
        const next_cursor = rows.length > limit ? (items.at(-1)?.id ?? null) : null;
        return { status: 200, json: { items: items.map(requestJson), next_cursor } };
      },
    }),
    route({
      method: "GET",
      path: "/access-requests/:id",
      permission: "requests:read",
      summary: "Shows one request.",
      body: null,
      async answer({ caller, params }) {
        const row = await mine(accessRequests, caller, params.id);
        return row === null ? NOT_THERE : { status: 200, json: requestJson(row) };
      },
    }),
    decide("approved"),
    decide("denied"),
  ];
}

async function mine(accessRequests: AccessRequests, caller: Caller, id = ""): Promise<AccessRequestRow | null> {
  const row = await accessRequests.find(id);
  return row === undefined || !isTheirs(caller, row.customer) ? null : row;
}

function isState(written: string): written is AccessRequestRow["state"] {
  return STATES.some((state) => state === written);
}

function requestJson(row: AccessRequestRow) {
  const { agent_id, customer, decided_by } = row;
  const entitlement = row.state === "denied" ? null : entitlementOf(row);
  return { ...requestPage(row), agent_id, customer, decided_by, entitlement, note: row.state === "pending" ? noteOf(row) : null };
}

/** Null: the agent has said for how long. */
function noteOf({ until_ms }: AccessRequestRow): string | null {
  return until_ms === null ? `no duration was asked for: ${DEFAULT_DURATION_MS / 86_400_000} days from its approval` : null;
}

/** YAML to paste under `entitlements:` of a policy file. JSON strings are YAML: nothing that the agent wrote can break out of them. */
export function entitlementOf(row: AccessRequestRow): string {
  const { id, agent_id, asked } = row;
  const { from, until } = validityOf(row);
  const lines = [
    `- name: ${id}`,
    `  who: { agent: ${agent_id} }`,
    `  permit: [${JSON.stringify(askedOf(asked))}]`,
    `  from: ${JSON.stringify(from)}`,
    `  until: ${JSON.stringify(until)}`,
  ];
  return `${lines.join("\n")}\n`;
}
