/** Where ledgers are played in: one that counts in memory and one in Redis, each with a clock that is turned and a process that dies. */
import { createClient } from "@redis/client";
import { createLedger } from "../../src/call/budget/memory-ledger.ts";
import type { Balance, Ledger, PostedLine } from "../../src/call/budget/reservation.ts";
import type { RedisServer } from "../fixtures/redis.ts";
import { createStage, TURNED_BY_TEST } from "./shared-stage.ts";

export type World = {
  readonly name: string;
  /** The one of now: a crash brings another. */
  ledger(): Ledger;
  turnTo(nowMs: number): Promise<void>;
  /** With what its journal has. */
  restart(balances: readonly Balance[], nowMs: number): Promise<void>;
  /** A restart forgets what the time was. */
  readonly keepsClock: boolean;
  close(): Promise<void>;
};

/** What is on disk: the lines of every settlement, by window. */
export class Books {
  readonly #rows = new Map<string, { -readonly [Key in keyof Balance]: Balance[Key] }>();

  post(lines: readonly Pick<PostedLine, "line" | "posted" | "debt">[]): void {
    for (const { line, posted, debt } of lines) {
      const { draw, windowStartMs, windowEndMs } = line;
      const key = `${draw.budget} ${draw.scope} ${windowStartMs}`;
      const row = this.#rows.get(key) ?? {
        budget: draw.budget,
        scope: draw.scope,
        windowStartMs,
        windowEndMs,
        committed: 0,
        held: 0,
        debt: 0,
      };
      row.committed += posted;
      row.debt += debt;
      this.#rows.set(key, row);
    }
  }
  open(nowMs: number): readonly Balance[] {
    const isOpen = ({ windowEndMs }: Balance) => windowEndMs === null || windowEndMs > nowMs;
    return [...this.#rows.values()].filter((row) => isOpen(row) && row.committed + row.debt > 0);
  }
}

export function memoryWorld(sabotaged: (ledger: Ledger) => Ledger = (ledger) => ledger): World {
  let ledger = sabotaged(createLedger([]));
  return {
    name: "in memory",
    keepsClock: false,
    ledger: () => ledger,
    turnTo: async () => {},
    async restart(balances, nowMs) {
      ledger = sabotaged(createLedger(balances, { nowMs }));
    },
    close: async () => {},
  };
}

export async function redisWorld(redis: RedisServer): Promise<World> {
  const stage = createStage(redis);
  const clock = createClient({ url: redis.url });
  await clock.connect();
  const turnTo = async (nowMs: number) => void (await clock.set(`{${stage.namespace}}:test-clock`, String(nowMs)));
  const join = async (initial: readonly Balance[]) => {
    const sharer = await stage.join({ initial, time: TURNED_BY_TEST, beatMs: 3_600_000 });
    while (!sharer.sharing.status().open) await new Promise((resolve) => setTimeout(resolve, 1));
    return sharer;
  };
  await turnTo(0);
  let sharer = await join([]);
  return {
    name: "in Redis",
    keepsClock: true,
    ledger: () => sharer.journaled,
    turnTo,
    async restart(balances) {
      sharer.sharing.close();
      sharer = await join(balances);
    },
    async close() {
      stage.close();
      clock.destroy();
    },
  };
}
