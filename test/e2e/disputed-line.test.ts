import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { type PostgresServer, startPostgres, withoutPostgres } from "../fixtures/postgres.ts";
import { GatewayProcess, modernRequest } from "./gateway-process.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements: [{ name: all, permit: ["*/*"] }]
budgets: [{ name: calls, meter: calls, limit: 1000, period: total }]
`;
type Line = { readonly agent: string; readonly type: string; readonly event_ids: readonly string[] };

describe.skipIf(withoutPostgres)("a disputed line of an invoice", () => {
  let postgres: PostgresServer;
  let upstream: Upstream;
  let gateway: GatewayProcess;
  let lines: readonly Line[] = [];
  let key = "";

  beforeAll(async () => {
    postgres = await startPostgres();
    upstream = await startHttpUpstream();
    const ledger = await postgres.database();
    gateway = await GatewayProcess.start({
      policies: POLICIES,
      servers: `  up: { url: "${upstream.mcpUrl}" }`,
      more: "sync: [{ type: postgres, name: ledger, url: env:LEDGER, every: 1h }]",
      env: { LEDGER: ledger },
    });
    const agent = await gateway.createAgent("biller");
    const accessToken = await gateway.accessToken(agent, "up");
    for (const text of ["a", "b"]) {
      const params = { name: "echo", arguments: { text } };
      await (await modernRequest(`${gateway.publicUrl}/mcp/up`, accessToken, "tools/call", params)).text();
    }
    const reports = ["r1", "r2", "r3"].map((id, i) => ({
      id,
      agent_id: agent.id,
      event_type: "tokens.consumed",
      quantity: 100 + i,
      metadata: { model: "m" },
    }));
    const taken = await fetch(`${gateway.adminUrl}/api/v1/metering/events`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${readFileSync(join(gateway.folder, "data/admin.key"), "utf8").trim()}`,
        "content-type": "application/json",
      },
      body: JSON.stringify(reports),
    });
    expect(await taken.json()).toMatchObject({ accepted: 3 });
    await gateway.json("sync", "flush");
    key = (await gateway.json<{ key: string }>("audit", "key")).key;
    const central = new pg.Client({ connectionString: ledger });
    await central.connect();
    lines = (await central.query<Line>("SELECT agent, type, event_ids FROM tollgate_invoice_line ORDER BY type")).rows;
    await central.end();
  }, 120_000);
  afterAll(async () => {
    await gateway?.stop();
    await upstream?.close();
    await postgres?.close();
  });

  test("names its events in the central ledger: of calls, and of what was reported", () => {
    expect(lines.map(({ agent, type, event_ids }) => [agent, type, event_ids.length])).toEqual([
      ["biller", "io.tollgate.call.settled.v1", 2],
      ["biller", "io.tollgate.llm.tokens.v1", 3],
    ]);
  });

  test.each([
    [0, 1, { calls: 1 }],
    [1, 1, { llm_tokens: 101 }],
    [1, 2, { llm_tokens: 102 }],
  ])(
    "line %i, event %i is followed to its inclusion proof with two commands, and a forged amount is not",
    async (line, index, quantity) => {
      const id = lines[line]?.event_ids[index] ?? "";
      const file = join(gateway.folder, `${line}-${index}.tlog-proof`);
      expect(await gateway.command("audit", "prove", id, "--out", file)).toMatchObject({ code: 0 });
      const verified = await gateway.json<Record<string, unknown>>("audit", "verify", "--proof", file, "--key", key);
      expect(verified).toMatchObject({ ok: true, signed_by: key, usage_event: { id, data: { agent: "biller", quantity } } });

      const [, extra = ""] = /^extra (.*)$/m.exec(readFileSync(file, "utf8")) ?? [];
      const [name = "", amount = 0] = Object.entries(quantity)[0] ?? [];
      const forged = Buffer.from(extra, "base64")
        .toString("utf8")
        .split("\n")
        .map((text, i) => (i === 1 ? text.replace(`"${name}":${amount}`, `"${name}":${amount + 900}`) : text))
        .join("\n");
      const lie = `${file}.forged`;
      writeFileSync(lie, readFileSync(file, "utf8").replace(extra, Buffer.from(forged).toString("base64")));
      expect(await gateway.command("audit", "verify", "--proof", lie, "--key", key)).toMatchObject({
        code: 1,
        stdout: expect.stringContaining("not the one that the record names"),
      });
    },
  );
});
