/** A change to the registry: made within a transaction, told to every gateway once it is committed. */
import type { Transaction } from "kysely";
import type { ChangeKind, Tables } from "./tables.ts";

/** Within `write`: what every gateway must look at again once this is committed. */
export type Writing = { readonly db: Transaction<Tables>; changed(kind: ChangeKind, id: string): Promise<void> };

export function writingTo(db: Transaction<Tables>): Writing {
  return {
    db,
    async changed(kind, id) {
      await db.insertInto("change").values({ kind, id, at_ms: Date.now() }).execute();
    },
  };
}
