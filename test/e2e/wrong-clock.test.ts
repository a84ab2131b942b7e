/** A machine whose clock was years ahead for a while: budgets stay in the far window until the operator vouches for the clock. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { type Credentials, GatewayProcess, modernRequest } from "./gateway-process.ts";
import { administer } from "./shared-registry.ts";

const TEN_YEARS_MS = 3_650 * 86_400_000;
const clock = join(mkdtempSync(join(tmpdir(), "tollgate-clock-")), "offset");
const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: all, permit: ["*/*"] }
budgets:
  - { name: yearly, each: team, meter: calls, limit: 4, period: year }
  - { name: roll, each: team, meter: calls, limit: 4, rolling: 366d }
  - { name: model, each: agent, meter: llm_tokens, limit: 1000, period: day }
`;

let upstream: Upstream;
let gateway: GatewayProcess;
let credentials: Credentials;
beforeAll(async () => {
  upstream = await startHttpUpstream();
  writeFileSync(clock, "0");
  gateway = await GatewayProcess.start({
    servers: `  up: { url: "${upstream.mcpUrl}" }`,
    policies: POLICIES,
    env: { NODE_OPTIONS: `--import ${join(import.meta.dirname, "../fixtures/turned-clock.mjs")}`, TURNED_CLOCK: clock },
  });
  credentials = await gateway.createAgent("bot");
}, 60_000);
afterAll(async () => {
  await gateway?.stop();
  await upstream?.close();
});

async function call(of = credentials): Promise<string> {
  const token = await gateway.accessToken(of, "up");
  const answer = await modernRequest(`${gateway.publicUrl}/mcp/up`, token, "tools/call", { name: "echo", arguments: { text: "x" } });
  return /"reason":"(\w+)"/.exec(await answer.text())?.[1] ?? "passed";
}
const restart = async (...more: string[]) => {
  await gateway.stop();
  gateway.output = "";
  await gateway.serve(...more);
};
const calls = async (count: number) => {
  const said: string[] = [];
  for (let i = 0; i < count; i += 1) said.push(await call());
  return said;
};

test("serve --trust-clock, once, brings budgets back to the present with what was counted there; without it the start says so", async () => {
  expect(await calls(2)).toEqual(["passed", "passed"]);
  writeFileSync(clock, String(TEN_YEARS_MS));
  await restart();
  expect(await calls(3)).toEqual(["passed", "passed", "passed"]);
  writeFileSync(clock, "0");
  await restart();
  expect(gateway.output).toContain("restart once with serve --trust-clock");
  expect(await calls(2)).toEqual(["passed", "budget_exhausted"]);
  await restart("--trust-clock");
  expect(gateway.output).toContain("budgets go by the machine's clock again");
  expect(await call()).toBe("passed");
  // Also at the next start, which nobody vouches for.
  await restart();
  expect(gateway.output).not.toContain("--trust-clock");
  expect(await calls(2)).toEqual(["passed", "budget_exhausted"]);
  expect((await gateway.command("audit", "verify")).code).toBe(0);
});

test("what is reported while budgets stay in the far window counts there, where calls are judged, and is listed", async () => {
  const other = await gateway.createAgent("reader", "readers");
  writeFileSync(clock, String(TEN_YEARS_MS));
  await restart();
  expect(await call(other)).toBe("passed");
  writeFileSync(clock, "0");
  await restart();
  expect(await call(other)).toBe("passed");
  const event = { agent_id: "reader", event_type: "tokens.consumed", quantity: 5_000, metadata: { model: "m" }, id: "e1" };
  expect(await (await administer(gateway, "POST", "/metering/events", event)).json()).toMatchObject({ accepted: 1 });
  expect(await call(other)).toBe("budget_exhausted");
  const { items } = (await (await administer(gateway, "GET", "/budgets")).json()) as { items: unknown[] };
  expect(items).toContainEqual(expect.objectContaining({ name: "model", debt: 5_000, remaining: 0 }));
});
