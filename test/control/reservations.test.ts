import { renameSync } from "node:fs";
import { afterEach, describe, expect, test } from "vitest";
import { verifyLog } from "../../src/call/record/verify.ts";
import { journalFile } from "../record/journal-fixture.ts";
import { ACME, ADMIN, GLOBEX, type Parts, startParts } from "./embedding-parts.ts";

const POLICIES = `entitlements:
  - { name: all, permit: ["tickets/*", "feature/*"] }
  - { name: scoped, permit: ["crm/read"], requires: [crm.read] }
  - { name: small, forbid: ["tickets/export"], when: args.rows > 10 }
  - { name: for-one, permit: ["billing/refund"], when: subject == "user-1" }
budgets:
  - { name: calls, each: agent, meter: calls, limit: 10, period: total }
  - { name: tokens, each: agent, meter: tool_tokens, limit: 1000, period: total }
`;

const started: Parts[] = [];
afterEach(async () => {
  for (const parts of started.splice(0)) {
    await parts.close();
    expect(parts.faults).toEqual([]);
    expect(await verifyLog(journalFile(parts.folder))).toMatchObject({ ok: true, problems: [] });
  }
});

async function begin(folder?: string): Promise<Parts> {
  const parts = await startParts(POLICIES, folder);
  started.push(parts);
  return parts;
}

const balances = ({ ledger }: Parts): Record<string, [number, number, number]> =>
  Object.fromEntries(ledger.balances().map(({ budget, committed, held, debt }) => [budget, [committed, held, debt]]));
const usage = async ({ reader }: Parts) => (await reader.ask("usage", { by: ["tool"], since: null, until: null })).rows;

