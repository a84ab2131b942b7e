/** The keys of several gateways, in a real PostgreSQL and the journal of each. */
import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createJournalKeys } from "../../src/call/record/journal-keys.ts";
import { openReaderThread } from "../../src/call/record/reader.ts";
import type { KeyClaim, KeyEnding, KnownKey } from "../../src/call/record/retry-key.ts";
import { callKeys } from "../../src/control/call-keys.ts";
import { openPostgres, RegistryAway } from "../../src/control/postgres.ts";
import { createSharedKeys, type SharedKeys } from "../../src/control/shared-keys.ts";
import type { ControlStore } from "../../src/control/store.ts";
import { dropAllKeys, sweepKeys } from "../../src/retries.ts";
import { type PostgresServer, startPostgres, withoutPostgres } from "../fixtures/postgres.ts";
import { NOW_MS, newCallId, permitEntry, settlementEntry } from "./entries.ts";
import { newFolder, open } from "./journal-fixture.ts";
import { claimOf, describeRetryKeys, type KeyStage } from "./retry-keys-contract.ts";

const DAY_MS = 86_400_000;
const SETTLED = { state: "settled", result: null } as const;
const retryOf = (claim: KeyClaim, more: Partial<KeyClaim> = {}): KeyClaim => ({ ...claim, callId: newCallId(), ...more });

type Gateway = {
  keys: SharedKeys;
  permit(claim: KeyClaim): Promise<void>;
  settle(claim: KeyClaim, ending: Omit<KeyEnding, "key">): Promise<void>;
  /** From begin to end. */
  run(claim: KeyClaim, ending?: Omit<KeyEnding, "key">): Promise<void>;
  dropOwn: KeyStage["drop"];
  /** What its journal has. */
  known(key: string): Promise<KnownKey | null>;
  /** As after kill -9, and a new start. */
  crash(): Promise<void>;
};

const opened: (() => Promise<unknown>)[] = [];

async function openGateway(store: ControlStore, name: string): Promise<Gateway> {
  const dir = newFolder();
  const start = async () => {
    const [journal, reader] = [await open(dir), openReaderThread(dir)];
    const find = (key: string, atMs: number) => reader.ask("retryKey", key, atMs);
    const parts = { own: createJournalKeys(find), find: (key: string) => find(key, 0), rows: callKeys(store, name), gateway: name };
    const keys = createSharedKeys({ ...parts, fault: () => {} });
    await keys.catchUp();
    const end = async () => void (await Promise.all([journal.close(), reader.close()]));
    opened.push(() => keys.close().then(end));
    return { journal, reader, keys, end };
  };
  let parts = await start();
  const gateway: Gateway = {
    keys: parts.keys,
    permit: (claim) => parts.journal.permit({ ...permitEntry(claim.callId), key: claim }),
    async settle({ callId, key }, ending) {
      const state = ending.state === "free" ? "voided" : "posted";
      await parts.journal.settle({ ...settlementEntry(callId, 120, state), key: { key, ...ending } });
    },
    async run(claim, ending = SETTLED) {
      expect(await gateway.keys.begin(claim)).toEqual({ kind: "begun" });
      await gateway.permit(claim);
      await gateway.settle(claim, ending);
      gateway.keys.end(claim);
    },
    async dropOwn(which) {
      if (!("expiredMs" in which)) return dropAllKeys(parts.journal, which);
      const now = () => which.expiredMs;
      const rows = { ...callKeys(store, name), nowMs: async () => which.expiredMs, drop: async () => {} };
      await sweepKeys({ journal: parts.journal, reader: parts.reader, rows, now });
    },
    known: (key) => parts.reader.ask("retryKey", key, 0),
    async crash() {
      // What it still wanted to say is lost with its reader.
      await parts.end();
      parts = await start();
      gateway.keys = parts.keys;
    },
  };
  return gateway;
}

