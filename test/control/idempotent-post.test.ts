/** What a POST with an Idempotency-Key made is remembered by the clock that all gateways of one registry share. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openIdempotentPosts } from "../../src/control/admin/idempotent-post.ts";
import { openPostgres } from "../../src/control/postgres.ts";
import { type PostgresServer, startPostgres, withoutPostgres } from "../fixtures/postgres.ts";

const DAY_MS = 86_400_000;

describe.skipIf(withoutPostgres)("posts of several gateways", () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgres();
  }, 60_000);
  afterAll(() => server?.close());

  test("none is done again because the clock of one gateway is days ahead or behind", async () => {
    const store = await openPostgres(await server.database());
    try {
      const [right, ahead, behind] = [0, 2 * DAY_MS, -2 * DAY_MS].map((offMs) => openIdempotentPosts(store, () => Date.now() + offMs));
      let made = 0;
      const post = async (posts: typeof right, key: string) => {
        await posts?.once(
          "key_1",
          key,
          () => "the same",
          async () => {
            made += 1;
            return { status: 201, json: { made } };
          },
        );
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