describe("a reservation", () => {
  test("holds on every budget, and posts what was used: record and usage event are those of a call", async () => {
    const parts = await begin();
    const agent = await parts.agent("bot");
    const made = await parts.ask(ADMIN, "POST /reservations", {
      agent_id: agent,
      feature: "render",
      meters: { calls: 2, tool_tokens: 400 },
    });
    expect(made).toMatchObject({ status: 201, json: { allowed: true, reason: null, reservation_id: expect.stringMatching(/^call_/) } });
    expect(made.json.remaining).toMatchObject([
      { budget: "calls", limit: 10, remaining: 8 },
      { budget: "tokens", limit: 1000, remaining: 600 },
    ]);
    expect(balances(parts)).toEqual({ calls: [0, 2, 0], tokens: [0, 400, 0] });
    const id = String(made.json.reservation_id);
    const settled = await parts.ask(ADMIN, `POST /reservations/${id}/settle`, { meters: { tool_tokens: 150 } });
    expect(settled).toMatchObject({ status: 200, json: { reservation_id: id, state: "posted", usage: { calls: 2, tool_tokens: 150 } } });
    expect(balances(parts)).toEqual({ calls: [2, 0, 0], tokens: [150, 0, 0] });
    expect((await parts.reader.ask("record", id))?.record).toMatchObject({
      kind: "call",
      administrator: "root",
      agent: { id: agent, customer: "acme" },
      server: "feature",
      target: { kind: "tool", name: "render" },
      request: { method: "reservation" },
      decision: "permit",
      rule: { name: "all" },
      outcome: "result",
      settlement: "posted",
    });
    const [event] = await parts.reader.ask("eventsAfter", 0, 10);
    expect(event).toMatchObject({
      id: `${id}.settled`,
      subject: "acme",
      data: { tool: "render", provisional: false, token_source: "reported" },
    });
    expect(event?.data.quantity).toMatchObject({ calls: 2, tool_tokens: 150 });
  });

  test("settled twice is charged once and told twice in the same words, also after a restart", async () => {
    const parts = await begin();
    const agent = await parts.agent("bot");
    const { json } = await parts.ask(ADMIN, "POST /reservations", {
      agent_id: agent,
      tool: "tickets/search",
      meters: { tool_tokens: 100 },
    });
    const path = `POST /reservations/${json.reservation_id}/settle`;
    const answers = await Promise.all([1, 2, 3].map((n) => parts.ask(ADMIN, path, { meters: { tool_tokens: n * 10 } })));
    answers.push(await parts.ask(ADMIN, path, { meters: { tool_tokens: 999 } }));
    expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
    expect(await usage(parts)).toMatchObject([{ tool: "search", calls: 1, tool_tokens: 10, events: 1 }]);
    expect(await parts.ask(ADMIN, `POST /reservations/${json.reservation_id}/void`, {})).toMatchObject({ status: 409 });
    await started.pop()?.close();
    const again = await begin(parts.folder);
    expect(await again.ask(ADMIN, path, { meters: {} })).toEqual(answers[0]);
    expect(balances(again)).toEqual({ calls: [1, 0, 0], tokens: [10, 0, 0] });
  });

  test("is answered with the outcomes and meters that it was counted for, in the same words ever after; a meter that nobody held is not charged by itself", async () => {
    const parts = await begin();
    const agent = await parts.agent("bot");
    const body = { agent_id: agent, feature: "render", meters: { pages: 7 }, ttl: 30 };
    const [{ json }, late] = [await parts.ask(ADMIN, "POST /reservations", body), await parts.ask(ADMIN, "POST /reservations", body)];
    const path = `POST /reservations/${json.reservation_id}/settle`;
    const settled = await parts.ask(ADMIN, path, { meters: { pages: 5, "outcome:done": 1 } });
    expect(settled.json.usage).toEqual({ calls: 1, tool_tokens: 0, outcomes: { done: 1 }, outputs: { pages: 5 } });
    expect(await parts.ask(ADMIN, path, {})).toEqual(settled);
    parts.world.monoMs += 30_000;
    const unsettled = await parts.ask(ADMIN, `POST /reservations/${late.json.reservation_id}/settle`, {});
    expect(unsettled.json).toMatchObject({ state: "unknown", usage: { calls: 1, tool_tokens: 0 } });
    expect(unsettled.json.usage).not.toHaveProperty("outputs");
  });

  test("voided gives everything back and is no usage; settling it then is told no", async () => {
    const parts = await begin();
    const agent = await parts.agent("bot");
    const { json } = await parts.ask(ADMIN, "POST /reservations", { agent_id: agent, feature: "render", meters: { tool_tokens: 100 } });
    const path = `POST /reservations/${json.reservation_id}`;
    expect(await parts.ask(ADMIN, `${path}/void`, {})).toMatchObject({ status: 200, json: { state: "voided", usage: null } });
    expect(await parts.ask(ADMIN, `${path}/void`, {})).toMatchObject({ status: 200, json: { state: "voided" } });
    expect(await parts.ask(ADMIN, `${path}/settle`, {})).toMatchObject({ status: 409, detail: "it was voided: nothing is charged" });
    expect(balances(parts)).toEqual({ calls: [0, 0, 0], tokens: [0, 0, 0] });
    expect(await usage(parts)).toEqual([]);
  });

  test("that nobody settles in time is charged as held, once, and late words change nothing", async () => {
    const parts = await begin();
    const agent = await parts.agent("bot");
    const body = { agent_id: agent, feature: "render", meters: { calls: 3, tool_tokens: 100 }, ttl: 30 };
    const { json } = await parts.ask(ADMIN, "POST /reservations", body);
    const path = `POST /reservations/${json.reservation_id}`;
    parts.world.monoMs += 30_000;
    const late = await parts.ask(ADMIN, `${path}/settle`, { meters: { calls: 1, tool_tokens: 1 } });
    expect(late).toMatchObject({ status: 200, json: { state: "unknown", usage: { calls: 3, tool_tokens: 100 } } });
    expect(await parts.ask(ADMIN, `${path}/settle`, {})).toEqual(late);
    expect(await parts.ask(ADMIN, `${path}/void`, {})).toMatchObject({ status: 409, detail: expect.stringContaining("charged as held") });
    expect(balances(parts)).toEqual({ calls: [3, 0, 0], tokens: [100, 0, 0] });
    expect(await usage(parts)).toMatchObject([{ calls: 3, tool_tokens: 100, events: 1, provisional: 1 }]);
  });

  test("ends by itself when its time has passed", async () => {
    const parts = await begin();
    const agent = await parts.agent("bot");
    const { json } = await parts.ask(ADMIN, "POST /reservations", { agent_id: agent, feature: "render", ttl: 1 });
    parts.world.monoMs += 1_000;
    await expect
      .poll(async () => (await parts.reader.ask("record", String(json.reservation_id)))?.record.settlement, { timeout: 5_000 })
      .toBe("unknown");
    expect(balances(parts).calls).toEqual([1, 0, 0]);
  });

  test("used beyond what its budget carries: committed to the limit, the rest is a debt, and nothing new is held", async () => {
    const parts = await begin();
    const agent = await parts.agent("bot");
    const { json } = await parts.ask(ADMIN, "POST /reservations", { agent_id: agent, feature: "render", meters: { tool_tokens: 100 } });
    const settled = await parts.ask(ADMIN, `POST /reservations/${json.reservation_id}/settle`, { meters: { tool_tokens: 1500 } });
    expect(settled.json).toMatchObject({ state: "posted", usage: { tool_tokens: 1500 } });
    expect(balances(parts).tokens).toEqual([1000, 0, 500]);
    const next = await parts.ask(ADMIN, "POST /reservations", { agent_id: agent, feature: "render", meters: { tool_tokens: 1 } });
    expect(next).toMatchObject({ status: 200, json: { allowed: false, reason: "budget_exhausted", reservation_id: null } });
    expect(await usage(parts)).toMatchObject([{ calls: 1, tool_tokens: 1500 }]);
  });

  test("that is refused holds nothing, and is recorded with its reason", async () => {
    const parts = await begin();
    const agent = await parts.agent("bot");
    for (const [body, reason] of [
      [{ tool: "crm/read" }, "scope_insufficient"],
      [{ tool: "crm/write" }, "tool_unknown"],
      [{ tool: "nowhere/x" }, "server_unknown"],
      [{ tool: "billing/refund", subject: "user-2" }, "tool_unknown"],
      [{ feature: "render", meters: { calls: 11 } }, "budget_insufficient"],
    ] as const) {
      const made = await parts.ask(ADMIN, "POST /reservations", { agent_id: agent, ...body });
      expect(made).toMatchObject({ status: 200, json: { allowed: false, reason, reservation_id: null } });
      const [last] = await parts.reader.ask("tail", 1, null);
      expect(last).toMatchObject({ kind: "call", decision: "refuse", reason, administrator: "root", agent: { id: agent } });
    }
    expect(parts.ledger.balances().every(({ held, committed }) => held === 0 && committed === 0)).toBe(true);
    for (const body of [
      { tool: "crm/read", scopes: ["crm.read"] },
      { tool: "billing/refund", subject: "user-1" },
    ]) {
      expect((await parts.ask(ADMIN, "POST /reservations", { agent_id: agent, ...body })).status).toBe(201);
    }
  });

  test.each([
    ["an unknown meter", { meters: { llm_tokens: 1 } }],
    ["half a call", { meters: { calls: 0.5 } }],
    ["less than nothing", { meters: { tool_tokens: -1 } }],
    ["more than can be summed", { meters: { tool_tokens: 1e13 } }],
    ["a word", { meters: { calls: "1" } }],
    ["a lease for ever", { ttl: 86_401 }],
    ["neither tool nor feature", { feature: undefined }],
    ["both", { tool: "tickets/search" }],
    ["an unknown member", { budget: "x" }],
  ])("with %s is refused by its form", async (_, wrong) => {
    const parts = await begin();
    const agent = await parts.agent("bot");
    expect((await parts.ask(ADMIN, "POST /reservations", { agent_id: agent, feature: "render", ...wrong })).status).toBe(422);
    expect(parts.ledger.balances()).toEqual([]);
  });

  test("of an agent that is stopped is refused; what was reserved before is settled all the same", async () => {
    const parts = await begin();
    const agent = await parts.agent("bot");
    const { json } = await parts.ask(ADMIN, "POST /reservations", { agent_id: agent, feature: "render" });
    await parts.registry.changeState(agent, "suspend", "test", "root");
    expect((await parts.ask(ADMIN, "POST /reservations", { agent_id: agent, feature: "render" })).json).toMatchObject({
      reason: "agent_suspended",
    });
    expect((await parts.ask(ADMIN, "POST /mcp/authorize", { agent_id: agent, feature: "render" })).json).toMatchObject({
      reason: "agent_suspended",
    });
    expect((await parts.ask(ADMIN, `POST /reservations/${json.reservation_id}/settle`, {})).json).toMatchObject({ state: "posted" });
  });

  test("of another customer is not there, and neither are its agents", async () => {
    const parts = await begin();
    const agent = await parts.agent("bot");
    const made = await parts.ask(ACME, "POST /reservations", { agent_id: agent, feature: "render" });
    const path = `POST /reservations/${made.json.reservation_id}`;
    const nothing = { status: 404, json: {}, detail: "there is no such thing" };
    for (const asked of ["POST /reservations", "POST /mcp/authorize"]) {
      expect(await parts.ask(GLOBEX, asked, { agent_id: agent, feature: "render" })).toEqual(nothing);
      expect(await parts.ask(GLOBEX, asked, { agent_id: "agt_nobody", feature: "render" })).toEqual(nothing);
    }
    for (const verb of ["settle", "void"]) {
      expect(await parts.ask(GLOBEX, `${path}/${verb}`, {})).toEqual(nothing);
      expect(await parts.ask(GLOBEX, `POST /reservations/call_01m851y5szmxc9ws0q76dfp8b8/${verb}`, {})).toEqual(nothing);
    }
    expect((await parts.ask(ACME, `${path}/settle`, {})).status).toBe(200);
    expect(await parts.ask(GLOBEX, `${path}/settle`, {})).toEqual(nothing);
  });
});