describe.skipIf(withoutPostgres)("the keys of several gateways", () => {
  let server: PostgresServer;
  let store: ControlStore;
  let first: Gateway;
  let second: Gateway;
  beforeAll(async () => {
    server = await startPostgres();
    store = await openPostgres(await server.database());
    // For all: each promise has keys of its own.
    [first, second] = await Promise.all([openGateway(store, "gw-1"), openGateway(store, "gw-2")]);
  }, 60_000);
  afterAll(async () => {
    await Promise.all(opened.map((close) => close().catch(() => {})));
    await store?.close();
    await server?.close();
  });
  /** As if that much time had gone by on the database's clock, by which alone they end. */
  const age = async (ms: number) => {
    await sql`UPDATE call_key SET expires_ms = expires_ms - ${ms}::bigint, replay_until_ms = replay_until_ms - ${ms}::bigint`.execute(
      store.db,
    );
  };
  const rowOf = ({ key }: KeyClaim) => store.db.selectFrom("call_key").selectAll().where("key", "=", key).executeTakeFirst();

  describe("as one of them sees them", () => {
    describeRetryKeys(async () => {
      return {
        ...first,
        get keys() {
          return first.keys;
        },
        until: (atMs) => age(atMs - NOW_MS),
        async drop(which) {
          await first.dropOwn(which);
          if ("expiredMs" in which) await callKeys(store, "gw-1").drop();
          else if ("agent" in which) await store.db.deleteFrom("call_key").where("agent_id", "=", which.agent).execute();
          else await store.db.deleteFrom("call_key").where("subject", "=", which.subject).execute();
        },
      };
    });
  });

  test("of many at once with one key, at both, exactly one begins", async () => {
    const both = [first, second] as const;
    for (let i = 0; i < 10; i += 1) {
      const claim = claimOf();
      const begun = await Promise.all(Array.from({ length: 10 }, (_, n) => both[n % 2 === 0 ? 0 : 1].keys.begin(retryOf(claim))));
      expect(begun.map(({ kind }) => kind).sort()).toEqual(["begun", ...Array(9).fill("in_flight")]);
    }
  });

  test("a call that ran at one is known at the other: how it ended, its kept result, and that another call has the key", async () => {
    const claim = claimOf({ replayUntilMs: NOW_MS + 1_000 });
    expect(await first.keys.begin(claim)).toEqual({ kind: "begun" });
    await first.permit(claim);
    expect(await second.keys.begin(retryOf(claim))).toEqual({ kind: "in_flight", callId: claim.callId });
    expect(await second.keys.begin(retryOf(claim, { fingerprint: "other" }))).toEqual({ kind: "mismatch", callId: claim.callId });
    await first.settle(claim, { state: "settled", result: "sealed" });
    // Until its row says so it is under way, and never free.
    expect(await second.keys.begin(retryOf(claim))).toEqual({ kind: "in_flight", callId: claim.callId });
    first.keys.end(claim);
    const own = await first.keys.begin(retryOf(claim));
    expect(own).toMatchObject({ known: { callId: claim.callId, state: "settled", result: "sealed", record: { settlement: "posted" } } });
    // The times that it says there are the database's.
    const known = { ...(own.kind === "ended" ? own.known : {}), expiresMs: expect.any(Number), replayUntilMs: expect.any(Number) };
    expect(await second.keys.begin(retryOf(claim))).toEqual({ kind: "ended", known });
    expect(await second.keys.begin(retryOf(claim, { fingerprint: "other" }))).toEqual({ kind: "mismatch", callId: claim.callId });
  });

  test("what was not sent at one may be made at the other, and a question is answered at either, once", async () => {
    const unsent = claimOf();
    await first.run(unsent, { state: "free", result: null });
    await second.run(retryOf(unsent, { fingerprint: "other" }));
    const asked = claimOf();
    await first.run(asked, { state: "waiting", result: null });
    await expect.poll(async () => (await rowOf(asked))?.state).toBe("waiting");
    // Nothing of this round was sent: the call waits on.
    await second.run(retryOf(asked), { state: "free", result: null });
    await expect.poll(async () => (await rowOf(asked))?.state).toBe("waiting");
    const rounds = [retryOf(asked), retryOf(asked)] as const;
    const begun = await Promise.all([first.keys.begin(rounds[0]), second.keys.begin(rounds[1])]);
    expect(begun.map(({ kind }) => kind).sort()).toEqual(["begun", "in_flight"]);
    const [winner, round] = begun[0].kind === "begun" ? [first, rounds[0]] : [second, rounds[1]];
    await winner.permit(round);
    await winner.settle(round, SETTLED);
    winner.keys.end(round);
    const loser = winner === first ? second : first;
    expect(await loser.keys.begin(retryOf(asked))).toMatchObject({ kind: "ended", known: { callId: asked.callId } });
  });

  test("a gateway that was killed says at its start what became of its calls: of unknown fate, settled, never sent", async () => {
    const [sent, settled, unsent, asked] = [claimOf(), claimOf(), claimOf(), claimOf()];
    for (const claim of [sent, settled, unsent, asked]) expect(await first.keys.begin(claim)).toEqual({ kind: "begun" });
    for (const claim of [sent, settled, asked]) await first.permit(claim);
    await first.settle(settled, SETTLED);
    await first.settle(asked, { state: "waiting", result: null });
    for (const claim of [sent, settled, unsent, asked])
      expect(await second.keys.begin(retryOf(claim))).toEqual({ kind: "in_flight", callId: claim.callId });
    await first.crash();
    const unknown = { outcome: "unknown", settlement: "unknown" };
    expect(await second.keys.begin(retryOf(sent))).toMatchObject({ kind: "ended", known: { state: "open", record: unknown } });
    expect(await second.keys.begin(retryOf(settled))).toMatchObject({ kind: "ended", known: { state: "settled" } });
    for (const claim of [unsent, asked]) expect(await second.keys.begin(retryOf(claim))).toEqual({ kind: "begun" });
  });

  test("a start leaves alone what another gateway has in hand", async () => {
    const claim = claimOf();
    await first.keys.begin(claim);
    await second.crash();
    expect(await second.keys.begin(retryOf(claim))).toEqual({ kind: "in_flight", callId: claim.callId });
  });

  test("keys that are over go, results before them", async () => {
    const claim = claimOf({ replayUntilMs: NOW_MS + 1_000 });
    await first.run(claim, { state: "settled", result: "sealed" });
    await expect.poll(async () => (await rowOf(claim))?.result).toBe("sealed");
    await age(1_000);
    await callKeys(store, "gw-2").drop();
    expect(await rowOf(claim)).toMatchObject({ state: "settled", result: null });
    await age(claim.expiresMs - NOW_MS);
    await callKeys(store, "gw-2").drop();
    expect(await rowOf(claim)).toBeUndefined();
  });

  test("a gateway whose clock is days ahead or behind frees nobody's key: not by asking, not by its own calls, not by its sweep", async () => {
    const [ahead, behind] = [2 * 86_400_000, -2 * 86_400_000];
    const at = (claim: KeyClaim, ms: number) => retryOf(claim, { atMs: claim.atMs + ms, expiresMs: claim.expiresMs + ms });
    for (const ms of [ahead, behind]) {
      const claim = claimOf();
      await first.run(claim);
      await expect.poll(async () => (await rowOf(claim))?.state).toBe("settled");
      expect(await second.keys.begin(at(claim, ms))).toMatchObject({ kind: "ended", known: { callId: claim.callId } });
      const own = at(claimOf(), ms);
      await second.run(own);
      await expect.poll(async () => (await rowOf(own))?.state).toBe("settled");
      await callKeys(store, "gw-2").drop();
      for (const key of [claim, own]) expect(await first.keys.begin(retryOf(key))).toMatchObject({ kind: "ended" });
    }
  });

  test("a gateway whose journal has a key as over says of its call how it ended, and not that it was never sent", async () => {
    const claim = claimOf({ atMs: NOW_MS - 2 * 86_400_000, expiresMs: NOW_MS - 86_400_000 });
    await first.run(claim);
    await expect.poll(async () => (await rowOf(claim))?.state).toBe("settled");
    expect(await second.keys.begin(retryOf(claim, { atMs: NOW_MS }))).toMatchObject({ kind: "ended" });
  });

  test("a call of which nothing was sent leaves its key free also where the journal still has an earlier call's, whose time is over", async () => {
    const over = { atMs: NOW_MS - 2 * DAY_MS, expiresMs: NOW_MS - DAY_MS, replayUntilMs: NOW_MS - DAY_MS };
    for (const isKilled of [false, true]) {
      const monday = claimOf(over);
      await first.run(monday, { state: "settled", result: "sealed" });
      await expect.poll(async () => (await rowOf(monday))?.state).toBe("settled");
      await age(DAY_MS);
      const tuesday = retryOf(monday, { ...claimOf(), key: monday.key, fingerprint: "other" });
      expect(await first.keys.begin(tuesday)).toEqual({ kind: "begun" });
      // It is refused before it is permitted, or the gateway is killed before.
      if (isKilled) await first.crash();
      else first.keys.end(tuesday);
      await expect.poll(() => rowOf(tuesday)).toBeUndefined();
      expect(await second.keys.begin(retryOf(tuesday))).toEqual({ kind: "begun" });
    }
  });

  test("a journal keeps how a call ended until the registry has heard of it, and no longer than its time", async () => {
    const over = { atMs: NOW_MS - 2 * DAY_MS, expiresMs: NOW_MS - DAY_MS };
    const [unsaid, said] = [claimOf(over), claimOf(over)];
    await first.run(said);
    await expect.poll(async () => (await rowOf(said))?.state).toBe("settled");
    expect(await first.keys.begin(unsaid)).toEqual({ kind: "begun" });
    await first.permit(unsaid);
    await first.settle(unsaid, SETTLED);
    await first.dropOwn({ expiredMs: NOW_MS });
    expect(await first.known(said.key)).toBeNull();
    first.keys.end(unsaid);
    await expect.poll(async () => (await rowOf(unsaid))?.state).toBe("settled");
    expect(await second.keys.begin(retryOf(unsaid))).toMatchObject({ kind: "ended", known: { callId: unsaid.callId } });
    await first.dropOwn({ expiredMs: NOW_MS });
    expect(await first.known(unsaid.key)).toBeNull();
  });

  test("while the registry is away no new key begins, and what ended meanwhile is said when it is back", async () => {
    const [settled, unsent, ended] = [claimOf(), claimOf(), claimOf()];
    await first.run(ended);
    await first.keys.begin(retryOf(ended));
    for (const claim of [settled, unsent]) expect(await first.keys.begin(claim)).toEqual({ kind: "begun" });
    await first.permit(settled);
    await server.kill();
    const refused = claimOf();
    await expect(first.keys.begin(refused)).rejects.toBeInstanceOf(RegistryAway);
    // What its own journal knows needs nobody else.
    expect(await first.keys.begin(retryOf(ended))).toMatchObject({ kind: "ended" });
    await first.settle(settled, SETTLED);
    first.keys.end(settled);
    first.keys.end(unsent);
    expect(await first.keys.begin(retryOf(settled))).toMatchObject({ kind: "ended" });
    await server.start();
    await expect.poll(() => rowOf(settled).catch(() => null), { timeout: 10_000 }).toMatchObject({ state: "settled" });
    await expect.poll(() => rowOf(unsent).catch(() => null), { timeout: 10_000 }).toBeUndefined();
    for (const claim of [refused, unsent]) await second.run(retryOf(claim));
    expect(await second.keys.begin(retryOf(settled))).toMatchObject({ kind: "ended", known: { callId: settled.callId } });
  });
});
