/** The registry's PostgreSQL dies under a transaction: whoever asked is told, and the process lives. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openPostgres, RegistryAway } from "../../src/control/postgres.ts";
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
});