describe("many at once", () => {
  test("of 200 reservations on a budget of 10 exactly 10 are held, whatever becomes of them", async () => {
    const parts = await begin();
    const agent = await parts.agent("bot");
    const made = await Promise.all(
      Array.from({ length: 200 }, () => parts.ask(ADMIN, "POST /reservations", { agent_id: agent, feature: "render" })),
    );
    const ids = made.flatMap(({ json }) => json.reservation_id ?? []);
    expect(ids.length).toBe(10);
    expect(made.filter(({ json }) => json.reason === "budget_exhausted").length).toBe(190);
    await Promise.all(ids.map((id, i) => parts.ask(ADMIN, `POST /reservations/${id}/${i < 5 ? "settle" : "void"}`, {})));
    expect(balances(parts).calls).toEqual([5, 0, 0]);
  });
});

describe("what was open when the gateway ended", () => {
  test("is charged as held by the next start, and says so to whoever settles it then", async () => {
    const parts = await begin();
    const agent = await parts.agent("bot");
    const body = { agent_id: agent, feature: "render", meters: { calls: 4, tool_tokens: 300 } };
    const { json } = await parts.ask(ADMIN, "POST /reservations", body);
    await started.pop()?.close();
    const again = await begin(parts.folder);
    expect(again.journal.recovered).toBe(1);
    expect(balances(again)).toEqual({ calls: [4, 0, 0], tokens: [300, 0, 0] });
    const late = await again.ask(ADMIN, `POST /reservations/${json.reservation_id}/settle`, { meters: { calls: 1 } });
    expect(late).toMatchObject({ status: 200, json: { state: "unknown", usage: { calls: 4, tool_tokens: 300 } } });
    expect(await usage(again)).toMatchObject([{ calls: 4, tool_tokens: 300, events: 1, provisional: 1 }]);
  });
});

