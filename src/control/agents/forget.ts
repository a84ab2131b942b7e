/** What the registry knows of a revoked agent beyond its id and its account goes: names, people, purposes, credentials, reasons. */
import type { AgentId } from "../../ids.ts";
import { absent, declaredFault, find } from "./agent-row.ts";
import type { Parts, RegistryFault } from "./registry.ts";

export type Forget = {
  /** Done again it changes nothing. Null: done. Its external identity stays, so that it is not registered anew at its next sight. */
  forget(idOrName: string): Promise<RegistryFault | null>;
  /** Of a person on whose behalf agents call the registry knows keys of calls alone. `digest`: as those are kept. */
  forgetSubject(digest: string): Promise<void>;
};

export const FORGOTTEN = "erased";

export function forgetOf({ store, directory }: Parts): Forget {
  return {
    async forget(idOrName) {
      const fault = await store.write(async (writing) => {
        const row = await find(writing, idOrName);
        if (row === undefined) return absent(idOrName);
        if (row.declared === 1) return declaredFault(row.name);
        if (row.state !== "revoked") return { fault: "conflict", detail: `${row.name} is ${row.state}: revoke it first` } as const;
        const { db } = writing;
        const nobody = { owner: FORGOTTEN, purpose: FORGOTTEN, state_cause: null, team: null, workflow: null, created_by: FORGOTTEN };
        const name = `${FORGOTTEN}-${row.id.slice("agt_".length)}`;
        await db
          .updateTable("agent")
          .set({ ...nobody, name })
          .where("id", "=", row.id)
          .execute();
        await db.deleteFrom("former_name").where("agent_id", "=", row.id).execute();
        await db.deleteFrom("credential").where("agent_id", "=", row.id).execute();
        await db
          .updateTable("access_request")
          .set({ asked: "[]", reason: FORGOTTEN, decided_reason: null })
          .where("agent_id", "=", row.id)
          .execute();
        await db.updateTable("approval").set({ arguments: null, decided_reason: null }).where("agent_id", "=", row.id).execute();
        await db.deleteFrom("call_key").where("agent_id", "=", row.id).execute();
        await writing.changed("agent", row.id as AgentId);
        return null;
      });
      if (fault === null) await directory.catchUp();
      return fault;
    },
    async forgetSubject(digest) {
      await store.db.deleteFrom("call_key").where("subject", "=", digest).execute();
    },
  };
}
