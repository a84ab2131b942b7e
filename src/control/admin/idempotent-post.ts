/** A POST that carries an Idempotency-Key makes its thing once: the second time it is told what the first one made. */
import { createHash } from "node:crypto";
import type { ControlStore } from "../store.ts";

type Post = {
  readonly fault: { readonly status: 400 | 409 | 422; readonly detail: string } | null;
  /** Remembers what was made; a secret is never kept, so it cannot be shown again. */
  done(made: string): void;
};

/** As long as Stripe keeps them, which is what people expect. */
const KEPT_MS = 86_400_000;

export function idempotentPost(store: ControlStore, header: string | undefined, body: string, nowMs: number): Post {
  if (header === undefined) return { fault: null, done: () => {} };
  const key = header.replace(/^"|"$/g, "");
  if (!/^[!-~]{1,255}$/.test(key))
    return { fault: { status: 400, detail: "Idempotency-Key: 1 to 255 visible characters" }, done: () => {} };
  const fingerprint = createHash("sha256").update(body).digest("hex");
  store.prepare("DELETE FROM idempotent_post WHERE expires_at < ?").run(nowMs);
  const before = store.prepare("SELECT fingerprint, made FROM idempotent_post WHERE key = ?").get(key) as
    | { fingerprint: string; made: string }
    | undefined;
  if (before !== undefined && before.fingerprint !== fingerprint)
    return { fault: { status: 422, detail: "this Idempotency-Key was used with another body" }, done: () => {} };
  if (before !== undefined)
    return {
      fault: { status: 409, detail: `this was done already and made ${before.made}; its secret is not shown again` },
      done: () => {},
    };
  return {
    fault: null,
    done: (made) =>
      void store
        .prepare("INSERT OR IGNORE INTO idempotent_post (key, fingerprint, made, expires_at) VALUES (?, ?, ?, ?)")
        .run(key, fingerprint, made, nowMs + KEPT_MS),
  };
}