describe("while the journal is away", () => {
  test("nothing is reserved; what is settled then is written on its return, and told to whoever asks again", async () => {
    const parts = await begin();
    const agent = await parts.agent("bot");
    const { json } = await parts.ask(ADMIN, "POST /reservations", { agent_id: agent, feature: "render", meters: { tool_tokens: 100 } });
    const path = `POST /reservations/${json.reservation_id}/settle`;
    const file = journalFile(parts.folder);
    renameSync(file, `${file}.away`);
    await expect.poll(() => parts.journal.available, { timeout: 10_000 }).toBe(false);
    expect(await parts.ask(ADMIN, "POST /reservations", { agent_id: agent, feature: "render" })).toMatchObject({ status: 503 });
    expect(await parts.ask(ADMIN, path, { meters: { tool_tokens: 60 } })).toMatchObject({ status: 503 });
    expect(await parts.ask(ADMIN, path, { meters: { tool_tokens: 1 } })).toMatchObject({ status: 503 });
    expect(balances(parts)).toEqual({ calls: [1, 0, 0], tokens: [60, 0, 0] });
    renameSync(`${file}.away`, file);
    await expect.poll(() => parts.journal.available, { timeout: 10_000 }).toBe(true);
    const told = await parts.ask(ADMIN, path, { meters: { tool_tokens: 1 } });
    expect(told).toMatchObject({ status: 200, json: { state: "posted", usage: { calls: 1, tool_tokens: 60 } } });
    expect(await usage(parts)).toMatchObject([{ calls: 1, tool_tokens: 60, events: 1 }]);
  });
});

