/** Two gateways of one registry hear of the same things: each is told once. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { StoreUnavailable } from "../../src/call/record/journal.ts";
import { createTelling, type Teller } from "../../src/control/budgets/telling.ts";
import { tellingOf } from "../../src/control/budgets/told.ts";
import { RegistryAway } from "../../src/control/postgres.ts";
import { type ControlStore, openControlStore } from "../../src/control/store.ts";
import { DAY_MS, drawOf, HOUR_MS } from "../budget/draws.ts";
import { type PostgresServer, startPostgres, withoutPostgres } from "../fixtures/postgres.ts";
import { newFolder } from "./plane.ts";

/** Of today: what is long over the registry forgets. */
const NOON = Math.floor(Date.now() / DAY_MS) * DAY_MS;

const lineOf = (changes: Parameters<typeof drawOf>[0] = {}, windowStartMs = NOON, windowEndMs: number | null = NOON + DAY_MS) => ({
  draw: drawOf({ period: "day", ...changes }),
  windowStartMs,
  windowEndMs,
});
const ROLLING = { budget: "rolled", period: "rolling", rollingMs: HOUR_MS } as const;
/** A slot of it, by the minute. */
const slotAt = (atMs: number) => lineOf(ROLLING, atMs, atMs + HOUR_MS + 60_000);

describe.skipIf(withoutPostgres)("what two gateways hear of", () => {
  let server: PostgresServer;
  let stores: ControlStore[] = [];
  let written: string[] = [];
  let fault: Error | null = null;
  beforeAll(async () => {
    server = await startPostgres();
  }, 60_000);
  afterEach(async () => {
    for (const store of stores) await store.close();
    [stores, written, fault] = [[], [], null];
  });
  afterAll(() => server?.close());

  const pair = async (): Promise<readonly [Teller, Teller, (gateway: string) => Promise<Teller>]> => {
    const database = await server.database();
    const teller = async (gateway: string) => {
      const store = await openControlStore(newFolder(), database);
      stores.push(store);
      return createTelling({
        isTeller: tellingOf(store, gateway, () => performance.now()),
        async write({ draw, windowStartMs }, percent) {
          if (fault !== null) throw fault;
          written.push(`${gateway} ${draw.budget} ${(windowStartMs - NOON) / HOUR_MS} ${percent}`);
        },
        fault(thrown) {
          throw thrown;
        },
      });
    };
    return [await teller("gw-1"), await teller("gw-2"), teller];
  };
  const told = async (...tellers: readonly Teller[]) => {
    for (const { settled } of tellers) await settled();
    return written.splice(0);
  };

  test("is told by one of them, whoever hears of it how often, and by both of two windows", async () => {
    const [first, second] = await pair();
    for (let i = 0; i < 50; i++) for (const each of [first, second]) each.tell(lineOf(), 50, 5, i === 0);
    expect(await told(first, second)).toHaveLength(1);
    second.tell(lineOf(), 80, 8);
    for (let i = 0; i < 2; i++) second.tell(lineOf({}, NOON + DAY_MS, NOON + 2 * DAY_MS), 50, 8, false);
    first.tell(lineOf(), 0, 8);
    expect((await told(first, second)).toSorted()).toEqual(["gw-1 b 0 0", "gw-2 b 0 80", "gw-2 b 24 50"]);
  });

  test("is told after all where the journal was away, or the gateway has died before it was there", async () => {
    const [first, second, teller] = await pair();
    fault = new StoreUnavailable("full");
    first.tell(lineOf(), 50, 5);
    await first.settled();
    second.tell(lineOf(), 50, 5, false);
    expect(await told(first, second)).toEqual([]);
    fault = null;
    second.tell(lineOf(), 50, 5, false);
    expect(await told(second)).toEqual([]);
    const again = await teller("gw-1");
    again.tell(lineOf(), 50, 6, false);
    expect(await told(again)).toEqual(["gw-1 b 0 50"]);
  });

  test("of a rolling window is told once in each length of it, and not because the length before goes on into it", async () => {
    const [first, second] = await pair();
    first.tell(slotAt(NOON), 50, 5);
    await first.settled();
    second.tell(slotAt(NOON + 30 * 60_000), 50, 5);
    expect(await told(first, second)).toEqual(["gw-1 rolled 0 50"]);
    // It goes on, for two lengths.
    second.tell(slotAt(NOON + HOUR_MS), 50, 5, false);
    await second.settled();
    first.tell(slotAt(NOON + 2 * HOUR_MS), 50, 5, false);
    expect(await told(second, first)).toEqual([]);
    // It falls, and rises again there.
    second.tell(slotAt(NOON + 2 * HOUR_MS + 60_000), 50, 5, true);
    await second.settled();
    first.tell(slotAt(NOON + 2 * HOUR_MS + 60_000), 50, 5, true);
    expect(await told(second, first)).toEqual([`gw-2 rolled ${2 + 1 / 60} 50`]);
    // Nobody has seen it rise, and the length before it knows nothing.
    first.tell(slotAt(NOON + 9 * HOUR_MS), 50, 5, false);
    expect(await told(first)).toEqual(["gw-1 rolled 9 50"]);
  });

  test("is told by both where the registry is away, and nothing else of it is a fault", async () => {
    const [first] = await pair();
    const faults: unknown[] = [];
    const alone = (thrown: Error) =>
      createTelling({
        isTeller: () => Promise.reject(thrown),
        write: async ({ draw }, percent) => void written.push(`${draw.budget} ${percent}`),
        fault: (of) => void faults.push(of),
      });
    const [away, broken] = [alone(new RegistryAway("away")), alone(new Error("broken"))];
    for (const each of [away, broken]) each.tell(lineOf(), 50, 5);
    expect(await told(first, away, broken)).toEqual(["b 50", "b 50"]);
    expect(faults).toEqual([new Error("broken")]);
  });

  test("holds up no end of the gateway where the registry hangs", async () => {
    let asked = 0;
    const hung = createTelling({
      isTeller: async () => {
        asked += 1;
        await new Promise((resolve) => setTimeout(resolve, 900));
        return true;
      },
      write: async ({ draw }, percent) => void written.push(`${draw.budget} ${percent}`),
      fault: (thrown) => expect.unreachable(String(thrown)),
    });
    for (let i = 1; i <= 100; i++) hung.tell(lineOf(), i, 5);
    await hung.close();
    expect([asked < 10, written.length]).toEqual([true, asked]);
  });

  test("parts of budgets and ended windows leave nothing for ever", async () => {
    const [first, second] = await pair();
    first.tell(lineOf({ budget: "delegated:sub_1" }, 0, null), 0, 5);
    first.tell(lineOf({ budget: "total" }, 0, null), 0, 5);
    first.tell(lineOf({ budget: "past" }, NOON - 400 * DAY_MS, NOON - 399 * DAY_MS), 0, 5);
    await told(first);
    // The sweep comes with the first that a gateway tells.
    second.tell(lineOf({ budget: "next" }), 0, 5);
    await told(second);
    const rows = await stores[0]?.db.selectFrom("budget_told").select(["budget", "expires_ms"]).orderBy("budget").execute();
    expect(rows?.map(({ budget, expires_ms }) => [budget, expires_ms === null])).toEqual([
      ["delegated:sub_1", false],
      ["next", false],
      ["total", true],
    ]);
  });
});
