/** A POST that carries an Idempotency-Key makes its thing once: the second time it is told what the first one made. */
import { createHash } from "node:crypto";
import type { ControlStore } from "../store.ts";
import type { ProblemStatus } from "./problem.ts";

export type PostFault = { readonly status: ProblemStatus; readonly detail: string };

/** `made` names the thing in words; a secret is never kept, so it cannot be shown again. */
export type Made = { readonly made: string; readonly json: object };

export type IdempotentPosts = {
  /** Runs `make` unless a post with this key ran before or runs now; only what succeeds is remembered. */
  once(principal: string, key: string | undefined, request: string, make: () => Promise<Made | PostFault>): Promise<Made | PostFault>;
};

/** As long as Stripe keeps them, which is what people expect. */
const KEPT_MS = 86_400_000;

export function openIdempotentPosts(store: ControlStore, now: () => number): IdempotentPosts {
  const underWay = new Set<string>();
  const earlier = async (principal: string, key: string, fingerprint: string): Promise<PostFault | null> => {
    await store.db.deleteFrom("idempotent_post").where("expires_ms", "<", now()).execute();
    const before = await store.db
      .selectFrom("idempotent_post")
      .select(["fingerprint", "made"])
      .where("principal", "=", principal)
      .where("key", "=", key)
      .executeTakeFirst();
    if (before === undefined) return null;
    if (before.fingerprint !== fingerprint) return { status: 422, detail: "this Idempotency-Key was used with another request" };
    return { status: 409, detail: `this was done already and made ${before.made}; its secret is not shown again` };
  };
  const keep = (principal: string, key: string, fingerprint: string, made: string) =>
    store.db
      .insertInto("idempotent_post")
      .values({ principal, key, fingerprint, made, expires_ms: now() + KEPT_MS })
      .onConflict((conflict) => conflict.columns(["principal", "key"]).doNothing())
      .execute();
  return {
    async once(principal, header, request, make) {
      if (header === undefined) return await make();
      const key = header.replace(/^"|"$/g, "");
      if (!/^[!-~]{1,255}$/.test(key)) return { status: 400, detail: "Idempotency-Key: 1 to 255 visible characters" };
      const running = JSON.stringify([principal, key]);
      if (underWay.has(running)) return { status: 409, detail: "a request with this Idempotency-Key is under way" };
      const fingerprint = createHash("sha256").update(request).digest("hex");
      underWay.add(running);
      try {
        const fault = await earlier(principal, key, fingerprint);
        if (fault !== null) return fault;
        const answer = await make();
        if ("made" in answer) await keep(principal, key, fingerprint, answer.made);
        return answer;
      } finally {
        underWay.delete(running);
      }
    },
  };
}
