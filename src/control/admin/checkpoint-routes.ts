/** What makes the log provable to outsiders, over the admin API: its key, signed checkpoints, proofs. */
import type { Signing } from "../../call/record/log-signing.ts";
import type { Reader } from "../../call/record/reader.ts";
import { isRecordOf } from "../../call/record/record-owner.ts";
import type { Registry } from "../agents/registry.ts";
import { type Answer, notThere, pageOf, type Route, route } from "./route.ts";

export type CheckpointParts = {
  readonly reader: Reader;
  readonly registry: Registry;
  readonly sign: () => Promise<Signing>;
  /** The verifier key; null while nothing is signed. */
  readonly key: () => string | null;
};

const PAGE_MAX = 1_000;
const NONE_YET: Answer = { status: 404, detail: "nothing has been signed yet: POST /api/v1/audit/checkpoints signs what is there now" };

export function checkpointRoutes({ reader, registry, sign, key }: CheckpointParts): readonly Route[] {
  return [
    route({
      method: "GET",
      path: "/audit/key",
      permission: "audit:read",
      summary: "The verifier key of the log (c2sp.org/signed-note): what checkpoints are verified with.",
      body: null,
      async answer() {
        const vkey = key();
        return vkey === null
          ? { status: 503, detail: "the log is not signed: the gateway's log says why" }
          : { status: 200, json: { key: vkey } };
      },
    }),
    route({
      method: "GET",
      path: "/audit/checkpoints",
      permission: "audit:read",
      summary: "Signed checkpoints, newest first; `after`: those of fewer records.",
      body: null,
      async answer({ query }) {
        const { limit, after } = pageOf(query, PAGE_MAX);
        if (after !== null && !/^[0-9]{1,15}$/.test(after)) return { status: 400, detail: "after is the size of a checkpoint" };
        const items = await reader.ask("checkpoints", limit, after === null ? null : Number(after));
        return { status: 200, json: { items, next_cursor: items.length < limit ? null : (items.at(-1)?.size.toString() ?? null) } };
      },
    }),
    route({
      method: "GET",
      path: "/audit/checkpoints/latest",
      permission: "audit:read",
      summary: "The newest signed checkpoint, with what witnesses have signed below it.",
      body: null,
      async answer() {
        const [latest] = await reader.ask("checkpoints", 1, null);
        return latest === undefined ? NONE_YET : { status: 200, json: latest };
      },
    }),
    route({
      method: "POST",
      path: "/audit/checkpoints",
      permission: "audit:read",
      summary: "Signs a checkpoint over what is recorded now.",
      body: null,
      async answer() {
        const signed = await sign();
        if (signed.kind === "refused") return { status: 503, detail: `the log is not signed: ${signed.why}` };
        const [latest] = await reader.ask("checkpoints", 1, signed.size + 1);
        return latest === undefined ? NONE_YET : { status: signed.kind === "signed" ? 201 : 200, json: latest };
      },
    }),
    route({
      method: "GET",
      path: "/audit/consistency",
      permission: "audit:read",
      summary: "That the log of `from` records is the beginning of the log of `to` records: hashes of RFC 6962 section 2.1.2, base64.",
      body: null,
      async answer({ query }) {
        const [from, to] = [sizeOf(query.from), sizeOf(query.to)];
        if (from === null || to === null) return { status: 400, detail: "from and to are sizes of the log" };
        const hashes = await reader.ask("consistency", from, to);
        if (hashes === null) return { status: 404, detail: `the log has no sizes ${from} and ${to} in this order` };
        return { status: 200, json: { from, to, hashes } };
      },
    }),
    route({
      method: "GET",
      path: "/audit/proofs/:wanted",
      permission: "audit:read",
      summary: "A proof that verifies offline (c2sp.org/tlog-proof), of a call, a record or a usage event, under the newest checkpoint.",
      body: null,
      async answer({ caller, params }) {
        const wanted = params.wanted ?? "";
        const found = await reader.ask("proof", wanted);
        const missing = notThere(caller, `there is no record of ${wanted}`);
        if (found.kind === "unknown") return missing;
        // Whose a purged record was is gone with it.
        if (found.kind === "purged")
          return caller.customer === null ? { status: 404, detail: `record ${found.sequence} was purged` } : missing;
        const owner = (agentId: string) => registry.byId(agentId)?.customer;
        if (caller.customer !== null && !isRecordOf(JSON.parse(found.body), caller.customer, owner)) return missing;
        if (found.kind === "unsigned")
          return { status: 409, detail: "no signed checkpoint covers it yet: POST /api/v1/audit/checkpoints first" };
        const { sequence, size, key, proof } = found;
        return { status: 200, json: { sequence, size, key, proof } };
      },
    }),
  ];
}

function sizeOf(written: string | undefined): number | null {
  return written !== undefined && /^[0-9]{1,15}$/.test(written) ? Number(written) : null;
}
