import { once } from "node:events";
import { afterAll, beforeAll, expect, test } from "vitest";
import { verifyLog } from "../../src/call/record/verify.ts";
import { modernRequest, sleep } from "../e2e/gateway-process.ts";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { query } from "../record/journal-fixture.ts";
import { CONFIG, type Desk, openDesk, type Taken, tokens } from "./desk.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: all, permit: ["up/*"] }
budgets:
  - { name: model-day, who: { agent: [bot, spare] }, each: agent, meter: llm_tokens, limit: 1000, period: total, notify: [50%, 100%] }
  - { name: nightly, who: { workflow: nightly }, meter: llm_tokens, limit: 1000, period: total, hard: false }
  - { name: echoes, tools: [up/echo], each: [instance, tool], meter: llm_tokens, limit: 100_000, period: total }
  - { name: of-persons, who: { subject: "*" }, meter: llm_tokens, limit: 1, period: total }
  - { name: meetings, meter: "outcome:meeting_booked", limit: 2, period: month, hard: false }
  - { name: pages, who: { team: support }, meter: reports, limit: 10, rolling: 24h, hard: false }
  - { name: yesterday, who: { agent: late }, meter: llm_tokens, limit: 1000, period: hour }
  - { name: much, who: { agent: busy }, meter: llm_tokens, limit: 1_000_000, period: total }
`;

type Row = { name: string; scope: string; committed: number; debt: number; remaining: number; overage: number };
let upstream: Upstream;
let desk: Desk;
const ids = new Map<string, string>();

beforeAll(async () => {
  upstream = await startHttpUpstream();
  desk = await openDesk(CONFIG, POLICIES, upstream.mcpUrl);
  for (const name of ["bot", "spare", "other", "late", "busy"]) ids.set(name, await desk.agent(name));
});
afterAll(async () => {
  await desk?.gateway.stop();
  await upstream?.close();
  expect(await verifyLog(desk.journal)).toMatchObject({ ok: true, problems: [] });
});

const rows = async (name: string): Promise<Row[]> => {
  const { items } = (await desk.ask("GET", "/budgets")).json as never as { items: Row[] };
  return items.filter((row) => row.name === name && !row.scope.startsWith("each "));
};
const debtOf = async (name: string) => (await rows(name)).reduce((sum, { debt }) => sum + debt, 0);
const reported = async (more: Readonly<Record<string, unknown>> = {}) => {
  const answer = (await desk.report(tokens(more))).json as never as Taken;
  expect(answer.rejected ?? []).toEqual([]);
  return String(answer.event_ids[0]);
};
const correct = (event_id: string, delta: number) =>
  desk.ask("POST", "/metering/corrections", {
    event_id,
    quantity: { llm_tokens: delta },
    reason: "counted twice",
    id: `c-${delta}-${event_id}`,
  });
const recordOf = async (event: string) => {
  const found = (await desk.ask("GET", `/metering/events/${event}`)).json as never as { event: { record: number } };
  return (await desk.ask("GET", `/audit/records/${found.event.record}`)).json.record as never as { budget: object[]; kind: string };
};

async function call(name: string): Promise<Record<string, unknown> | null> {
  const made = await desk.ask("POST", `/agents/${ids.get(name)}/tokens`, { server: "up" });
  const token = String(made.json.access_token);
  const answer = await modernRequest(`${desk.gateway.publicUrl}/mcp/up`, token, "tools/call", { name: "echo", arguments: { text: "x" } });
  const { error } = (await answer.json()) as { error?: { data: Record<string, unknown> } };
  return error?.data ?? null;
}

test("a report is a debt of every budget that the agent's calls draw on, and of no other; its record has the lines", async () => {
  const event = await reported({ quantity: 400 });
  expect(await rows("model-day")).toMatchObject([{ scope: `agent=${ids.get("bot")}`, committed: 0, debt: 400, remaining: 600 }]);
  expect(await recordOf(event)).toMatchObject({
    kind: "usage.reported",
    budget: [{ budget: "model-day", scope: `agent=${ids.get("bot")}`, meter: "llm_tokens", held: 0, posted: 0, debt: 400 }],
  });
  for (const name of ["nightly", "echoes", "of-persons", "meetings", "pages", "much"]) expect(await debtOf(name)).toBe(0);
  await reported({ agent_id: "other", quantity: 7 });
  expect(await debtOf("model-day")).toBe(400);
});

test("dimensions of the report count: its workflow, its tool, its instance; a budget of tools hears of reports that name the tool alone", async () => {
  await reported({ agent_id: "other", quantity: 5, metadata: { model: "m", workflow: "nightly" } });
  expect(await debtOf("nightly")).toBe(5);
  await reported({ agent_id: "other", quantity: 3, metadata: { model: "m", server: "up", tool: "echo", instance: "i-1" } });
  await reported({ agent_id: "other", quantity: 4, metadata: { model: "m", server: "up", tool: "echo" } });
  await reported({ agent_id: "other", quantity: 9, metadata: { model: "m", server: "up", tool: "other" } });
  await reported({ agent_id: "other", quantity: 9, metadata: { model: "m", tool: "echo" } });
  expect(await rows("echoes")).toMatchObject([
    { scope: "instance=&tool=up/echo", debt: 4 },
    { scope: "instance=i-1&tool=up/echo", debt: 3 },
  ]);
});

test("outcomes and meters of one's own draw too, on soft budgets beyond their limit", async () => {
  await reported({ event_type: "outcome.claimed", quantity: 3, metadata: { outcome: "meeting_booked" } });
  expect(await rows("meetings")).toMatchObject([{ debt: 3, remaining: 0, overage: 1 }]);
  await reported({ event_type: "com.acme.report.rendered", quantity: 6, metadata: { template: "t" } });
  await reported({ event_type: "com.acme.report.rendered", quantity: 1, metadata: { template: "t" }, time: ago(13) });
  await reported({ event_type: "com.acme.report.rendered", quantity: 1, metadata: { template: "t" }, time: ago(30) });
  expect(await debtOf("pages")).toBe(7);
});

const ago = (hours: number) => new Date(Date.now() - hours * 3_600_000).toISOString();

test("a report counts in the window of its time, and one that is over stays as it was", async () => {
  await reported({ agent_id: "late", time: ago(2) });
  expect(await rows("yesterday")).toMatchObject([{ debt: 0, remaining: 1000, window: { start: null } }]);
  expect(query(desk.journal, "SELECT 1 FROM balance WHERE budget = 'yesterday'")).toEqual([]);
  await reported({ agent_id: "late", quantity: 40 });
  expect(await debtOf("yesterday")).toBe(40);
});

test("a duplicate and a conflict post nothing, in one batch or in two", async () => {
  const event = tokens({ agent_id: "busy", quantity: 10 });
  expect((await desk.report([event, event, { ...event, quantity: 11 }])).json).toMatchObject({ accepted: 1, duplicates: 1 });
  await desk.report([event]);
  expect(await debtOf("much")).toBe(10);
});

test("a hard budget that reports have used up refuses calls; thresholds are told as for calls; a correction lets them pass again", async () => {
  expect(await call("spare")).toBeNull();
  const event = await reported({ agent_id: "spare", quantity: 999 });
  expect(await call("spare")).toBeNull();
  await reported({ agent_id: "spare", quantity: 1 });
  expect(await call("spare")).toMatchObject({ reason: "budget_exhausted", budget: "model-day", remaining: 0 });
  const told = async () =>
    (query(desk.journal, "SELECT body FROM audit_record WHERE kind = 'budget.threshold'") as { body: string }[])
      .map(({ body }) => (JSON.parse(body) as { details: { scope: string; percent: number; spent: number } }).details)
      .filter(({ scope }) => scope === `agent=${ids.get("spare")}`);
  await expect.poll(told).toMatchObject([
    { percent: 50, spent: 999 },
    { percent: 100, spent: 1000 },
  ]);
  const made = await correct(event, -200);
  expect(made.status).toBe(201);
  expect(await recordOf(String(made.json.event_id))).toMatchObject({ budget: [{ budget: "model-day", debt: -200 }] });
  expect(await call("spare")).toBeNull();
  expect((await rows("model-day")).find(({ scope }) => scope.endsWith(ids.get("spare") ?? ""))).toMatchObject({
    debt: 800,
    remaining: 200,
  });
  await correct(event, 300);
  expect(await call("spare")).toMatchObject({ reason: "budget_exhausted", remaining: 0 });
});

test("a correction takes back what is owed still, and never another's debt", async () => {
  const [mine, other] = [await reported({ agent_id: "busy", quantity: 500 }), await reported({ agent_id: "busy", quantity: 70 })];
  expect(await debtOf("much")).toBe(580);
  expect((await desk.ask("POST", "/budgets/much/credit", { amount: 200, reason: "goodwill" })).status).toBe(201);
  await correct(mine, -500);
  expect(await debtOf("much")).toBe(0);
  await correct(other, -70);
  expect(await debtOf("much")).toBe(0);
});

test("after a kill in the middle of a batch the counter has what the events come to, and a whole batch again adds the rest alone", async () => {
  const before = await debtOf("much");
  const items = Array.from({ length: 3_000 }, () => tokens({ agent_id: "busy", quantity: 3 }));
  const written = () => Number((query(desk.journal, "SELECT count(*) AS n FROM reported_event") as [{ n: number }])[0].n);
  const first = written();
  const sending = desk.report(items).catch(() => null);
  while (written() < first + 500) await sleep(2);
  const { child } = desk.gateway;
  if (child === null) throw new Error("no gateway runs");
  child.kill("SIGKILL");
  await once(child, "exit");
  await sending;
  await desk.gateway.serve();
  const left = written() - first;
  expect(left).toBeLessThan(items.length);
  expect(await debtOf("much")).toBe(before + 3 * left);
  expect(await verifyLog(desk.journal)).toMatchObject({ ok: true, problems: [] });
  expect((await desk.report(items)).json).toMatchObject({ accepted: items.length - left, duplicates: left });
  expect(await debtOf("much")).toBe(before + 3 * items.length);
});
