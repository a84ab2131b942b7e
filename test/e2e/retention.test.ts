import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { GatewayProcess, modernRequest } from "./gateway-process.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements: [{ name: all, permit: ["*/*"] }]
budgets: [{ name: calls, meter: calls, limit: 1000, period: total }]
`;

let upstream: Upstream;
let gateway: GatewayProcess;
beforeAll(async () => {
  upstream = await startHttpUpstream();
  gateway = await GatewayProcess.start({
    policies: POLICIES,
    servers: `  up: { url: "${upstream.mcpUrl}" }`,
    more: "retention: { atLeast: 1ms }",
  });
});
afterAll(async () => {
  await gateway.stop();
  await upstream.close();
});

async function agentWithCalls(name: string, calls: number) {
  const agent = await gateway.createAgent(name);
  const accessToken = await gateway.accessToken(agent, "up");
  for (let i = 0; i < calls; i++) {
    const params = { name: "echo", arguments: { text: `for ${name}` } };
    const answer = await modernRequest(`${gateway.publicUrl}/mcp/up`, accessToken, "tools/call", params, i);
    expect(await answer.text()).toContain("content");
  }
  return agent;
}

test("an erased agent leaves numbers and proofs, and no word; a hold keeps its words until it is lifted", async () => {
  const agent = await agentWithCalls("fritz-bot", 3);
  const other = await agentWithCalls("other-bot", 1);
  const file = join(gateway.folder, "fritz.jsonl");
  expect(await gateway.json("agent", "export", "fritz-bot", "--out", file)).toMatchObject({ agent: 1, credential: 1, usage_event: 3 });
  const lines = readFileSync(file, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { kind: string; value: { agent?: { id: string } } });
  expect(lines.filter(({ kind, value }) => kind === "record" && value.agent?.id === agent.id)).toHaveLength(3);
  expect(lines.map((line) => JSON.stringify(line)).join()).not.toMatch(new RegExp(`${other.id}|${agent.client_secret}`));
  expect(await gateway.command("agent", "export", "fritz-bot", "--out", file)).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("exists already"),
  });
  const before = await gateway.json<{ rows: unknown[] }>("usage", "--by", "customer,server");
  const early = await gateway.command("audit", "erase", "--agent", "fritz-bot", "--reason", "asked");
  expect(early).toMatchObject({ code: 1, stderr: expect.stringContaining("revoke it first") });
  await gateway.json("agent", "revoke", "fritz-bot");
  const nobody = await gateway.command("audit", "hold", "case-0", "--customer", "nobody", "--reason", "claim");
  expect(nobody).toMatchObject({ code: 1, stderr: expect.stringContaining("no customer nobody") });
  await gateway.json("audit", "hold", "case-1", "--agent", "fritz-bot", "--reason", "claim");

  const held = await gateway.json("audit", "erase", "--agent", "fritz-bot", "--reason", "asked");
  expect(held).toMatchObject({ purged: 0, kept_until_at_least: null, ground: expect.stringContaining("under a legal hold") });
  await gateway.json("audit", "lift", "case-1", "--reason", "settled");
  const name = `erased-${agent.id.slice(4)}`;
  const done = await gateway.json<{ purged: number; kept: number }>("audit", "erase", "--agent", agent.id, "--reason", "asked");
  expect(done.purged).toBeGreaterThanOrEqual(6);
  expect(done.kept).toBe(0);

  expect(await gateway.json("agent", "show", agent.id)).toMatchObject({ name, owner: "erased", purpose: "erased" });
  expect(await gateway.json("audit", "verify")).toMatchObject({ ok: true });
  expect(await gateway.json("usage", "--by", "customer,server")).toEqual({ ...before });
  const journal = new Database(join(gateway.folder, "data", "journal.db"), { readonly: true });
  const words = journal.prepare("SELECT body FROM audit_record UNION ALL SELECT data FROM usage_attributes").pluck().all().join("");
  journal.close();
  expect(words).not.toContain("fritz-bot");
  expect(words).toContain("other-bot");
  expect(readFileSync(join(gateway.folder, "data", "control.db")).includes("fritz-bot")).toBe(false);
  expect(await gateway.json("audit", "retention")).toMatchObject({ erasures: [{ agent_id: agent.id, done_at: expect.any(String) }] });
  expect(other.id).not.toBe(agent.id);
});

test("a purge takes what is old enough, by whoever may; younger records and lower roles are refused", async () => {
  const future = await gateway.command("audit", "purge", "--before", new Date(Date.now() + 60_000).toISOString());
  expect(future).toMatchObject({ code: 1, stderr: expect.stringContaining("kept for at least 1 ms: before") });
  expect((await gateway.command("audit", "retention")).stdout).toContain("kept for at least 1 ms, and never purged by age");
  const { key } = await gateway.json<{ key: string }>("admin-key", "create", "reader", "--role", "auditor");
  const barred = await fetch(`${gateway.adminUrl}/api/v1/audit/purge`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({ before: "2026-01-01" }),
  });
  expect(barred.status).toBe(403);
  const { purged } = await gateway.json<{ purged: number }>("audit", "purge", "--before", new Date(Date.now() - 1).toISOString());
  expect(purged).toBeGreaterThan(3);
  for (const command of [["audit", "show"], ["why"]])
    expect(await gateway.command(...command, "0")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("the record of 0 was purged"),
    });
  expect(await gateway.json("audit", "verify")).toMatchObject({ ok: true });
});

test("the key of a subject is destroyed once, and a subject without one says so", async () => {
  const nobody = await gateway.json("audit", "erase", "--subject", "u-1", "--customer", "default", "--reason", "asked");
  expect(nobody).toEqual({ destroyed_keys: 0 });
  const unclear = await gateway.command("audit", "erase", "--subject", "u-1", "--reason", "asked");
  expect(unclear).toMatchObject({ code: 2, stderr: expect.stringContaining("--customer") });
});

test("no byte of the data folder spells the name of an erased agent: neither in free pages nor in the write-ahead logs", async () => {
  // Many calls at once, so that permits fill pages that are free again when they are settled.
  const agent = await gateway.createAgent("hildegard-bot");
  const accessToken = await gateway.accessToken(agent, "up");
  const call = async (id: number) => {
    const params = { name: "echo", arguments: { text: "x" } };
    return (await modernRequest(`${gateway.publicUrl}/mcp/up`, accessToken, "tools/call", params, id)).text();
  };
  for (let round = 0; round < 5; round++) await Promise.all(Array.from({ length: 40 }, (_, i) => call(i)));
  expect(filesWith("hildegard-bot")).not.toEqual([]);
  await gateway.json("agent", "revoke", "hildegard-bot");
  expect(await gateway.json("audit", "erase", "--agent", "hildegard-bot", "--reason", "asked")).toMatchObject({ kept: 0 });
  expect(filesWith("hildegard-bot").filter((name) => name.startsWith("journal.db"))).toEqual([]);
  expect(await gateway.stop()).toBe(0);
  expect(filesWith("hildegard-bot")).toEqual([]);
});

function filesWith(word: string): string[] {
  const folder = join(gateway.folder, "data");
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return files.filter(({ parentPath, name }) => readFileSync(join(parentPath, name)).includes(word)).map(({ name }) => name);
}
