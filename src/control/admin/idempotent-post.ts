/** A POST that carries an Idempotency-Key is done once: the second time it is answered as the first was, secrets apart. */
import { createHash } from "node:crypto";
import { agreedNowMs } from "../shared-clock.ts";
import type { ControlStore } from "../store.ts";
import type { Answer } from "./route.ts";

export type IdempotentPosts = {
  /** Runs `make` unless a post with this key ran before or runs now; only what succeeds is remembered. */
  once(principal: string, key: string | undefined, request: () => string, make: () => Promise<Answer>): Promise<Answer>;
};

/** As long as Stripe keeps them, which is what people expect. */
const KEPT_MS = 86_400_000;

/** What is kept: an answer as it was, or the name of what it made. */
type Kept = { readonly status: 200 | 201; readonly json: object } | { readonly made: string };

export function openIdempotentPosts(store: ControlStore, now: () => number): IdempotentPosts {
  const underWay = new Set<string>();
  const earlier = async (principal: string, key: string, fingerprint: string): Promise<Answer | null> => {
    await store.db
      .deleteFrom("idempotent_post")
      .where("expires_ms", "<", await agreedNowMs(store, now))
      .execute();
    const before = await store.db
      .selectFrom("idempotent_post")
      .select(["fingerprint", "made"])
      .where("principal", "=", principal)
      .where("key", "=", key)
      .executeTakeFirst();
    if (before === undefined) return null;
    if (before.fingerprint !== fingerprint) return { status: 422, detail: "this Idempotency-Key was used with another request" };
    const kept = JSON.parse(before.made) as Kept;
    if ("status" in kept) return kept;
    return { status: 409, detail: `this was done already and made ${kept.made}; its secret is not shown again` };
  };
  const keep = async (principal: string, key: string, fingerprint: string, kept: Kept) => {
    const expires_ms = (await agreedNowMs(store, now)) + KEPT_MS;
    await store.db
      .insertInto("idempotent_post")
      .values({ principal, key, fingerprint, made: JSON.stringify(kept), expires_ms })
      .onConflict((conflict) => conflict.columns(["principal", "key"]).doNothing())
      .execute();
  };
  return {
    async once(principal, header, request, make) {
      if (header === undefined) return await make();
      const key = header.replace(/^"|"$/g, "");
      if (!/^[!-~]{1,255}$/.test(key)) return { status: 400, detail: "Idempotency-Key: 1 to 255 visible characters" };
      const running = JSON.stringify([principal, key]);
      if (underWay.has(running)) return { status: 409, detail: "a request with this Idempotency-Key is under way" };
      const fingerprint = createHash("sha256").update(request()).digest("hex");
      underWay.add(running);
      try {
        const before = await earlier(principal, key, fingerprint);
        if (before !== null) return before;
        const answer = await make();
        if ("json" in answer) {
          const { status, json, made } = answer;
          await keep(principal, key, fingerprint, made === undefined ? { status, json } : { made });
        }
        return answer;
      } finally {
        underWay.delete(running);
      }
    },
  };
}
