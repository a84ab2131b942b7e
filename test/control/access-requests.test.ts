import { expect, test } from "vitest";
import type { AgentProfile } from "../../src/call/authenticate/agent.ts";
import { OPEN_MAX, openAccessRequests } from "../../src/control/me/access-requests.ts";
import { issued } from "./plane.ts";
import { type Open, type Opened, onBoth } from "./registries.ts";

const wish = (tool: string) => ({ tool, reason: "testing", durationMs: null });

async function begin(open: Open) {
  const opened = await open();
  const audit = async (kind: string, by: string, details: Readonly<Record<string, string | number | null>>) =>
    void opened.acts.push({ kind, by, details });
  return { opened, requests: openAccessRequests({ store: opened.store, audit, now: Date.now }) };
}

async function agent({ registry }: Opened, name: string, customer: string): Promise<AgentProfile> {
  return issued(await registry.create({ name, customer, owner: "o", purpose: "p" }, "test")).profile;
}

onBoth("requests for a right", (open) => {
  test("however many are made at once, an agent has no more undecided than it may", async () => {
    const { opened, requests } = await begin(open);
    const [greedy, other] = [await agent(opened, "greedy", "acme"), await agent(opened, "other", "acme")];
    const made = await Promise.all(Array.from({ length: OPEN_MAX + 10 }, (_, i) => requests.create(greedy, wish(`up/t${i}`))));
    expect(made.filter((each) => "refused" in each).length).toBe(10);
    expect((await requests.ofAgent(greedy.id)).length).toBe(OPEN_MAX);
    expect("refused" in (await requests.create(other, wish("up/x")))).toBe(false);
    const [first] = await requests.ofAgent(greedy.id);
    await requests.decide(first?.id ?? "", { state: "denied", reason: "no", by: "root" });
    expect("refused" in (await requests.create(greedy, wish("up/again")))).toBe(false);
  });

  test("of two decisions at once one stands, and one is recorded", async () => {
    const { opened, requests } = await begin(open);
    const row = await requests.create(await agent(opened, "bot", "acme"), wish("up/x"));
    if ("refused" in row) throw new Error(row.refused);
    const decided = await Promise.all(
      (["approved", "denied"] as const).map((state) => requests.decide(row.id, { state, reason: state, by: "root" })),
    );
    const [stands] = decided.filter((each) => each !== null);
    expect(decided.filter((each) => each === null).length).toBe(1);
    expect(await requests.find(row.id)).toEqual(stands);
    expect(opened.acts.filter(({ kind }) => kind === "access_request.decided")).toMatchObject([{ details: { decision: stands?.state } }]);
  });

  test("are listed by customer and state, page by page", async () => {
    const { opened, requests } = await begin(open);
    const [acme, globex] = [await agent(opened, "a", "acme"), await agent(opened, "g", "globex")];
    for (let i = 0; i < 3; i++) await requests.create(acme, wish(`up/t${i}`));
    await requests.create(globex, wish("up/g"));
    const all = { customer: null, state: null, after: null, limit: 10 };
    expect((await requests.list(all)).length).toBe(4);
    const theirs = await requests.list({ ...all, customer: "acme", state: "pending", limit: 2 });
    expect(theirs.map(({ agent_id }) => agent_id)).toEqual([acme.id, acme.id]);
    const rest = await requests.list({ ...all, customer: "acme", after: theirs.at(-1)?.id ?? null });
    expect(rest.length).toBe(1);
    expect(await requests.list({ ...all, state: "denied" })).toEqual([]);
  });

  test("a request whose record fails is not made", async () => {
    const { opened } = await begin(open);
    const profile = await agent(opened, "bot", "acme");
    const requests = openAccessRequests({ store: opened.store, audit: () => Promise.reject(new Error("no room")), now: Date.now });
    await expect(requests.create(profile, wish("up/x"))).rejects.toThrow("no room");
    expect(await requests.ofAgent(profile.id)).toEqual([]);
  });
});
