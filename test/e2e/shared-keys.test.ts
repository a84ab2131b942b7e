/** One key at two gateways of one registry: one call, whichever of them a retry reaches, and whatever becomes of the one that made it. */
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
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
