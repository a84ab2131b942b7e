import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startHttpUpstream } from "../fixtures/http-upstream.ts";
import { type PostgresServer, startPostgres, withoutPostgres } from "../fixtures/postgres.ts";
import { httpSink, kind } from "../sync/http-sink.ts";
import { forge } from "../sync/ledger.ts";
import { ids } from "../sync/stage.ts";
import { type Credentials, GatewayProcess, modernRequest, sleep } from "./gateway-process.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements: [{ name: all, permit: ["*/*"] }]
`;
const call = (gateway: GatewayProcess, accessToken: string, nonce: string) =>
  modernRequest(`${gateway.publicUrl}/mcp/up`, accessToken, "tools/call", { name: "echo", arguments: { text: "x", nonce } }, nonce);
const SECRET = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;

type Status = {
  sinks: {
    name: string;
    streams: { stream: string; pending: number; lag_seconds: number }[];
    refused: number;
    last_error: string | null;
  }[];
  webhooks: { name: string; waiting: number }[];
};
type Reconciled = { items: { sink: string; comparable: boolean; counts: Record<string, number>; hours: object[] }[] };

describe.skipIf(withoutPostgres)("a gateway with a collector, a ledger and a webhook", () => {
  let postgres: PostgresServer;
  let ledger: string;
  let upstream: Awaited<ReturnType<typeof startHttpUpstream>>;
  let collector: Awaited<ReturnType<typeof httpSink>>;
  let gateway: GatewayProcess;
  let accessToken: string;
  const told: string[] = [];
  const hook = createServer((request, response) => {
    let body = "";
    request
      .on("data", (bytes) => (body += bytes))
      .on("end", () => {
        told.push((JSON.parse(body) as { type: string }).type);
        response.writeHead(204).end();
      });
  });

  beforeAll(async () => {
    postgres = await startPostgres();
    ledger = await postgres.database();
    upstream = await startHttpUpstream();
    collector = await httpSink();
    await new Promise<void>((resolve) => hook.listen(0, "127.0.0.1", resolve));
    gateway = await GatewayProcess.start({
      policies: POLICIES,
      servers: `  up: { url: "${upstream.mcpUrl}" }`,
      more: `sync:
  - { type: cloudevents, name: meter, url: "${collector.url}", bearer: env:METER, every: 1h }
  - { type: postgres, name: ledger, url: env:LEDGER, every: 1h }
webhooks:
  - { name: ops, url: "http://127.0.0.1:${(hook.address() as AddressInfo).port}/", secret: env:HOOK, events: [agent.*] }
`,
      env: { METER: "canary-meter", LEDGER: ledger, HOOK: SECRET },
    });
    const agent: Credentials = await gateway.createAgent("looper");
    accessToken = await gateway.accessToken(agent, "up");
    for (const nonce of ["a", "b", "c"]) expect((await call(gateway, accessToken, nonce)).status).toBe(200);
  }, 120_000);
  afterAll(async () => {
    await gateway?.stop();
    await upstream?.close();
    await collector?.close();
    hook.close();
    await postgres?.close();
  });

  test("what waits is shown, sent when asked for, and then shown as gone", async () => {
    const before = await gateway.json<Status>("sync", "status");
    expect(before.sinks.map(({ name, streams }) => [name, streams[0]?.pending])).toEqual([
      ["meter", 3],
      ["ledger", 3],
    ]);
    const flushed = await gateway.json<{ items: { name: string; error: null }[] }>("sync", "flush");
    const all = { error: null, set_aside: 0, newly_set_aside: 0, retrying: 0 };
    expect(flushed.items).toEqual(["meter", "ledger", "ops"].map((name) => ({ name, ...all })));
    expect((await gateway.command("sync", "flush", "--sink", "meter")).stdout).toBe("meter: has it all\n");
    expect(ids(collector.taken)).toHaveLength(3);
    const after = await gateway.json<Status>("sync", "status");
    expect(after.sinks.map(({ streams }) => streams[0]?.pending)).toEqual([0, 0]);
    expect((await gateway.command("sync", "status")).stdout).toMatch(
      /^SINK +STREAM[\s\S]*meter +usage +3 +0[\s\S]*WEBHOOK[\s\S]*ops +enabled/,
    );
    expect(told).toContain("agent.created");
  });

  test("metrics tell of each sink by the name that the operator gave it", async () => {
    await call(gateway, accessToken, "d");
    const text = await (await fetch(`${gateway.probesUrl}/metrics`)).text();
    expect(text).toContain('tollgate_sync_pending{sink="meter"} 1');
    expect(text).toMatch(/tollgate_sync_lag_seconds\{sink="ledger"\} \d/);
    expect(text).toContain('tollgate_sync_unknown{sink="meter"} 0');
    expect(text).toContain('tollgate_webhook_disabled{webhook="ops"} 0');
    expect(text).not.toContain("canary-meter");
  });

  test("reconcile finds nothing, then what somebody has changed in the ledger; each run is on record", async () => {
    await gateway.json("sync", "flush");
    const until = new Date(Date.now() + 60_000).toISOString();
    const clean = await gateway.json<Reconciled>("sync", "reconcile", "--until", until);
    expect(clean.items.map(({ sink, comparable }) => [sink, comparable])).toEqual([
      ["meter", false],
      ["ledger", true],
    ]);
    const audited = await gateway.json<{ ok: boolean; gateways: { events: number }[] }>("sync", "audit", "--sink", "ledger");
    expect(audited).toMatchObject({ ok: true, gateways: [{ events: 4 }] });

    const nobody = await gateway.command("sync", "audit", "--gateway", "gw_nobody");
    expect([nobody.code, nobody.stdout]).toEqual([1, "gw_nobody: nothing there\n"]);

    await forge(ledger, "UPDATE tollgate_event SET data = jsonb_set(data, '{quantity,tool_tokens}', '0') WHERE sequence = 2");
    const { code, stdout } = await gateway.command("sync", "reconcile", "--sink", "ledger", "--until", until, "--json");
    expect(code).toBe(1);
    expect((JSON.parse(stdout) as Reconciled).items[0]?.counts).toMatchObject({ value_mismatch: 1, missing: 0 });
    const refuted = await gateway.command("sync", "audit");
    expect([refuted.code, refuted.stdout]).toEqual([1, expect.stringContaining("is not what record")]);
    const records = await gateway.json<{ kind: string; details: Record<string, unknown> }[]>("audit", "tail", "--limit", "50");
    const runs = records.filter(({ kind }) => kind === "sync.reconciled");
    expect(runs.map(({ details }) => [details.sink, details.comparable, details.value_mismatch])).toEqual([
      ["meter", false, 0],
      ["ledger", true, 0],
      ["ledger", true, 1],
    ]);
  });

  test("what a sink has refused is listed with its reason, sent again for a reason, or let go of, both on record", async () => {
    collector.manner = (_, response) => void response.writeHead(422).end();
    for (const nonce of ["e", "f"]) await call(gateway, accessToken, nonce);
    const first = await gateway.command("sync", "flush", "--sink", "meter");
    expect([first.code, first.stdout]).toEqual([1, "meter: has all but 2 set aside, 2 of them now (tollgate sync status --asides)\n"]);
    const second = await gateway.command("sync", "flush", "--sink", "meter");
    expect([second.code, second.stdout]).toEqual([0, "meter: has all but 2 set aside (tollgate sync status --asides)\n"]);
    const again = await gateway.command("sync", "flush", "--sink", "meter", "--refused", "--reason", "they said to");
    expect([again.code, again.stdout]).toEqual([1, first.stdout]);
    const { asides } = await gateway.json<{ asides: { state: string; reason: string; id: string }[] }>("sync", "status", "--asides");
    expect(asides).toMatchObject([
      { state: "refused", reason: "the sink answered 422" },
      { state: "refused", reason: "the sink answered 422" },
    ]);
    expect((await gateway.command("sync", "flush", "--refused")).code).toBe(2);
    const settled = await gateway.json("sync", "settle", "--sink", "meter", "--refused", "--reason", "billed by hand");
    expect(settled).toEqual({ settled: 2 });
    const records = await gateway.json<{ kind: string; administrator: string; details: object }[]>("audit", "tail", "--limit", "5");
    expect(records.findLast(({ kind }) => kind === "sync.decided")).toMatchObject({
      administrator: "first",
      details: { sink: "meter", states: "refused", decision: "settle", reason: "billed by hand" },
    });
  });

  test("an audit of a ledger that was emptied says that nothing is there, and is no success", async () => {
    await forge(ledger, "TRUNCATE tollgate_event, tollgate_record, tollgate_checkpoint");
    const emptied = await gateway.command("sync", "audit");
    expect([emptied.code, emptied.stdout]).toEqual([1, "nothing there\n"]);
    const { code, stdout } = await gateway.command("sync", "audit", "--json");
    expect([code, JSON.parse(stdout)]).toEqual([1, { ok: false, gateways: [] }]);
  });

  test("the status can be read without a gateway, and no secret is in its output", async () => {
    await gateway.stop();
    const status = await gateway.json<Status>("sync", "status");
    expect(status.sinks.map(({ name }) => name)).toEqual(["meter", "ledger"]);
    expect((await gateway.command("sync", "flush")).code).toBe(69);
    expect(gateway.output).not.toContain("canary-meter");
    expect(gateway.output).not.toContain(SECRET);
  });
});

test("calls wait for a sink only where the configuration says how many, and go on when it has them", async () => {
  const upstream = await startHttpUpstream();
  const collector = await httpSink((_, response) => void response.writeHead(503).end());
  const gateway = await GatewayProcess.start({
    policies: POLICIES,
    servers: `  up: { url: "${upstream.mcpUrl}" }`,
    more: `sync: [{ type: cloudevents, url: "${collector.url}", every: 100ms, backlogMax: 2 }]\n`,
  });
  try {
    const accessToken = await gateway.accessToken(await gateway.createAgent("looper"), "up");
    let status = 200;
    for (let i = 0; status === 200 && i < 1_000; i++) {
      const answer = await call(gateway, accessToken, `n${i}`);
      status = answer.status;
      await sleep(10);
    }
    expect(status).toBe(503);
    collector.manner = kind;
    await gateway.json("sync", "flush");
    for (let i = 0; status !== 200 && i < 1_000; i++) {
      status = (await call(gateway, accessToken, `m${i}`)).status;
      await sleep(10);
    }
    expect(status).toBe(200);
  } finally {
    await gateway.stop();
    await collector.close();
    await upstream.close();
  }
}, 60_000);