describe("POST /mcp/authorize", () => {
  test("tells an administrator the rule or the note, and draws nothing", async () => {
    const parts = await begin();
    const agent = await parts.agent("bot");
    const ask = (body: object) => parts.ask(ADMIN, "POST /mcp/authorize", { agent_id: "bot", ...body });
    expect((await ask({ tool: "tickets/search" })).json).toMatchObject({
      allowed: true,
      rule: { name: "all", file: expect.any(String), line: 3 },
    });
    expect((await ask({ tool: "tickets/export", arguments: { rows: 11 } })).json).toMatchObject({
      allowed: false,
      reason: "arguments_denied",
      code: 40301,
      rule: null,
      note: expect.stringContaining("small"),
    });
    expect((await ask({ tool: "tickets/export", arguments: { rows: 10 } })).json).toMatchObject({ allowed: true });
    expect((await ask({ tool: "crm/read" })).json).toMatchObject({ reason: "scope_insufficient", facts: { scope: "mcp crm.read" } });
    expect((await ask({ tool: "crm/read", scopes: ["crm.read"] })).json).toMatchObject({ allowed: true });
    expect(parts.ledger.balances()).toEqual([]);
    expect(agent).toMatch(/^agt_/);
  });
});

describe("/access-requests", () => {
  const ask = { tool: "crm/read", reason: 'say "yes"\n- forbid: x'.replace("\n", " "), durationMs: 3_600_000 };

  test("an approval changes no policy and comes with an entitlement that a policy file takes", async () => {
    const parts = await begin();
    const id = await parts.agent("bot");
    const profile = parts.registry.find(id);
    if (profile === undefined) throw new Error(id);
    const row = await parts.accessRequests.create(profile, ask);
    if ("refused" in row) throw new Error(row.refused);
    expect((await parts.ask(ADMIN, "GET /access-requests?state=pending")).json).toMatchObject({
      items: [{ id: row.id }],
      next_cursor: null,
    });
    const decided = await parts.ask(ADMIN, `POST /access-requests/${row.id}/approve`, { reason: "for the audit" });
    expect(decided).toMatchObject({ status: 200, json: { state: "approved", decided_by: "root", decided_reason: "for the audit" } });
    expect((await parts.ask(ADMIN, "POST /mcp/authorize", { agent_id: id, tool: "crm/read" })).json).toMatchObject({ allowed: false });
    expect(parts.acts.at(-1)).toMatchObject({
      kind: "access_request.decided",
      by: "root",
      details: { decision: "approved", agent_id: id },
    });
    const pasted = String(decided.json.entitlement).replace(/^/gm, "  ");
    const withIt = await startParts(`entitlements:\n${pasted}`, undefined);
    started.push(withIt);
    const { policySet } = withIt;
    const fromMs = Date.parse(String(decided.json.decided_at));
    expect(policySet.rules).toMatchObject([{ ref: { name: row.id }, condition: null, validity: { fromMs, untilMs: fromMs + 3_600_000 } }]);
  });

  test("a right without a duration is one of a week, which the answer says; the time begins with the approval", async () => {
    const parts = await begin();
    const profile = parts.registry.find(await parts.agent("bot"));
    if (profile === undefined) throw new Error("bot");
    const [open, ended] = [
      await parts.accessRequests.create(profile, { ...ask, durationMs: null }),
      await parts.accessRequests.create(profile, { ...ask, durationMs: 60_000 }),
    ];
    if ("refused" in open || "refused" in ended) throw new Error("refused");
    // Nobody looks at it for a day.
    parts.world.nowMs += 86_400_000;
    const [week, minute] = [
      await parts.ask(ADMIN, `POST /access-requests/${open.id}/approve`, { reason: "for now" }),
      await parts.ask(ADMIN, `POST /access-requests/${ended.id}/approve`, { reason: "for now" }),
    ];
    const at = (afterMs: number) => new Date(parts.world.nowMs + afterMs).toISOString();
    expect(week.json).toMatchObject({ until: at(7 * 86_400_000), note: "no duration was asked for: 7 days from its approval" });
    expect(week.json.entitlement).toContain(`  from: "${at(0)}"\n  until: "${at(7 * 86_400_000)}"\n`);
    expect(minute.json).toMatchObject({ until: at(60_000), note: null });
    expect(parts.acts.at(-1)?.details).toMatchObject({ until: at(60_000) });
  });

  test("the first decision stands; another customer's request is not there", async () => {
    const parts = await begin();
    const profile = parts.registry.find(await parts.agent("bot"));
    if (profile === undefined) throw new Error("bot");
    const row = await parts.accessRequests.create(profile, ask);
    if ("refused" in row) throw new Error(row.refused);
    for (const asked of ["GET /access-requests/ID", "POST /access-requests/ID/approve", "POST /access-requests/ID/deny"]) {
      const [mine, none] = [row.id, "req_none"].map((id) => parts.ask(GLOBEX, asked.replace("ID", id), { reason: "x" }));
      expect(await mine).toEqual(await none);
      expect((await mine)?.status).toBe(404);
    }
    expect((await parts.ask(GLOBEX, "GET /access-requests")).json).toEqual({ items: [], next_cursor: null });
    expect((await parts.ask(ACME, `POST /access-requests/${row.id}/deny`, { reason: "no" })).json).toMatchObject({
      state: "denied",
      entitlement: null,
    });
    expect(await parts.ask(ADMIN, `POST /access-requests/${row.id}/approve`, { reason: "yes" })).toMatchObject({
      status: 409,
      detail: "it was denied before",
    });
    expect((await parts.accessRequests.ofAgent(profile.id))[0]).toMatchObject({ state: "denied", decided_reason: "no" });
  });
});
