/** A threshold that is crossed by what a crash leaves behind is told when the gateway is there again. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { GatewayProcess } from "./gateway-process.ts";
import { keyedCall, reasonOf } from "./keyed-call.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: all, permit: ["up/*"] }
budgets:
  - { name: four, meter: calls, limit: 4, period: total, notify: [25%, 50%, 75%] }
  - { name: rolled, meter: calls, limit: 4, rolling: 1d, notify: [50%] }
`;

let upstream: Upstream;
let gateway: GatewayProcess;
beforeAll(async () => {
  upstream = await startHttpUpstream();
  gateway = await GatewayProcess.start({ policies: POLICIES, servers: `  up: { url: "${upstream.mcpUrl}", timeout: 60s }` });
}, 60_000);
afterAll(async () => {
  await gateway?.stop();
  await upstream?.close();
});

test("each once, also after a further start", async () => {
  const token = await gateway.accessToken(await gateway.createAgent("bot"), "up");
  const told = async () =>
    (await gateway.json<{ kind: string; details: { budget: string; percent: number } }[]>("audit", "tail", "--kind", "budget.*"))
      .map(({ details }) => `${details.budget} ${details.percent}`)
      .toSorted();
  expect(reasonOf(await keyedCall(gateway, token, "echo", { text: "x" }))).toBe("passed");
  const unanswered = keyedCall(gateway, token, "slow", { ms: 60_000, nonce: "k" }).catch(() => null);
  await expect.poll(() => upstream.executions.some(({ id }) => id === "k")).toBe(true);
  expect(await told()).toEqual(["four 25"]);
  for (let starts = 0; starts < 2; starts++) {
    await gateway.signal("SIGKILL");
    await unanswered;
    await gateway.serve();
    await expect.poll(told).toEqual(["four 25", "four 50", "rolled 50"]);
  }
  expect(reasonOf(await keyedCall(gateway, token, "echo", { text: "x" }))).toBe("passed");
  expect(await told()).toEqual(["four 25", "four 50", "four 75", "rolled 50"]);
});
