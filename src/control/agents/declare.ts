/** Agents that policy files declare: the file owns their attributes, the registry their ids, credentials and states. */
import { mintId } from "../../ids.ts";
import type { AgentRow } from "../tables.ts";
import { type AgentAttributes, detailsOf, newRow, rowByName, takenFault } from "./agent-row.ts";
import { endCredentials } from "./credentials.ts";
import { ensureCustomer } from "./customers.ts";
import type { Parts } from "./registry.ts";
import { revokeWhere } from "./tokens.ts";

export type DeclaredAgent = AgentAttributes & { readonly name: string; readonly owner: string; readonly purpose: string };

/** Brings the declared agents in line with the policy files; a name that has left them is suspended, one that comes back is reinstated. */
export type Declare = (agents: ReadonlyMap<string, DeclaredAgent>) => Promise<void>;

const BY = "config";
const LEFT = "no policy file declares it any more";

export function declareAgents(parts: Parts): Declare {
  const { store, directory, audit, now, issuer } = parts;
  return async (agents) => {
    await store.write(async (writing) => {
      for (const [name, agent] of agents) {
        const known = await rowByName(writing, name);
        const wanted = newRow({ ...agent, name }, known?.id ?? mintId("agt", now()), null, BY, now());
        const row: AgentRow = { ...wanted, ...(known === undefined ? {} : keptOf(known)), declared: 1 };
        if (known !== undefined && sameRow(known, row)) continue;
        const room = known?.customer === row.customer ? null : await ensureCustomer(parts, writing, row.customer, BY);
        const fault = room ?? (await takenFault(writing, name, row.id));
        if (fault !== null) throw new Error(`agent ${name}: ${fault.detail}`);
        await audit("agent.declared", BY, detailsOf(row));
        if (known === undefined) await writing.db.insertInto("agent").values(row).execute();
        else await writing.db.updateTable("agent").set(row).where("id", "=", row.id).execute();
        await writing.changed("agent", row.id);
        if (known !== undefined && known.customer !== row.customer) await endCredentials(parts, writing, row.id);
      }
      const declared = await writing.db.selectFrom("agent").selectAll().where("declared", "=", 1).where("state", "=", "active").execute();
      for (const row of declared.filter(({ name }) => !agents.has(name))) {
        await audit("agent.suspended", BY, { ...detailsOf(row), cause: LEFT });
        await writing.db.updateTable("agent").set({ state: "suspended", state_cause: LEFT }).where("id", "=", row.id).execute();
        await writing.changed("agent", row.id);
        // As when a person suspends it: what others have derived from its tokens ends.
        await revokeWhere(writing, { own: issuer, nowMs: now() }, "agent_id", row.id, true);
      }
    });
    await directory.catchUp();
  };
}

/** Only the file's own suspension ends when the name comes back; a person's stays until a person ends it. */
function keptOf({ state, state_cause, created_at, created_by, issuer, issuer_name }: AgentRow): Partial<AgentRow> {
  const back = state === "suspended" && state_cause === LEFT;
  return { state: back ? "active" : state, state_cause: back ? null : state_cause, created_at, created_by, issuer, issuer_name };
}

function sameRow(one: AgentRow, other: AgentRow): boolean {
  return (Object.keys(other) as (keyof AgentRow)[]).every((column) => one[column] === other[column]);
}
