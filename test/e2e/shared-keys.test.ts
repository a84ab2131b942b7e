/** One key at two gateways of one registry: one call, whichever of them a retry reaches, and whatever becomes of the one that made it. */
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { callKeys, OPEN_MS } from "../../src/control/call-keys.ts";
import { openPostgres } from "../../src/control/postgres.ts";
import type { ControlStore } from "../../src/control/store.ts";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { withoutPostgres } from "../fixtures/postgres.ts";
import type { GatewayProcess } from "./gateway-process.ts";
import { type Keyed, keyedCall, reasonOf, type Said, textOf } from "./keyed-call.ts";
import { administer, type SharedRegistry, startSharedRegistry } from "./shared-registry.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: plain, permit: ["up/echo", "up/slow"] }
  - { name: kept, permit: ["up/add"], idempotency: { replay: 1h } }
`;

describe.skipIf(withoutPostgres)("a key at two gateways of one registry", () => {
  let upstream: Upstream;
  let stage: SharedRegistry;
  let first: GatewayProcess;
  let second: GatewayProcess;
  let accessToken: string;
  let registry: ControlStore;

  beforeAll(async () => {
    upstream = await startHttpUpstream();
    stage = await startSharedRegistry({ policies: POLICIES, servers: `  up: { url: "${upstream.mcpUrl}" }` });
    ({ first, second } = stage);
    registry = await openPostgres(stage.database);
    const agent = await first.createAgent("bot");
    accessToken = await first.accessToken(agent, "up");
    // The second hears of the agent.
    const heard = async () => expect(reasonOf(await call(second, "echo", { text: "x", nonce: "known" }))).toBe("passed");
    await vi.waitFor(heard, { timeout: 10_000 });
  }, 60_000);

  afterAll(async () => {
    await registry?.close();
    await stage?.close();
    await upstream?.close();
  });

  const call = (gateway: GatewayProcess, name: string, args: object, keyed: Keyed = {}): Promise<Said> =>
    // Their public URL is one: a balancer is what chooses.
    keyedCall({ publicUrl: gateway.listenUrl }, accessToken, name, args, keyed);
  const runs = (nonce: string) => upstream.executions.filter(({ id }) => id === nonce).length;

  test("tries at both at once are one call, and later ones hear at either how it ended", async () => {
    const args = { text: "once", nonce: "at-once" };
    const said = await Promise.all(
      Array.from({ length: 12 }, (_, id) => call(id % 2 === 0 ? first : second, "echo", args, { key: "at-once", id })),
    );
    expect(said.filter((each) => reasonOf(each) === "passed").map(textOf)).toEqual(["once"]);
    for (const each of said) expect(["passed", "idempotency_in_flight", "idempotency_settled"]).toContain(reasonOf(each));
    const ended = await Promise.all([first, second].map((gateway) => call(gateway, "echo", args, { key: "at-once" })));
    for (const each of ended) {
      expect(reasonOf(each)).toBe("idempotency_settled");
      expect(each.error?.data.first_call).toMatchObject({ fate: "known", outcome: "result", usage: { calls: 1 } });
    }
    expect(reasonOf(await call(second, "echo", { ...args, text: "twice" }, { key: "at-once" }))).toBe("idempotency_mismatch");
    expect(runs("at-once")).toBe(1);
  });

  test("a kept result is told by the gateway that did not make the call", async () => {
    const args = { a: 1, b: 2, nonce: "kept" };
    const made = await call(first, "add", args, { key: "kept" });
    const again = await call(second, "add", args, { key: "kept", id: 9 });
    expect([again.replayed, again.id, textOf(again)]).toEqual(["true", 9, textOf(made)]);
    expect(runs("kept")).toBe(1);
  });

  test("an erased agent's keys are gone from the registry", async () => {
    const agent = await second.createAgent("leaving");
    const token = await second.accessToken(agent, "up");
    await keyedCall({ publicUrl: second.listenUrl }, token, "echo", { text: "x", nonce: "leaving" }, { key: "leaving" });
    const left = () => registry.db.selectFrom("call_key").select("state").where("agent_id", "=", agent.id).execute();
    await expect.poll(left, { timeout: 10_000 }).toEqual([{ state: "settled" }]);
    expect((await administer(second, "POST", `/agents/${agent.id}/revoke`, { reason: "ended" })).status).toBe(200);
    const erased = await second.command("audit", "erase", "--agent", agent.id, "--reason", "ended");
    expect([erased.code, await left()]).toEqual([0, []]);
  });

  test("while the registry is away a call with a key is refused, and one without it is made", async () => {
    await stage.postgres.kill();
    try {
      expect(reasonOf(await call(first, "echo", { text: "x", nonce: "away" }, { key: "away" }))).toBe("store_unavailable");
      expect(reasonOf(await call(first, "echo", { text: "x", nonce: "no-key" }))).toBe("passed");
    } finally {
      await stage.postgres.start();
    }
    expect([runs("away"), runs("no-key")]).toEqual([0, 1]);
    await expect
      .poll(() => call(first, "echo", { text: "x", nonce: "away" }, { key: "away" }).then(reasonOf), { timeout: 10_000 })
      .toBe("passed");
  });

  test("of a gateway that was killed in the middle the other never makes the call again: in flight until it is back, then of unknown fate", async () => {
    const args = { ms: 60_000, nonce: "killed" };
    const broken = call(first, "slow", args, { key: "killed" }).catch(() => "broken");
    await expect.poll(() => runs("killed"), { timeout: 10_000 }).toBe(1);
    await first.signal("SIGKILL");
    expect(await broken).toBe("broken");
    const retries = await Promise.all(Array.from({ length: 4 }, (_, id) => call(second, "slow", args, { key: "killed", id })));
    expect(retries.map(reasonOf)).toEqual(Array(4).fill("idempotency_in_flight"));
    await first.serve();
    for (const gateway of [first, second]) {
      const said = await call(gateway, "slow", args, { key: "killed" });
      expect([reasonOf(said), said.error?.data.first_call?.fate]).toEqual(["idempotency_settled", "unknown"]);
    }
    expect(runs("killed")).toBe(1);
  });
});

describe.skipIf(withoutPostgres)("a key whose call lasts longer than the key is kept", () => {
  let upstream: Upstream;
  let stage: SharedRegistry;
  let accessToken: string;
  let registry: ControlStore;

  beforeAll(async () => {
    upstream = await startHttpUpstream();
    const servers = `  up: { url: "${upstream.mcpUrl}" }`;
    stage = await startSharedRegistry({ policies: POLICIES, servers, more: "idempotency: { keep: 1s }" });
    registry = await openPostgres(stage.database);
    accessToken = await stage.first.accessToken(await stage.first.createAgent("bot"), "up");
    const heard = async () => expect(reasonOf(await call(stage.second, "echo", { text: "x" }))).toBe("passed");
    await vi.waitFor(heard, { timeout: 10_000 });
  }, 60_000);

  afterAll(async () => {
    await registry?.close();
    await stage?.close();
    await upstream?.close();
  });

  const call = (gateway: GatewayProcess, name: string, args: object, keyed: Keyed = {}): Promise<Said> =>
    keyedCall({ publicUrl: gateway.listenUrl }, accessToken, name, args, keyed);
  const runs = (nonce: string) => upstream.executions.filter(({ id }) => id === nonce).length;
  const rows = () => registry.db.selectFrom("call_key").select(["state", "expires_ms"]).execute();
  /** A call of the first gateway that runs until it is ended, and whose key's time has passed by the clock of the database. */
  async function outlasting(nonce: string, signal?: AbortSignal) {
    const args = { ms: 60_000, nonce };
    const made = call(stage.first, "slow", args, { key: nonce, ...(signal === undefined ? {} : { signal }) }).catch(() => "broken");
    await expect.poll(() => runs(nonce), { timeout: 10_000 }).toBe(1);
    const keys = callKeys(registry, "gw-3");
    const untilMs = Math.max(...(await rows()).map(({ expires_ms }) => expires_ms));
    await expect.poll(async () => (await keys.nowMs()) > untilMs, { timeout: 10_000 }).toBe(true);
    // As each gateway does once a minute.
    await keys.drop();
    return { args, made };
  }

  test("is not free at another gateway before the call has ended, and is then over", async () => {
    const client = new AbortController();
    const { args, made } = await outlasting("long", client.signal);
    for (const gateway of [stage.first, stage.second])
      expect(reasonOf(await call(gateway, "slow", args, { key: "long" }))).toBe("idempotency_in_flight");
    expect(reasonOf(await call(stage.second, "echo", { text: "x" }, { key: "long" }))).toBe("idempotency_mismatch");
    client.abort();
    await made;
    await expect.poll(async () => (await rows()).map(({ state }) => state), { timeout: 10_000 }).toEqual(["settled"]);
    expect(reasonOf(await call(stage.second, "echo", { text: "x" }, { key: "long" }))).toBe("passed");
    expect(runs("long")).toBe(1);
  });

  test("stays in flight of a gateway that was killed, until that is back and says how it ended, or no call can last so long", async () => {
    const { args, made } = await outlasting("dead");
    await stage.first.signal("SIGKILL");
    expect(await made).toBe("broken");
    expect(reasonOf(await call(stage.second, "slow", args, { key: "dead" }))).toBe("idempotency_in_flight");
    await stage.first.serve();
    await expect.poll(async () => (await rows()).filter(({ state }) => state === "open"), { timeout: 10_000 }).toEqual([]);
    expect(runs("dead")).toBe(1);

    const gone = await outlasting("gone");
    await stage.first.signal("SIGKILL");
    await gone.made;
    expect(reasonOf(await call(stage.second, "slow", gone.args, { key: "gone" }))).toBe("idempotency_in_flight");
    await registry.db
      .updateTable("call_key")
      .set(({ eb }) => ({ expires_ms: eb("expires_ms", "-", OPEN_MS) }))
      .where("state", "=", "open")
      .execute();
    expect(reasonOf(await call(stage.second, "echo", { text: "x" }, { key: "gone" }))).toBe("passed");
    await stage.first.serve();
  });
});
