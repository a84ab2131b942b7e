/** A person's yes to definitions that a server has shown: to exactly those that the person has seen, all of them or none. */
import { iso } from "../agents/profiles.ts";
import type { RegistryFault } from "../agents/registry.ts";
import type { ControlStore } from "../store.ts";
import type { Writing } from "../writing.ts";
import type { PinAudit } from "./write-reading.ts";

export type ApproveParts = {
  readonly store: ControlStore;
  readonly registry: { catchUp(): Promise<void> };
  readonly audit: PinAudit;
  readonly now: () => number;
};

/** `sha256` is that of the definition which was shown, hex. */
export type Seen = { readonly tool: string; readonly sha256: string };

export type Approve = (server: string, seen: readonly Seen[], by: string, reason: string | null) => Promise<RegistryFault | null>;

export function approvalOfTools(parts: ApproveParts): Approve {
  return async (server, seen, by, reason) => {
    const fault = await parts.store
      .write(async (writing) => {
        for (const each of seen) {
          const found = await approveOne(parts, writing, server, each, by, reason);
          // Thrown, so that what was approved before it is not.
          if (found !== null) throw new NotApproved(found);
        }
        await writing.changed("tool_pin", server);
        return null;
      })
      .catch((thrown: unknown) => {
        if (thrown instanceof NotApproved) return thrown.answer;
        throw thrown;
      });
    await parts.registry.catchUp();
    return fault;
  };
}

class NotApproved extends Error {
  readonly answer: RegistryFault;
  constructor(answer: RegistryFault) {
    super(answer.detail);
    this.answer = answer;
  }
}

async function approveOne(
  { audit, now }: ApproveParts,
  { db }: Writing,
  server: string,
  { tool, sha256 }: Seen,
  by: string,
  reason: string | null,
): Promise<RegistryFault | null> {
  const row = await db.selectFrom("tool_pin").selectAll().where("server", "=", server).where("tool", "=", tool).executeTakeFirst();
  if (row === undefined) return { fault: "absent", detail: `no tool ${tool} of ${server} has been seen` };
  if (row.seen_sha256 !== sha256) {
    // What was asked for is so.
    if (row.sha256 === sha256 && row.seen_sha256 === null) return null;
    return { fault: "conflict", detail: `${server}/${tool} has another definition by now: look at it again` };
  }
  const was = row.sha256 === null ? null : `sha256:${row.sha256}`;
  await audit("tool.approved", by, { server, tool, definition: `sha256:${sha256}`, was, reason });
  await db
    .updateTable("tool_pin")
    .set({ sha256, definition: row.seen_definition, pinned_at: iso(now()), pinned_by: by })
    .set({ seen_sha256: null, seen_definition: null, seen_at: null })
    .where("server", "=", server)
    .where("tool", "=", tool)
    .execute();
  return null;
}
