/** The evidence over the admin API; a key that is bound to a customer reads that customer's alone. */
import { RECORDS_MAX, type StoredRecord } from "../../call/record/books.ts";
import type { Reader } from "../../call/record/reader.ts";
import { isRecordOf } from "../../call/record/record-owner.ts";
import type { Registry } from "../agents/registry.ts";
import { isTheirs } from "./permissions.ts";
import { type Caller, notThere, pageOf, type Route, route } from "./route.ts";

export type AuditParts = { readonly reader: Reader; readonly registry: Registry };

export function auditRoutes({ reader, registry }: AuditParts): readonly Route[] {
  return [
    route({
      method: "GET",
      path: "/audit/records",
      permission: "audit:read",
      summary:
        "The newest records, or the first ones beyond the sequence number `after`, oldest first; with `agent` of that one alone, with `kind` of those kinds: `budget.*`.",
      body: null,
      async answer({ caller, query }) {
        const { limit, after } = pageOf(query, RECORDS_MAX);
        if (after !== null && !/^[0-9]{1,15}$/.test(after)) return { status: 400, detail: "after is the sequence of a record" };
        const agent = query.agent === undefined ? null : registry.find(query.agent);
        if (agent === undefined || (agent !== null && !isTheirs(caller, agent.customer)))
          return notThere(caller, `there is no agent ${query.agent}`);
        const { kind = null } = query;
        if (kind !== null && !KIND.test(kind))
          return { status: 400, detail: "kind is the kind of a record, or a pattern of kinds: budget.*" };
        const only = onlyOf(registry, caller, agent?.id ?? null, kind);
        const items = await reader.ask("tail", limit, after === null ? null : Number(after), only);
        return { status: 200, json: { items, next_cursor: items.at(-1)?.sequence.toString() ?? null } };
      },
    }),
    route({
      method: "GET",
      path: "/audit/records/:call",
      permission: "audit:read",
      summary: "The record of a call by its id, or any record by its sequence number, with its inclusion proof.",
      body: null,
      async answer({ caller, params }) {
        const found = await reader.ask("record", params.call ?? "");
        // Whose it was nobody can tell any more: a key that is bound to a customer is not told that it was there.
        if (found === null && caller.customer === null && (await reader.ask("isPurged", params.call ?? "")))
          return notThere(caller, `the record of ${params.call} was purged: its leaf stays, its words are gone`);
        if (found === null || !mayRead(registry, caller, found.record)) return notThere(caller, `there is no record of ${params.call}`);
        return { status: 200, json: found };
      },
    }),
    route({
      method: "GET",
      path: "/audit/root",
      permission: "audit:read",
      summary: "The size of the log and its root.",
      body: null,
      answer: async () => ({ status: 200, json: await reader.ask("root") }),
    }),
  ];
}

const KIND = /^[a-z_.*]{1,64}$/;

function onlyOf(registry: Registry, { customer }: Caller, agent: string | null, kind: string | null) {
  if (customer === null && agent === null && kind === null) return null;
  return { customer, agent, kind, agents: registry.all().flatMap((profile) => (profile.customer === customer ? [profile.id] : [])) };
}

function mayRead(registry: Registry, { customer }: Caller, record: StoredRecord): boolean {
  return customer === null || isRecordOf(record, customer, (agentId) => registry.byId(agentId)?.customer);
}
