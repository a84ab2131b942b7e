import { expect, test } from "vitest";
import { hashSecret, matchesSecret } from "../../src/control/agents/secrets.ts";
import { issued } from "./plane.ts";
import { onBoth } from "./registries.ts";

const rows = (count: number, more: object = {}) => Array.from({ length: count }, (_, i) => ({ name: `bot-${i}`, ...more }));
const HOW = { dryRun: false, secrets: false };

onBoth("many agents at once", (openAt) => {
  test("are all registered, each recorded before, with secrets that count", async () => {
    const { registry, acts } = await openAt();
    const answer = await registry.importAgents(
      rows(45, { customer: "acme", riskClass: "high" }),
      { dryRun: false, secrets: true },
      "importer",
    );
    if ("problems" in answer) throw new Error(JSON.stringify(answer.problems));
    expect(answer.agents.map(({ profile }) => profile.name)).toEqual(rows(45).map(({ name }) => name));
    for (const { profile, secret } of answer.agents) {
      expect(profile).toMatchObject({ customer: "acme", riskClass: "high", owner: "importer", state: "active" });
      const [credential] = registry.credentialsOf(profile.id);
      expect(matchesSecret(secret ?? "", credential?.hash ?? Buffer.alloc(32))).toBe(true);
      expect(await registry.credentialByDigest(hashSecret(secret ?? ""))).toMatchObject({ agent_id: profile.id });
    }
    for (const kind of ["agent.created", "credential.issued"]) expect(acts.filter((act) => act.kind === kind)).toHaveLength(45);
    expect(JSON.stringify(acts)).not.toContain("tgs_");
  });

  test("are none where one is wrong, and every problem is told", async () => {
    const { registry, acts } = await openAt();
    issued(await registry.create({ name: "taken" }, "test"));
    await registry.createCustomer("small", { agentsMax: 1 }, "test");
    await registry.createCustomer("over", {}, "test");
    await registry.changeCustomer("over", "ended", null, "test");
    const before = acts.length;
    const answer = await registry.importAgents(
      [
        { name: "fine" },
        { name: "taken" },
        { name: "fine" },
        { name: "agt_x", owner: " ", kind: "robot", riskClass: "none" },
        { name: "s1", customer: "small" },
        { name: "s2", customer: "small" },
        { name: "o", customer: "over" },
        { name: "c", customer: "not a key" },
      ],
      HOW,
      "importer",
    );
    expect("problems" in answer && answer.problems.map(({ index }) => index)).toEqual([1, 2, 3, 3, 3, 3, 4, 6, 7]);
    expect([registry.all().length, acts.length]).toEqual([1, before]);
  });

  test("are none where one cannot be recorded, the customer that they name neither", async () => {
    const { registry, refuse } = await openAt();
    refuse(new Error("the journal cannot write"), "credential.issued");
    await expect(registry.importAgents(rows(30, { customer: "acme" }), { dryRun: false, secrets: true }, "importer")).rejects.toThrow(
      "journal",
    );
    refuse(null);
    await registry.catchUp();
    expect([registry.all(), registry.customer("acme")]).toEqual([[], undefined]);
  });

  test("leave no trace when they are only looked at", async () => {
    const { registry, acts } = await openAt();
    expect(await registry.importAgents(rows(3, { customer: "acme" }), { dryRun: true, secrets: true }, "importer")).toEqual({ agents: [] });
    expect([registry.all(), registry.customer("acme"), acts]).toEqual([[], undefined, []]);
  });

  test("of one name, imported twice at once, are made once", async () => {
    const { registry } = await openAt();
    const answers = await Promise.all([1, 2].map(() => registry.importAgents(rows(5), HOW, "importer")));
    expect(answers.map((answer) => "agents" in answer).toSorted()).toEqual([false, true]);
    expect(registry.all()).toHaveLength(5);
  });

  test("of a leaver are suspended in one account, or in all", async () => {
    const { registry } = await openAt();
    for (const customer of ["acme", "globex"]) await registry.importAgents([{ name: customer, customer, owner: "sam" }], HOW, "importer");
    expect((await registry.offboard("sam", null, "test", "acme")).map(({ name }) => name)).toEqual(["acme"]);
    expect((await registry.offboard("sam", null, "test")).map(({ name }) => name)).toEqual(["globex"]);
  });
});
