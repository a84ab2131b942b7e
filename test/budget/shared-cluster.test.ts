/** The ledger in a Redis Cluster: all keys of a namespace are in one slot, and a gateway finds the node that has it from any other. */
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { isRefusal } from "../../src/refusal.ts";
import { freePort } from "../fixtures/free-port.ts";
import { type RedisServer, startRedis, withoutRedis } from "../fixtures/redis.ts";
import { callId, drawOf, usageOf } from "./draws.ts";
import { ledgerContract } from "./ledger-contract.ts";
import { createStage, ledgerOn, type Sharer } from "./shared-stage.ts";

const once = usageOf(1, 100);
const draw = drawOf({ limit: 10, period: "total" });

type Node = RedisServer & { readonly id: string; readonly busPort: number };

async function startNode(): Promise<Node> {
  const busPort = await freePort();
  // A cluster that lacks slots serves those that it has: one namespace needs no more than one.
  const options = { enabled: "yes", "config-file": `nodes-${busPort}.conf`, "require-full-coverage": "no", port: String(busPort) };
  const node = await startRedis(...Object.entries(options).flatMap(([name, value]) => [`--cluster-${name}`, value]));
  return { ...node, busPort, id: String(await node.command("CLUSTER", "MYID")) };
}

describe.skipIf(withoutRedis)("a Redis Cluster", () => {
  let nodes: [Node, Node, Node];
  const stages: { close(): void }[] = [];
  const stageOn = async (node: Node, reached = node) => {
    const stage = createStage({ ...node, url: reached.url });
    stages.push(stage);
    const slot = String(await node.command("CLUSTER", "KEYSLOT", `{${stage.namespace}}:control`));
    await node.command("CLUSTER", "ADDSLOTS", slot);
    // What it does not serve it refuses: a key outside of the namespace's slot would fail.
    await expect.poll(() => node.command("SET", `{${stage.namespace}}:there`, "1").catch(String), { timeout: 20_000 }).toBe("OK");
    await knows(reached, slot, node);
    return { stage, slot };
  };
  const knows = (node: Node, slot: string, home: Node) =>
    expect
      .poll(async () => JSON.stringify(await node.command("CLUSTER", "SLOTS")), { timeout: 20_000 })
      .toContain(`[${slot},${slot},["127.0.0.1",${home.port}`);
  /** Node by node: what two nodes hear of each other only by the third's gossip may come much later than a test needs it. */
  const meetsAll = async (node: Node): Promise<boolean> => {
    const lines = String(await node.command("CLUSTER", "NODES")).split("\n");
    const strangers = nodes.filter(({ id }) => !lines.some((line) => line.startsWith(id) && line.includes(" connected")));
    for (const { port, busPort } of strangers) await node.command("CLUSTER", "MEET", "127.0.0.1", String(port), String(busPort));
    return strangers.length === 0;
  };
  const opened = (sharer: Sharer) => expect.poll(() => sharer.sharing.status().open, { timeout: 20_000, interval: 10 }).toBe(true);
  const used = async ({ journaled }: Sharer): Promise<string> => {
    const answer = await journaled.hold(callId(), [draw], once, Date.now());
    if (isRefusal(answer)) return answer.refused;
    answer.sent();
    await answer.post(once);
    return "used";
  };

  beforeAll(async () => {
    nodes = [await startNode(), await startNode(), await startNode()];
    for (const node of nodes) await vi.waitUntil(() => meetsAll(node), { timeout: 30_000, interval: 250 });
  }, 120_000);
  afterEach(() => {
    for (const stage of stages.splice(0)) stage.close();
  });
  afterAll(() => Promise.all((nodes ?? []).map((node) => node.close())));

  ledgerContract("on a node of one slot", async (initial) => ledgerOn((await stageOn(nodes[0])).stage, initial));

  test("is reached by any of its nodes, and by the new one when the slot has moved, with all that was used", async () => {
    const [first, second, third] = nodes;
    const { stage, slot } = await stageOn(first, third);
    const gateway = await stage.join({ beatMs: 50 });
    await opened(gateway);
    for (let i = 0; i < 6; i++) expect(await used(gateway)).toBe("used");
    expect(await first.command("EXISTS", `{${stage.namespace}}:control`)).toBe(1);
    // Its keys are lost on the way: what a gateway has used it tells again.
    await first.command("FLUSHALL");
    for (const node of [second, first, third]) await node.command("CLUSTER", "SETSLOT", slot, "NODE", second.id);
    await knows(third, slot, second);
    await expect.poll(() => second.command("EXISTS", `{${stage.namespace}}:control`).catch(() => 0), { timeout: 20_000 }).toBe(1);
    await opened(gateway);
    const answers: string[] = [];
    for (let i = 0; i < 6; i++) answers.push(await used(gateway));
    expect(answers).toEqual(["used", "used", "used", "used", "budget_exhausted", "budget_exhausted"]);
  });

  test("that serves the slot nowhere leaves the ledger away, with its word", async () => {
    const stage = createStage(nodes[0]);
    stages.push(stage);
    const gateway = await stage.join();
    await expect.poll(() => gateway.states, { timeout: 20_000 }).toContainEqual(["away", expect.stringMatching(/CLUSTERDOWN/)]);
    expect(await used(gateway)).toBe("store_unavailable");
  });
});
