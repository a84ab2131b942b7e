/** A POST that carries an Idempotency-Key is done once, at whichever gateway: the second time it is answered as the first was, secrets apart. */
import { createHash, randomUUID } from "node:crypto";
import { RegistryAway } from "../postgres.ts";
import { agreedNowMs } from "../shared-clock.ts";
import type { ControlStore } from "../store.ts";
import type { Answer, Route } from "./route.ts";

export type IdempotentPosts = {
  /** Runs `make` unless a post with this key ran before or runs now; only what succeeds is remembered. */
  once(asked: AskedPost, make: () => Promise<Answer>): Promise<Answer>;
};

export type AskedPost = {
  readonly principal: string;
  /** As the header has it. */
  readonly key: string | undefined;
  readonly request: () => string;
} & Pick<Route, "namedByKey">;

export type IdempotentPostsParts = {
  readonly store: Pick<ControlStore, "db" | "shared">;
  readonly gateway: string;
  readonly now: () => number;
  readonly fault: (thrown: unknown) => void;
};

/** As long as Stripe keeps them, which is what people expect. */
const KEPT_MS = 86_400_000;
/** Of one post: each further one means that the row has gone meanwhile. */
const TRIES_MAX = 4;
/** Some 40 bytes each. Whoever comes for one that is forgotten hears that its end is not known. */
const UNDONE_MAX = 10_000;

/** That a post has begun (`open` names it, and no other one), and where. */
type Open = { readonly open: string; readonly gateway: string };
/** What is kept: an answer as it was, or the name of what it made. */
type Kept = { readonly status: 200 | 201; readonly json: object } | { readonly made: string };

type Post = Pick<Route, "namedByKey"> & {
  readonly principal: string;
  readonly key: string;
  readonly fingerprint: string;
  readonly id: string;
  /** Its row, while it is under way. */
  readonly row: string;
};

const UNDER_WAY: Answer = { status: 409, detail: "a request with this Idempotency-Key is under way" };

export function openIdempotentPosts({ store, gateway, now, fault }: IdempotentPostsParts): IdempotentPosts {
  const { db } = store;
  const underWay = new Set<string>();
  /** Posts of this process that nothing was done of, and whose row the database may have all the same. */
  const undone = new Set<string>();

  function cameToNothing({ id }: Post): void {
    if (undone.size >= UNDONE_MAX) undone.clear();
    undone.add(id);
  }

  async function insert({ principal, key, fingerprint, row: made }: Post, expires_ms: number): Promise<boolean> {
    const { numInsertedOrUpdatedRows } = await db
      .insertInto("idempotent_post")
      .values({ principal, key, fingerprint, made, expires_ms })
      .onConflict((conflict) => conflict.columns(["principal", "key"]).doNothing())
      .executeTakeFirst();
    return numInsertedOrUpdatedRows === 1n;
  }

  /** As it was found: whoever has it since keeps it. */
  async function remove({ principal, key }: Post, row: string): Promise<void> {
    await db.deleteFrom("idempotent_post").where("principal", "=", principal).where("key", "=", key).where("made", "=", row).execute();
  }

  /** Null: the row of another post has gone, or was of nothing. */
  async function earlier(post: Post): Promise<Answer | null> {
    const { principal, key, fingerprint, namedByKey = false } = post;
    const before = await db
      .selectFrom("idempotent_post")
      .select(["fingerprint", "made"])
      .where("principal", "=", principal)
      .where("key", "=", key)
      .executeTakeFirst();
    if (before === undefined) return null;
    const kept = JSON.parse(before.made) as Kept | Open;
    if ("open" in kept && undone.has(kept.open)) {
      await remove(post, before.made);
      return null;
    }
    if (before.fingerprint !== fingerprint) return { status: 422, detail: "this Idempotency-Key was used with another request" };
    if ("status" in kept) return kept;
    if ("made" in kept) return { status: 409, detail: `this was done already and made ${kept.made}; its secret is not shown again` };
    // Nothing of this process has it under way: the one that began it has died, or could not write its end.
    if (namedByKey && kept.gateway === gateway) {
      await remove(post, before.made);
      return null;
    }
    return { status: 409, detail: wordsOf(kept, namedByKey) };
  }

  function wordsOf({ gateway: where }: Open, namedByKey: boolean): string {
    const what = "a request with this Idempotency-Key";
    const remedy = namedByKey ? "send it there again, where it is not done twice" : "see whether it was done, then use another key";
    if (where === gateway) return `${what} was begun here, and its end is not known: ${remedy}`;
    return `${what} is under way at the gateway ${where}, or its end is not known: ${remedy}`;
  }

  /** Null: the key is this post's, at every gateway. */
  async function take(post: Post): Promise<Answer | null> {
    const nowMs = await agreedNowMs(store, now);
    await db.deleteFrom("idempotent_post").where("expires_ms", "<", nowMs).execute();
    for (let tries = 0; tries < TRIES_MAX; tries += 1) {
      try {
        if (await insert(post, nowMs + KEPT_MS)) return null;
      } catch (thrown) {
        // The row may be written, and only the word of it lost.
        cameToNothing(post);
        throw thrown;
      }
      const before = await earlier(post);
      if (before !== null) return before;
    }
    return UNDER_WAY;
  }

  /** Never rejects: what was done is done, and is answered, whether or not that can be written here. */
  async function end(post: Post, kept: Kept | null): Promise<void> {
    const { principal, key, row } = post;
    try {
      if (kept === null) return await remove(post, row);
      await db
        .updateTable("idempotent_post")
        .set({ made: JSON.stringify(kept) })
        .where("principal", "=", principal)
        .where("key", "=", key)
        .where("made", "=", row)
        .execute();
    } catch (thrown) {
      if (kept === null) cameToNothing(post);
      if (!(thrown instanceof RegistryAway)) fault(thrown);
    }
  }

  async function answered(post: Post, make: () => Promise<Answer>): Promise<Answer> {
    const before = await take(post);
    if (before !== null) return before;
    let kept: Kept | null = null;
    try {
      const answer = await make();
      kept = "json" in answer ? keptOf(answer) : null;
      return answer;
    } finally {
      await end(post, kept);
    }
  }

  return {
    async once({ principal, key: header, request, namedByKey }, make) {
      if (header === undefined) return await make();
      const key = header.replace(/^"|"$/g, "");
      if (!/^[!-~]{1,255}$/.test(key)) return { status: 400, detail: "Idempotency-Key: 1 to 255 visible characters" };
      const running = JSON.stringify([principal, key]);
      if (underWay.has(running)) return UNDER_WAY;
      const fingerprint = createHash("sha256").update(request()).digest("hex");
      const id = randomUUID();
      const open: Open = { open: id, gateway };
      underWay.add(running);
      try {
        return await answered({ principal, key, fingerprint, namedByKey, id, row: JSON.stringify(open) }, make);
      } finally {
        underWay.delete(running);
      }
    },
  };
}

function keptOf({ status, json, made }: Extract<Answer, { json: object }>): Kept {
  return made === undefined ? { status, json } : { made };
}
