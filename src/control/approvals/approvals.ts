/** Questions to people that calls wait for, and the answers: recorded before they take effect, each used for one call at most. */
import type { AgentProfile } from "../../call/authenticate/agent.ts";
import { type CallId, mintId } from "../../ids.ts";
import type { RuleRef } from "../../refusal.ts";
import type { ControlStore } from "../store.ts";
import type { ApprovalRow } from "../tables.ts";
import { approversOf, ruleOf } from "./approvers.ts";
import type { AskedCall } from "./asked-call.ts";

export type ApprovalsOptions = {
  readonly store: Pick<ControlStore, "db" | "write">;
  readonly audit: (
    kind: "approval.created" | "approval.decided" | "approval.expired",
    by: string,
    details: Readonly<Record<string, string | number | null>>,
  ) => Promise<void>;
  readonly now: () => number;
};

export type NewQuestion = AskedCall & {
  readonly profile: AgentProfile;
  readonly callId: CallId;
  readonly rule: RuleRef | null;
  readonly approvers: readonly string[];
  readonly withinMs: number;
  /** Of the arguments, as the records of the calls have it. */
  readonly argumentsHmac: string;
};

export type Decision = {
  readonly state: "approved" | "denied";
  readonly reason: string;
  readonly by: string;
  /** How it was said. */
  readonly via: "api" | "link" | "agent";
};
/** `customer` null: of all customers. `after`: an id. */
export type Wanted = {
  readonly customer: string | null;
  readonly state: ApprovalRow["state"] | null;
  readonly after: string | null;
  readonly limit: number;
};

export type Approvals = {
  /** The question or answer that counts for the call now; a yes that was used counts no more. */
  standing(fingerprint: string): Promise<ApprovalRow | undefined>;
  /** Makes the question, unless one stands already. Null: too many of the agent's wait. */
  ask(question: NewQuestion): Promise<ApprovalRow | null>;
  /** True for one of all who ask, whichever gateway they ask: the yes is that call's. */
  use(id: string, callId: CallId): Promise<boolean>;
  giveBack(id: string, callId: CallId): Promise<void>;
  find(id: string): Promise<ApprovalRow | undefined>;
  list(wanted: Wanted): Promise<readonly ApprovalRow[]>;
  /** What stands once it was tried, and whether this decision is what stands: the first one does. */
  decide(id: string, decision: Decision): Promise<{ readonly row: ApprovalRow; readonly stands: boolean } | null>;
  /** The agent's own user does not want it any more: also of what is approved and was not used. False: nothing to withdraw. */
  withdraw(id: string, fingerprint: string, agentId: string): Promise<boolean>;
  /** Questions whose time is over become a no; what is long over is forgotten, as the records keep it. */
  sweep(): Promise<void>;
};

/** Of one agent, undecided: a person has to read each of them. */
export const PENDING_MAX = 20;
/** Long enough to look up what was decided last month. */
const KEPT_MS = 31 * 86_400_000;
/** At once; the rest goes with the next sweep. */
const SWEPT_MAX = 500;
const STANDING_MAX = 50;

