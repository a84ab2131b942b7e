/** A POST that carries an Idempotency-Key makes its thing once: the second time it is told what the first one made. */
import { createHash } from "node:crypto";
import type { ControlStore } from "../store.ts";
import type { ProblemStatus } from "./problem.ts";

export type PostFault = { readonly status: ProblemStatus; readonly detail: string };

/** `made` names the thing in words; a secret is never kept, so it cannot be shown again. */
export type Made = { readonly made: string; readonly json: object };

export type IdempotentPosts = {
  /** Runs `make` unless a post with this key ran before or runs now; only what succeeds is remembered. */
  once(key: string | undefined, request: string, make: () => Promise<Made | PostFault>): Promise<Made | PostFault>;
};

/** As long as Stripe keeps them, which is what people expect. */
const KEPT_MS = 86_400_000;

export function openIdempotentPosts(store: ControlStore, now: () => number): IdempotentPosts {
  const underWay = new Set<string>();
  const sweep = store.prepare("DELETE FROM idempotent_post WHERE expires_at < ?");
  const find = store.prepare("SELECT fingerprint, made FROM idempotent_post WHERE key = ?");
  const keep = store.prepare("INSERT OR IGNORE INTO idempotent_post (key, fingerprint, made, expires_at) VALUES (?, ?, ?, ?)");
  const earlier = (key: string, fingerprint: string): PostFault | null => {
    sweep.run(now());
    const before = find.get(key) as { fingerprint: string; made: string } | undefined;
    if (before === undefined) return null;
    if (before.fingerprint !== fingerprint) return { status: 422, detail: "this Idempotency-Key was used with another request" };
    return { status: 409, detail: `this was done already and made ${before.made}; its secret is not shown again` };
  };
  return {
    async once(header, request, make) {
      if (header === undefined) return await make();
      const key = header.replace(/^"|"$/g, "");
      if (!/^[!-~]{1,255}$/.test(key)) return { status: 400, detail: "Idempotency-Key: 1 to 255 visible characters" };
      if (underWay.has(key)) return { status: 409, detail: "a request with this Idempotency-Key is under way" };
      const fingerprint = createHash("sha256").update(request).digest("hex");
      const fault = earlier(key, fingerprint);
      if (fault !== null) return fault;
      underWay.add(key);
      try {
        const answer = await make();
        if ("made" in answer) keep.run(key, fingerprint, answer.made, now() + KEPT_MS);
        return answer;
      } finally {
        underWay.delete(key);
      }
    },
  };
}
