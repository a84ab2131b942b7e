import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { CallPage, PermitUse } from "../../src/call/record/history.ts";
import { openReaderThread, type Reader } from "../../src/call/record/reader.ts";
import { folderWithCalls } from "../cli/past-calls.ts";
import { createAgent, type Plane, startPlane } from "./plane.ts";

const AT = "2026-11-20T10:00:00Z";
const DAY = { agent: { id: "agt_globex", name: "globex-bot", customer: "globex" } };
let plane: Plane;
let reader: Reader;
let bound: string;

beforeAll(async () => {
  const config = await folderWithCalls("apiVersion: tollgate/v1\n", [
    { at: "2026-11-19T10:00:00Z", tool: "a", rule: "reads", times: 2 },
    { at: AT, tool: "a", rule: "reads", times: 3 },
    { at: AT, tool: "a", rule: "reads", ...DAY },
    { at: AT, tool: "b", rule: "reads", reason: "budget_exhausted" },
    { at: AT, tool: "tools/list", rule: "reads", more: { target: { kind: "method", name: "tools/list" }, settlement: null } },
    { at: AT, tool: "a", rule: "reads", more: { policy_version: null } },
  ]);
  reader = openReaderThread(join(config, "../data"));
  plane = await startPlane({ reader });
  await createAgent(plane.registry, "bot");
  const made = await plane.admin("POST", "/api/v1/admin-keys", { name: "auditor-acme", role: "auditor", customer: "acme" });
  bound = ((await made.json()) as { key: string }).key;
});
afterAll(async () => {
  await plane?.close();
  await reader?.close();
});

async function get<T>(path: string, key?: string): Promise<T> {
  const answer = await plane.admin(
    "GET",
    `/api/v1/policy/${path}`,
    undefined,
    key === undefined ? undefined : { authorization: `Bearer ${key}` },
  );
  expect(answer.status).toBe(200);
  return (await answer.json()) as T;
}
const counted = ({ groups }: CallPage) =>
  groups.map(({ agent, target, sent, calls }) => `${agent.name} ${target?.name} ${sent ? "sent" : "unsent"} ${calls}`).toSorted();

test("equal calls that policies have decided are one, within the time, and apart where a border lies between them", async () => {
  const all = ["bot a sent 5", "bot b unsent 1", "bot tools/list sent 1", "globex-bot a sent 1"];
  expect(counted(await get<CallPage>("calls?since=2026-11-01"))).toEqual(all);
  expect(counted(await get<CallPage>("calls?since=2026-11-20")).slice(0, 1)).toEqual(["bot a sent 3"]);
  expect(counted(await get<CallPage>("calls?until=2026-11-20"))).toEqual(["bot a sent 2"]);
  const border = Date.UTC(2026, 10, 20);
  expect(counted(await get<CallPage>(`calls?borders=${border}&agent=bot`)).slice(0, 2)).toEqual(["bot a sent 2", "bot a sent 3"]);
  expect(counted(await get<CallPage>("calls?borders=each&agent=agt_globex"))).toEqual(["globex-bot a sent 1"]);
});

test("a key that is bound to a customer learns of that customer's calls alone, and of no tools", async () => {
  expect(counted(await get<CallPage>("calls", bound)).filter((line) => line.startsWith("globex"))).toEqual([]);
  expect(counted(await get<CallPage>("calls", bound))).toHaveLength(3);
  expect((await get<{ items: PermitUse[] }>("uses?rules=reads", bound)).items).toEqual([]);
  const pin = {
    server: "up",
    tool: "a",
    sha256: "00",
    definition: "{}",
    pinned_at: AT,
    pinned_by: "x",
    seen_sha256: null,
    seen_definition: null,
    seen_at: null,
  };
  await plane.store.db.insertInto("tool_pin").values(pin).execute();
  expect(await get<object>("grants", bound)).toEqual({ items: [], tools: [] });
  expect(await get<object>("grants")).toEqual({ items: [], tools: [{ server: "up", tool: "a" }] });
});

test("a use is what was sent by a rule: not a list, and not what a budget refused", async () => {
  const { items } = await get<{ items: PermitUse[] }>("uses?rules=reads,none&since=2026-11-01");
  expect(items.map(({ name, atMs }) => [name, atMs]).toSorted()).toEqual([
    ["bot", Date.parse(AT)],
    ["globex-bot", Date.parse(AT)],
  ]);
  expect((await get<{ items: PermitUse[] }>("uses?rules=reads&since=2026-11-21")).items).toEqual([]);
});

test.each(["calls?since=yesterday", "calls?from=x", "calls?borders=a", "uses?since=1", "grants?since=x"])("%s is refused", async (path) => {
  expect((await plane.admin("GET", `/api/v1/policy/${path}`)).status).toBe(400);
});
