/** One Idempotency-Key of the admin API at gateways of one registry: what it asks for is done once, and told whatever becomes of the database. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { doorTo } from "../fixtures/database-door.ts";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { withoutPostgres } from "../fixtures/postgres.ts";
import { GatewayProcess } from "./gateway-process.ts";
import { type SharedRegistry, startSharedRegistry } from "./shared-registry.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: plain, permit: ["up/*"] }
budgets:
  - { name: purse, meter: calls, limit: 100_000, period: total }
`;

describe.skipIf(withoutPostgres)("an admin's Idempotency-Key at the gateways of one registry", () => {
  let upstream: Upstream;
  let stage: SharedRegistry;
  let door: Awaited<ReturnType<typeof doorTo>>;
  /** Reaches the database through the door. */
  let third: GatewayProcess;
  let adminKey: string;

  beforeAll(async () => {
    upstream = await startHttpUpstream();
    const servers = `  up: { url: "${upstream.mcpUrl}" }`;
    stage = await startSharedRegistry({ policies: POLICIES, servers });
    door = await doorTo(new URL(stage.database));
    third = await GatewayProcess.start({
      ...{ policies: POLICIES, servers, env: { REGISTRY: door.url } },
      more: "gatewayId: gw-3\nshared: { postgres: env:REGISTRY }",
    });
    adminKey = readFileSync(join(stage.first.folder, "data", "admin.key"), "utf8").trim();
  }, 60_000);

  afterAll(async () => {
    await third?.stop();
    await door?.close();
    await stage?.close();
    await upstream?.close();
  });

  const ask = async (gateway: GatewayProcess, method: string, path: string, body?: object, key?: string) => {
    const response = await fetch(`${gateway.adminUrl}/api/v1${path}`, {
      method,
      headers: {
        ...{ authorization: `Bearer ${adminKey}`, "content-type": "application/json" },
        ...(key === undefined ? {} : { "idempotency-key": key }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as { detail?: string; items?: { name: string; debt: number }[] } };
  };
  const debit = (gateway: GatewayProcess, key: string) =>
    ask(gateway, "POST", "/budgets/purse/debit", { amount: 1, reason: "a dispute" }, key);
  /** Each gateway counts for itself here. */
  const debts = async (...gateways: readonly GatewayProcess[]) => {
    const rows = await Promise.all(gateways.map((gateway) => ask(gateway, "GET", "/budgets")));
    return rows.map(({ body }) => body.items?.find(({ name }) => name === "purse")?.debt ?? 0).reduce((sum, debt) => sum + debt, 0);
  };

  test("is one debit of two that come at once, and whoever comes late hears the first answer", async () => {
    const { first, second } = stage;
    for (let i = 0; i < 10; i++) {
      const said = await Promise.all([first, second].map((gateway) => debit(gateway, `at-once-${i}`)));
      for (const { status } of said) expect([201, 409]).toContain(status);
      const [late, again] = await Promise.all([first, second].map((gateway) => debit(gateway, `at-once-${i}`)));
      expect([late?.status, again]).toEqual([201, late]);
    }
    expect(await debts(first, second)).toBe(10);
  });

  test("is answered where the debit is done and that cannot be written, and is then not done again", async () => {
    door.cut = `update "idempotent_post"`;
    expect((await debit(third, "cut-behind")).status).toBe(201);
    expect(door.cut).toBe(null);
    const again = await debit(third, "cut-behind");
    expect(again).toMatchObject({ status: 409, body: { detail: expect.stringContaining("its end is not known") } });
    expect(await debit(stage.first, "cut-behind")).toMatchObject({
      status: 409,
      body: { detail: expect.stringContaining("gateway gw-3") },
    });
    expect(await debts(third)).toBe(1);
  });

  test("does nothing where it cannot be written before, and is free once the database is back", async () => {
    const before = await debts(third);
    door.cut = `insert into "idempotent_post"`;
    expect((await debit(third, "cut-before")).status).toBe(503);
    expect([door.cut, await debts(third)]).toEqual([null, before]);
    expect([(await debit(third, "cut-before")).status, await debts(third)]).toEqual([201, before + 1]);
  });

  test("is free where the debit was refused while its row could not be taken away", async () => {
    const refused = () => ask(third, "POST", "/budgets/no-such/debit", { amount: 1, reason: "a typo" }, "cut-refused");
    door.cut = `delete from "idempotent_post" where "principal"`;
    expect((await refused()).status).toBe(404);
    expect(door.cut).toBe(null);
    expect((await refused()).status).toBe(404);
    expect((await debit(third, "cut-refused")).status).toBe(201);
  });

  test("of a report, which its key names, is sent again to the gateway that took it, and is a duplicate there", async () => {
    expect((await ask(stage.first, "POST", "/agents", { name: "reporter" })).status).toBe(201);
    const event = { agent_id: "reporter", event_type: "tokens.consumed", quantity: 5, metadata: { model: "m" } };
    const report = () => ask(third, "POST", "/metering/events", event, "cut-report");
    await expect.poll(async () => (await ask(third, "GET", "/agents/reporter")).status, { timeout: 10_000 }).toBe(200);
    door.cut = `update "idempotent_post"`;
    expect(await report()).toMatchObject({ status: 201, body: { accepted: 1, duplicates: 0 } });
    expect(door.cut).toBe(null);
    expect(await report()).toMatchObject({ status: 200, body: { accepted: 0, duplicates: 1 } });
  });
});
