/** A POST with an Idempotency-Key is done once, whatever its process and its database come to, by the clock that all gateways of one registry share. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openIdempotentPosts } from "../../src/control/admin/idempotent-post.ts";
import type { Answer } from "../../src/control/admin/route.ts";
import { openPostgres } from "../../src/control/postgres.ts";
import { type PostgresServer, startPostgres, withoutPostgres } from "../fixtures/postgres.ts";
import { type Opened, onBoth } from "./registries.ts";

const DAY_MS = 86_400_000;
const fault = (thrown: unknown) => {
  throw thrown;
};
const asked = (key: string, body = "the same", more: object = {}) => ({ principal: "key_1", key, request: () => body, ...more });

describe.skipIf(withoutPostgres)("posts of several gateways", () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgres();
  }, 60_000);
  afterAll(() => server?.close());

  test("none is done again because the clock of one gateway is days ahead or behind", async () => {
    const store = await openPostgres(await server.database());
    try {
      const [right, ahead, behind] = [0, 2 * DAY_MS, -2 * DAY_MS].map((offMs) =>
        openIdempotentPosts({ store, gateway: `gw-${offMs}`, now: () => Date.now() + offMs, fault }),
      );
      let made = 0;
      const post = async (posts: typeof right, key: string) => {
        await posts?.once(asked(key), async () => {
          made += 1;
          return { status: 201, json: { made } };
        });
      };
      await post(right, "a");
      await post(ahead, "a");
      await post(behind, "b");
      await post(right, "b");
      expect(made).toBe(2);
    } finally {
      await store.close();
    }
  });
});

onBoth("a post whose end nobody has written", (open) => {
  const at = ({ store }: Opened, gateway: string) => openIdempotentPosts({ store, gateway, now: Date.now, fault });
  const done = async (): Promise<Answer> => ({ status: 201, json: { done: true } });
  const never = async (): Promise<Answer> => expect.unreachable("it is done a second time");
  /** A process that dies in the middle of the work. */
  const die = async (posts: ReturnType<typeof at>, ...[key, body, more]: Parameters<typeof asked>) => {
    const begun = Promise.withResolvers<void>();
    void posts.once(asked(key, body, more), () => {
      begun.resolve();
      return new Promise(() => {});
    });
    await begun.promise;
  };

  test("is not done again, at the gateway that began it nor at another, and each says what to do", async () => {
    const opened = await open();
    await die(at(opened, "gw-1"), "a");
    expect(await at(opened, "gw-1").once(asked("a"), never)).toEqual({
      status: 409,
      detail: expect.stringMatching(/begun here.*not known.*use another key/),
    });
    expect(await at(opened, "gw-2").once(asked("a"), never)).toEqual({
      status: 409,
      detail: expect.stringMatching(/under way at the gateway gw-1, or its end is not known.*use another key/),
    });
    expect(await at(opened, "gw-2").once(asked("a", "something else"), never)).toMatchObject({ status: 422 });
  });

  test("is done again by the gateway that began it where its key names what it makes, and by no other", async () => {
    const opened = await open();
    const named = { namedByKey: true };
    await die(at(opened, "gw-1"), "a", "the same", named);
    expect(await at(opened, "gw-2").once(asked("a", "the same", named), never)).toEqual({
      status: 409,
      detail: expect.stringMatching(/gateway gw-1.*send it there again/),
    });
    const again = at(opened, "gw-1");
    expect(await again.once(asked("a", "the same", named), done)).toEqual(await done());
    expect(await at(opened, "gw-2").once(asked("a", "the same", named), never)).toEqual(await done());
  });

  test("that was refused, or has thrown, leaves its key free for any other request", async () => {
    const opened = await open();
    const [first, second] = [at(opened, "gw-1"), at(opened, "gw-2")];
    expect(await first.once(asked("a"), async () => ({ status: 422, detail: "no" }))).toMatchObject({ status: 422 });
    await expect(second.once(asked("a"), () => Promise.reject(new Error("broken")))).rejects.toThrow("broken");
    expect(await first.once(asked("a", "something else"), done)).toEqual(await done());
  });

  test("is forgotten after a day, as one that was done is", async () => {
    const opened = await open();
    await die(at(opened, "gw-1"), "a");
    await opened.store.db
      .updateTable("idempotent_post")
      .set(({ eb }) => ({ expires_ms: eb("expires_ms", "-", DAY_MS) }))
      .execute();
    // The clock that counts is the database's: it is past that instant in a moment.
    await expect.poll(() => at(opened, "gw-1").once(asked("a"), done)).toEqual(await done());
  });
});
