import { expect, test } from "vitest";
import type { McpRequest } from "../../src/call/accept/request.ts";
import type { Agent, AgentProfile } from "../../src/call/authenticate/agent.ts";
import type { Permit } from "../../src/call/authorize/permit.ts";
import { createLedger } from "../../src/call/budget/memory-ledger.ts";
import type { Round } from "../../src/call/budget/rounds.ts";
import { notSent } from "../../src/call/forward/outcomes.ts";
import { openStory } from "../../src/call/record/story.ts";
import { openApprovals, PENDING_MAX } from "../../src/control/approvals/approvals.ts";
import { createApproving } from "../../src/control/approvals/approve.ts";
import type { CallId } from "../../src/ids.ts";
import { refuse } from "../../src/refusal.ts";
import { createSeal } from "../../src/seal.ts";
import { issued } from "./plane.ts";
import { type Open, type Opened, onBoth } from "./registries.ts";

const MINUTE = 60_000;
const callId = (i: number) => `call_${i}` as CallId;

function approvalsOf(opened: Opened, now: () => number, audit?: () => Promise<void>) {
  const list = async (kind: string, by: string, details: Readonly<Record<string, string | number | null>>) =>
    void opened.acts.push({ kind, by, details });
  return openApprovals({ store: opened.store, audit: audit ?? list, now });
}

async function begin(open: Open) {
  const world = { nowMs: Date.now() };
  const opened = await open(undefined, () => world.nowMs);
  const profile = issued(await opened.registry.create({ name: "bot", customer: "acme", owner: "o", purpose: "p" }, "test")).profile;
  return { world, opened, profile, approvals: approvalsOf(opened, () => world.nowMs) };
}

const question = (profile: AgentProfile, fingerprint: string) => ({
  ...{ profile, fingerprint, callId: callId(0), target: "billing/refund", shown: '{"amount":5}', shownBytes: 12, shownSha256: "00" },
  rule: { name: "r", file: "policies/a.yaml", line: 3 },
  ...{ approvers: ["role:approver"], withinMs: MINUTE, argumentsHmac: "hmac-sha256:00" },
});
const yes = (by: string) => ({ state: "approved", reason: "fine", by, via: "api" }) as const;
const no = (by: string) => ({ state: "denied", reason: "not fine", by, via: "link" }) as const;

