/** Requests of agents for a right that they lack, and what an administrator decided: recorded before they take effect. */
import type { AgentProfile } from "../../call/authenticate/agent.ts";
import { mintId } from "../../ids.ts";
import { type Refusal, refuse } from "../../refusal.ts";
import type { ControlStore } from "../store.ts";
import type { AccessRequestRow } from "../tables.ts";
import type { Wish } from "./posted.ts";

export type AccessRequestsOptions = {
  readonly store: ControlStore;
  readonly audit: (
    kind: "access_request.created" | "access_request.decided",
    by: string,
    details: Readonly<Record<string, string | number | null>>,
  ) => Promise<void>;
  readonly now: () => number;
};

export type Decision = { readonly state: "approved" | "denied"; readonly reason: string; readonly by: string };
/** `customer` null: of all customers. `after`: an id. */
export type Wanted = {
  readonly customer: string | null;
  readonly state: AccessRequestRow["state"] | null;
  readonly after: string | null;
  readonly limit: number;
};

export type AccessRequests = {
  create(profile: AgentProfile, wish: Wish): Promise<AccessRequestRow | Refusal>;
  /** The newest first. */
  ofAgent(agentId: string): Promise<readonly AccessRequestRow[]>;
  list(wanted: Wanted): Promise<readonly AccessRequestRow[]>;
  find(id: string): Promise<AccessRequestRow | undefined>;
  /** Null: there is none that is pending. The first decision stands. */
  decide(id: string, decision: Decision): Promise<AccessRequestRow | null>;
};

/** Of one agent, undecided: a person has to read each of them. */
export const OPEN_MAX = 20;
/** What an approval gives where no duration was asked for: a right that nobody renews ends by itself. */
export const DEFAULT_DURATION_MS = 7 * 86_400_000;
/** An agent is shown its newest ones. */
const SHOWN_MAX = 100;

export function openAccessRequests({ store, audit, now }: AccessRequestsOptions): AccessRequests {
  const rows = () => store.db.selectFrom("access_request").selectAll();
  return {
    async create({ id: agentId, customer }, { tool, reason, durationMs }) {
      return await store.write(async ({ db }) => {
        const open = await db
          .selectFrom("access_request")
          .select(({ fn }) => fn.countAll<number>().as("count"))
          .where("agent_id", "=", agentId)
          .where("state", "=", "pending")
          .executeTakeFirstOrThrow();
        if (Number(open.count) >= OPEN_MAX) return refuse("access_requests_full", { limit: OPEN_MAX });
        const nowMs = now();
        const row: AccessRequestRow = {
          id: mintId("req", nowMs),
          agent_id: agentId,
          customer,
          asked: JSON.stringify([tool]),
          reason,
          until_ms: durationMs === null ? null : nowMs + durationMs,
          state: "pending",
          created_at: new Date(nowMs).toISOString(),
          decided_at: null,
          decided_by: null,
          decided_reason: null,
        };
        await audit("access_request.created", agentId, { ...factsOf(row), until: untilOf(row) });
        await db.insertInto("access_request").values(row).execute();
        return row;
      });
    },
    ofAgent: (agentId) => rows().where("agent_id", "=", agentId).orderBy("id", "desc").limit(SHOWN_MAX).execute(),
    async list({ customer, state, after, limit }) {
      let wanted = rows().orderBy("id").limit(limit);
      if (customer !== null) wanted = wanted.where("customer", "=", customer);
      if (state !== null) wanted = wanted.where("state", "=", state);
      if (after !== null) wanted = wanted.where("id", ">", after);
      return await wanted.execute();
    },
    find: (id) => rows().where("id", "=", id).executeTakeFirst(),
    async decide(id, { state, reason, by }) {
      return await store.write(async ({ db }) => {
        const row = await db.selectFrom("access_request").selectAll().where("id", "=", id).executeTakeFirst();
        if (row?.state !== "pending") return null;
        const nowMs = now();
        // The time that was asked for begins when it is given, and not while nobody had looked at it.
        const until_ms = state === "approved" ? nowMs + durationOf(row) : row.until_ms;
        const decided = { state, until_ms, decided_at: new Date(nowMs).toISOString(), decided_by: by, decided_reason: reason };
        await audit("access_request.decided", by, { ...factsOf(row), decision: state, reason, until: untilOf({ ...row, until_ms }) });
        await db.updateTable("access_request").set(decided).where("id", "=", id).execute();
        return { ...row, ...decided };
      });
    },
  };
}

function durationOf({ until_ms, created_at }: AccessRequestRow): number {
  return until_ms === null ? DEFAULT_DURATION_MS : until_ms - Date.parse(created_at);
}

/** From when until when the right counts, or would if it were given at once. */
export function validityOf(row: AccessRequestRow): { readonly from: string; readonly until: string } {
  const from = row.decided_at ?? row.created_at;
  return { from, until: new Date(row.until_ms ?? Date.parse(from) + DEFAULT_DURATION_MS).toISOString() };
}

/** The agent's own words stay in the registry: it may have written a secret among them. */
function factsOf({ id, agent_id, customer, asked }: AccessRequestRow) {
  return { access_request_id: id, agent_id, customer, asked: askedOf(asked) };
}

export function askedOf(asked: string): string {
  return (JSON.parse(asked) as string[]).join(" ");
}

function untilOf({ until_ms }: AccessRequestRow): string | null {
  return until_ms === null ? null : new Date(until_ms).toISOString();
}

/** As the agent itself sees it. */
export function requestPage(row: AccessRequestRow) {
  const { id, asked, reason, state, created_at, decided_at, decided_reason } = row;
  return { id, tool: askedOf(asked), reason, until: untilOf(row), state, created_at, decided_at, decided_reason };
}
