import { afterAll, beforeAll, expect, test } from "vitest";
import { createProbeListener } from "../../src/control/admin/listeners.ts";
import { listen } from "../../src/listen.ts";
import { freePorts } from "../e2e/gateway-process.ts";

let url: string;
let close: () => Promise<void>;
const world = { listening: true, journal: true };

beforeAll(async () => {
  const [port = 0] = await freePorts(1);
  const readiness = () => Object.entries(world).map(([check, ok]) => ({ check, ok }));
  close = await listen(
    createProbeListener(readiness, async () => "tollgate_up 1\n"),
    { host: "127.0.0.1", port },
    "probes",
  );
  url = `http://127.0.0.1:${port}`;
});
afterAll(() => close?.());

test("the process is alive as long as it answers, whatever else is wrong", async () => {
  world.journal = false;
  const answer = await fetch(`${url}/healthz`);
  world.journal = true;
  expect([answer.status, await answer.text()]).toEqual([200, "ok\n"]);
});

test("it is ready only when every check is, and says which is not", async () => {
  const ready = await fetch(`${url}/readyz`);
  expect([ready.status, await ready.json()]).toEqual([200, { ready: true, checks: { listening: true, journal: true } }]);
  world.journal = false;
  const unready = await fetch(`${url}/readyz`);
  world.journal = true;
  expect([unready.status, await unready.json()]).toEqual([503, { ready: false, checks: { listening: true, journal: false } }]);
});

test("metrics are in the text format of Prometheus", async () => {
  const answer = await fetch(`${url}/metrics`);
  expect(answer.headers.get("content-type")).toContain("version=0.0.4");
  expect(await answer.text()).toBe("tollgate_up 1\n");
});

test("nothing else is served, and nothing takes a body", async () => {
  for (const path of ["/", "/api/v1/agents", "/mcp/tickets", "/oauth/token", "/debug"])
    expect((await fetch(`${url}${path}`)).status).toBe(404);
  for (const path of ["/healthz", "/readyz", "/metrics"])
    expect((await fetch(`${url}${path}`, { method: "POST", body: "x" })).status).toBe(404);
});
