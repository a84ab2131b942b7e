/** The registry's PostgreSQL dies under a transaction: whoever asked is told, and the process lives. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openPostgres, RegistryAway } from "../../src/control/postgres.ts";
import { doorTo } from "../fixtures/database-door.ts";
import { type PostgresServer, startPostgres, withoutPostgres } from "../fixtures/postgres.ts";

describe.skipIf(withoutPostgres)("a database that dies", () => {
  let postgres: PostgresServer;
  beforeAll(async () => {
    postgres = await startPostgres();
  }, 60_000);
  afterAll(() => postgres?.close());

  test("in the middle of a transaction ends that one and not the process, and the next one after its return succeeds", async () => {
    const faults: unknown[] = [];
    const heard = (fault: unknown) => void faults.push(fault);
    process.on("uncaughtException", heard);
    const store = await openPostgres(await postgres.database());
    try {
      const work = store.write(async ({ db }) => {
        await postgres.kill();
        await new Promise((resolve) => setTimeout(resolve, 200));
        return await db.selectFrom("agent").selectAll().execute();
      });
      await expect(work).rejects.toBeInstanceOf(RegistryAway);
      expect(faults).toEqual([]);
      await postgres.start();
      await expect
        .poll(
          () =>
            store.db
              .selectFrom("agent")
              .selectAll()
              .execute()
              .catch(() => null),
          { timeout: 10_000 },
        )
        .toEqual([]);
    } finally {
      process.off("uncaughtException", heard);
      await store.close();
    }
  });

  test("that cuts the listener off while it begins leaves one listener, and none after the store is closed", async () => {
    const door = await doorTo(new URL(await postgres.database()));
    const store = await openPostgres(door.url);
    door.cut = "LISTEN";
    await store.onNotice(() => {});
    await expect.poll(door.listening, { timeout: 10_000 }).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(door.listening()).toBe(1);
    await store.close();
    await expect.poll(() => door.sockets.size, { timeout: 5_000 }).toBe(0);
    await door.close();
  });

  test("that takes a listener's connection and says nothing while the store closes is not listened to afterwards", async () => {
    const door = await doorTo(new URL(await postgres.database()));
    const store = await openPostgres(door.url);
    door.held = true;
    const listening = store.onNotice(() => {});
    await expect.poll(() => door.waiting.length).toBe(1);
    const closed = store.close();
    door.held = false;
    for (const go of door.waiting) go();
    await Promise.all([closed, listening]);
    await expect.poll(() => door.sockets.size, { timeout: 5_000 }).toBe(0);
    expect(door.listening()).toBe(0);
    await door.close();
  });
});
