import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { GatewayProcess } from "../e2e/gateway-process.ts";
import { query } from "../record/journal-fixture.ts";

const ROOT = join(import.meta.dirname, "../..");
const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: support, who: { team: support }, permit: [everything/echo, feature/render] }
budgets:
  - { name: renders, tools: [feature/render], each: customer, meter: calls, limit: 1000, period: month }
`;
const run = promisify(execFile);

let gateway: GatewayProcess;
let env: NodeJS.ProcessEnv;

beforeAll(async () => {
  const server = join(ROOT, "node_modules/.bin/mcp-server-everything");
  gateway = await GatewayProcess.start({ policies: POLICIES, servers: `  everything: { command: ["${server}", stdio] }` });
  const agent = await gateway.createAgent("triage-bot");
  env = {
    ...process.env,
    PUBLIC: gateway.publicUrl,
    TOKEN: await gateway.accessToken(agent, ""),
    ADMIN: gateway.adminUrl,
    KEY: readFileSync(join(gateway.folder, "data", "admin.key"), "utf8").trim(),
  };
});
afterAll(() => gateway?.stop());

/** Every `sh` block of a page, in order, in one shell: what a reader pastes. */
async function play(page: string): Promise<object[]> {
  const text = readFileSync(join(ROOT, "docs", page), "utf8");
  const blocks = [...text.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block = ""]) => block);
  const { stdout } = await run("bash", ["-euo", "pipefail", "-c", blocks.map((block) => `${block}\necho\n`).join("")], { env });
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as object);
}

test("the examples of docs/me.md do what the page says", async () => {
  const [me, check, call, wish] = await play("me.md");
  expect(me).toMatchObject({
    identity: { name: "triage-bot" },
    servers: [{ server: "everything", tools: [{ pattern: "everything/echo" }] }],
  });
  expect(check).toMatchObject({ allowed: true, reason: null });
  expect(call).toMatchObject({ status: 404, reason: "call_unknown" });
  expect(wish).toMatchObject({ state: "pending", tool: "everything/get-sum" });
});

test("the examples of docs/metering.md do what the page says", async () => {
  const [types, short, batch, corrected, usage, proof] = await play("metering.md");
  expect(types).toMatchObject({ items: expect.arrayContaining([expect.objectContaining({ short_name: "tokens.consumed" })]) });
  expect(short).toMatchObject({ accepted: 1, duplicates: 0, rejected: [] });
  expect(batch).toMatchObject({ accepted: 1, event_ids: [expect.stringMatching(/^evt_/)] });
  expect(corrected).toMatchObject({ event_id: expect.stringMatching(/^evt_/), duplicate: false });
  expect(usage).toMatchObject({ rows: [{ agent: "triage-bot", model: "m-1", llm_tokens: 1000, events: 2 }] });
  expect(proof).toMatchObject({ event: { data: { quantity: { llm_tokens: 1200 } } }, batch: { index: 0, size: 1, hashes: [] } });
  const text = readFileSync(join(ROOT, "docs/metering.md"), "utf8");
  const [, amounts, sums] = [...text.matchAll(/^```sql\n(.*?)^```$/gms)].map(([, sql = ""]) =>
    query(join(gateway.folder, "data/journal.db"), sql),
  );
  expect(amounts).toEqual([{ agent: "triage-bot", meter: "llm_tokens", amount: 1300 }]);
  expect(sums).toEqual([
    { event: 1, llm_tokens: 1000 },
    { event: 2, llm_tokens: 300 },
  ]);
});

test("the examples of docs/embedding.md do what the page says", async () => {
  const [decided, settled, requests] = await play("embedding.md");
  expect(decided).toMatchObject({ allowed: true, rule: { name: "support" } });
  expect(settled).toMatchObject({ state: "posted", usage: { calls: 1, tool_tokens: 312 }, charged: [{ budget: "renders", posted: 1 }] });
  expect(requests).toMatchObject({
    items: [{ tool: "everything/get-sum", entitlement: expect.stringMatching(/from: ".*"\n {2}until: "/) }],
  });
});