export function openApprovals({ store, audit, now }: ApprovalsOptions): Approvals {
  type Db = Pick<typeof store.db, "selectFrom" | "updateTable" | "insertInto">;
  const standing = async (db: Db, fingerprint: string) => {
    const rows = await db
      .selectFrom("approval")
      .selectAll()
      .where("fingerprint", "=", fingerprint)
      .where("expires_ms", ">", now())
      .where("state", "<>", "expired")
      .where("used_by", "is", null)
      .orderBy("id", "desc")
      .limit(STANDING_MAX)
      .execute();
    return rows.find(({ state }) => state !== "pending") ?? rows[0];
  };
  const byId = (db: Db, id: string) => db.selectFrom("approval").selectAll().where("id", "=", id).executeTakeFirst();
  const expire = async (db: Db, row: ApprovalRow): Promise<ApprovalRow> => {
    await audit("approval.expired", "gateway", factsOf(row));
    await db.updateTable("approval").set({ state: "expired", arguments: null }).where("id", "=", row.id).execute();
    return { ...row, state: "expired", arguments: null };
  };
  const settle = async (db: Db, row: ApprovalRow, { state, reason, by, via }: Decision): Promise<ApprovalRow> => {
    const decided = { state, decided_at: new Date(now()).toISOString(), decided_by: by, decided_reason: reason, arguments: null };
    await audit("approval.decided", by, { ...factsOf(row), decision: state, reason, via });
    await db.updateTable("approval").set(decided).where("id", "=", row.id).execute();
    return { ...row, ...decided };
  };
  return {
    standing: (fingerprint) => standing(store.db, fingerprint),
    ask: (question) =>
      store.write(async ({ db }) => {
        const before = await standing(db, question.fingerprint);
        if (before !== undefined) return before;
        const pending = await db
          .selectFrom("approval")
          .select(({ fn }) => fn.countAll<number>().as("count"))
          .where("agent_id", "=", question.profile.id)
          .where("state", "=", "pending")
          .where("expires_ms", ">", now())
          .executeTakeFirstOrThrow();
        if (Number(pending.count) >= PENDING_MAX) return null;
        const row = rowOf(question, now());
        await audit("approval.created", row.agent_id, {
          ...factsOf(row),
          expires_at: new Date(row.expires_ms).toISOString(),
          arguments: question.argumentsHmac,
        });
        await db.insertInto("approval").values(row).execute();
        return row;
      }),
    async use(id, callId) {
      const { numUpdatedRows } = await store.db
        .updateTable("approval")
        .set({ used_by: callId })
        .where("id", "=", id)
        .where("state", "=", "approved")
        .where("used_by", "is", null)
        .where("expires_ms", ">", now())
        .executeTakeFirst();
      return numUpdatedRows === 1n;
    },
    async giveBack(id, callId) {
      await store.db.updateTable("approval").set({ used_by: null }).where("id", "=", id).where("used_by", "=", callId).execute();
    },
    find: (id) => byId(store.db, id),
    async list({ customer, state, after, limit }) {
      let wanted = store.db.selectFrom("approval").selectAll().orderBy("id").limit(limit);
      if (customer !== null) wanted = wanted.where("customer", "=", customer);
      if (state !== null) wanted = wanted.where("state", "=", state);
      // Of those that wait, one whose time is over waits no more, swept or not.
      if (state === "pending") wanted = wanted.where("expires_ms", ">", now());
      if (after !== null) wanted = wanted.where("id", ">", after);
      return await wanted.execute();
    },
    decide: (id, decision) =>
      store.write(async ({ db }) => {
        const row = await byId(db, id);
        if (row === undefined) return null;
        if (row.state !== "pending") return { row, stands: false };
        if (row.expires_ms <= now()) return { row: await expire(db, row), stands: false };
        return { row: await settle(db, row, decision), stands: true };
      }),
    withdraw: (id, fingerprint, agentId) =>
      store.write(async ({ db }) => {
        const row = await byId(db, id);
        const isOpen = row?.state === "pending" || row?.state === "approved";
        if (row === undefined || !isOpen || row.fingerprint !== fingerprint || row.used_by !== null || row.expires_ms <= now())
          return false;
        await settle(db, row, { state: "denied", reason: WITHDRAWN, by: agentId, via: "agent" });
        return true;
      }),
    async sweep() {
      const late = await store.db
        .selectFrom("approval")
        .select("id")
        .where("state", "=", "pending")
        .where("expires_ms", "<=", now())
        .limit(SWEPT_MAX)
        .execute();
      for (const { id } of late) {
        await store.write(async ({ db }) => {
          const row = await byId(db, id);
          // Another gateway may have been here first.
          if (row?.state === "pending" && row.expires_ms <= now()) await expire(db, row);
        });
      }
      await store.db
        .deleteFrom("approval")
        .where("state", "<>", "pending")
        .where("expires_ms", "<", now() - KEPT_MS)
        .execute();
    },
  };
}

const WITHDRAWN = "declined by the agent's own user";

function rowOf(question: NewQuestion, nowMs: number): ApprovalRow {
  return {
    id: mintId("apr", nowMs),
    agent_id: question.profile.id,
    customer: question.profile.customer,
    fingerprint: question.fingerprint,
    call_id: question.callId,
    target: question.target,
    arguments: question.shown,
    arguments_bytes: question.shownBytes,
    arguments_sha256: question.shownSha256,
    rule: JSON.stringify(question.rule),
    approvers: JSON.stringify(question.approvers),
    state: "pending",
    expires_ms: nowMs + question.withinMs,
    created_at: new Date(nowMs).toISOString(),
    decided_at: null,
    decided_by: null,
    decided_reason: null,
    used_by: null,
  };
}

/** Never the arguments: they may hold anything. */
function factsOf(row: ApprovalRow) {
  const { id, agent_id, customer, call_id, target } = row;
  const rule = ruleOf(row);
  const by = approversOf(row).join(" or ");
  return { approval_id: id, agent_id, customer, call_id, target, rule: rule && `${rule.name} (${rule.file}:${rule.line})`, approvers: by };
}