onBoth("questions that calls wait for", (open, kind) => {
  test("one is made for a call however many ask, and no more than a person reads for an agent", async () => {
    const { opened, profile, approvals } = await begin(open);
    const same = await Promise.all(Array.from({ length: 10 }, () => approvals.ask(question(profile, "same"))));
    expect(new Set(same.map((row) => row?.id)).size).toBe(1);
    const more = await Promise.all(Array.from({ length: PENDING_MAX + 5 }, (_, i) => approvals.ask(question(profile, `f${i}`))));
    expect(more.filter((row) => row === null).length).toBe(6);
    const other = issued(await opened.registry.create({ name: "other", customer: "acme", owner: "o", purpose: "p" }, "test")).profile;
    expect(await approvals.ask(question(other, "of another"))).not.toBe(null);
  });

  test("a yes is used by exactly one of many that ask at two gateways at once, and can be given back", async () => {
    const { world, opened, profile, approvals } = await begin(open);
    // Of one process on SQLite; on PostgreSQL with connections of its own.
    const second =
      kind === "postgres" ? approvalsOf({ ...opened, store: (await open(opened, () => world.nowMs)).store }, () => world.nowMs) : approvals;
    const row = await approvals.ask(question(profile, "f"));
    const id = row?.id ?? "";
    expect(await approvals.use(id, callId(1))).toBe(false);
    await approvals.decide(id, yes("ann"));
    for (let round = 0; round < 5; round++) {
      const took = await Promise.all(Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? approvals : second).use(id, callId(i))));
      expect(took.filter(Boolean).length).toBe(1);
      expect(await second.standing("f")).toBe(undefined);
      // Somebody else's call cannot give it back.
      await approvals.giveBack(id, callId(99));
      expect(await second.standing("f")).toBe(undefined);
      await second.giveBack(id, callId(took.indexOf(true)));
      expect(await approvals.standing("f")).toMatchObject({ id, state: "approved", decided_by: "ann", arguments: null });
    }
  });

  test("of two decisions at once one stands, and one is recorded", async () => {
    const { opened, profile, approvals } = await begin(open);
    const id = (await approvals.ask(question(profile, "f")))?.id ?? "";
    const said = await Promise.all([approvals.decide(id, yes("ann")), approvals.decide(id, no("bob"))]);
    expect(said.filter((each) => each?.stands).length).toBe(1);
    expect(await approvals.find(id)).toEqual(said.find((each) => each?.stands)?.row);
    const [stood] = opened.acts.filter(({ kind: of }) => of === "approval.decided");
    expect(opened.acts.filter(({ kind: of }) => of === "approval.decided").length).toBe(1);
    expect(stood?.details).toMatchObject({ approval_id: id, customer: "acme", rule: "r (policies/a.yaml:3)", target: "billing/refund" });
    expect(JSON.stringify(opened.acts)).not.toContain("amount");
  });

  test("what is over counts as over before anybody has swept, is swept once by however many gateways, and is forgotten in the end", async () => {
    const { world, opened, profile, approvals } = await begin(open);
    const second =
      kind === "postgres" ? approvalsOf({ ...opened, store: (await open(opened, () => world.nowMs)).store }, () => world.nowMs) : approvals;
    const [pending, approved] = [await approvals.ask(question(profile, "p")), await approvals.ask(question(profile, "a"))];
    await approvals.decide(approved?.id ?? "", yes("ann"));
    world.nowMs += MINUTE;
    expect([await approvals.standing("p"), await approvals.standing("a")]).toEqual([undefined, undefined]);
    expect(await approvals.use(approved?.id ?? "", callId(1))).toBe(false);
    expect(await approvals.list({ customer: null, state: "pending", after: null, limit: 10 })).toEqual([]);
    expect((await approvals.ask(question(profile, "p")))?.id).not.toBe(pending?.id);
    await Promise.all([approvals.sweep(), second.sweep(), approvals.sweep()]);
    expect(opened.acts.filter(({ kind: of }) => of === "approval.expired").map(({ details }) => details.approval_id)).toEqual([
      pending?.id,
    ]);
    expect(await approvals.decide(pending?.id ?? "", yes("ann"))).toMatchObject({
      stands: false,
      row: { state: "expired", arguments: null },
    });
    world.nowMs += 32 * 86_400_000;
    await approvals.sweep();
    await approvals.sweep();
    expect(await approvals.list({ customer: null, state: null, after: null, limit: 10 })).toEqual([]);
  });

  test("nothing is made, decided or over whose record fails", async () => {
    const { world, opened, profile, approvals } = await begin(open);
    const failing = approvalsOf(
      opened,
      () => world.nowMs,
      () => Promise.reject(new Error("no room")),
    );
    await expect(failing.ask(question(profile, "f"))).rejects.toThrow("no room");
    expect(await approvals.standing("f")).toBe(undefined);
    const id = (await approvals.ask(question(profile, "f")))?.id ?? "";
    await expect(failing.decide(id, yes("ann"))).rejects.toThrow("no room");
    await expect(failing.withdraw(id, "f", profile.id)).rejects.toThrow("no room");
    world.nowMs += MINUTE;
    await expect(failing.sweep()).rejects.toThrow("no room");
    expect(await approvals.find(id)).toMatchObject({ state: "pending", arguments: '{"amount":5}' });
  });

  test("a no stands over a yes that was given before it; a withdrawal ends one that was not used", async () => {
    const { world, profile, approvals } = await begin(open);
    const first = (await approvals.ask(question(profile, "f")))?.id ?? "";
    await approvals.decide(first, yes("ann"));
    expect(await approvals.use(first, callId(1))).toBe(true);
    world.nowMs += 5;
    const second = (await approvals.ask(question(profile, "f")))?.id ?? "";
    await approvals.decide(second, no("bob"));
    await approvals.giveBack(first, callId(1));
    expect(await approvals.standing("f")).toMatchObject({ id: second, state: "denied" });
    const third = (await approvals.ask(question(profile, "g")))?.id ?? "";
    await approvals.decide(third, yes("ann"));
    expect(await approvals.withdraw(third, "f", profile.id)).toBe(false);
    expect(await approvals.withdraw(third, "g", profile.id)).toBe(true);
    expect(await approvals.withdraw(third, "g", profile.id)).toBe(false);
    expect(await approvals.standing("g")).toMatchObject({ state: "denied", decided_by: profile.id });
  });

  test("where nothing was sent, the yes is back before the answer is given", async () => {
    const { world, profile, approvals } = await begin(open);
    const step = createApproving({
      ...{
        approvals,
        seal: createSeal(Buffer.alloc(32, 1)),
        ledger: createLedger([]),
        reserve: () => ({ calls: 1, tool_tokens: 0 }),
        putBack: () => {},
      },
      ...{ scribe: { digest: () => ({ hmac: "", bytes: 0 }) }, now: () => world.nowMs, fault: () => {} },
    });
    const agent = { profile, principal: "bot" } as Agent;
    const body = Buffer.from('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}');
    const target = { kind: "tool", name: "t" };
    const request = {
      callId: callId(7),
      server: "up",
      method: "tools/call",
      target,
      body,
      argumentsSpan: null,
      followUp: null,
    } as unknown as McpRequest;
    const permit = { rule: null, draws: [], approval: { by: ["role:approver"], withinMs: MINUTE } } as unknown as Permit;
    const round: Round = { logicalCallId: callId(7), number: 1, calls: 1, key: null, task: null };
    const ask = () => step.approve(agent, request, permit, round);
    const asked = await ask();
    const id = asked.approval?.id ?? "";
    expect(asked).toMatchObject({ refused: "approval_required", approval: { state: "pending" } });
    await approvals.decide(id, yes("ann"));
    expect(await ask()).toMatchObject({ request, approval: { id, state: "approved", by: "ann" } });
    expect(await approvals.find(id)).toMatchObject({ used_by: callId(7) });
    await step.unlessSent(callId(7), Promise.resolve(notSent(refuse("upstream_unreachable"))));
    expect(await approvals.find(id)).toMatchObject({ used_by: null });
    // Refused before it came so far.
    expect(await ask()).toMatchObject({ request });
    await step.leave(openStory({ callId: callId(7) } as never, null));
    expect(await approvals.find(id)).toMatchObject({ used_by: null });
    // Sent, as far as anybody knows.
    expect(await ask()).toMatchObject({ request });
    await step.unlessSent(callId(7), Promise.resolve({ ...notSent(refuse("upstream_timeout")), sent: true }));
    await step.leave({ ...openStory({ callId: callId(7) } as never, null), issued: {} as never });
    expect(await approvals.find(id)).toMatchObject({ used_by: callId(7) });
  });
});
