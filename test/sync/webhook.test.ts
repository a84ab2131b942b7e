import { createHmac } from "node:crypto";
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import type { RecordKind } from "../../src/call/record/audit-record.ts";
import { auditOfAct } from "../../src/call/record/compose.ts";
import { DISABLED_AFTER_MS, MESSAGE_TRIES_MAX } from "../../src/call/sync/webhook.ts";
import type { Webhook } from "../../src/config.ts";
import { webhookJson } from "../../src/control/admin/sync-json.ts";
import { Secret } from "../../src/secret.ts";
import { startWebhooks, webhookSink } from "../../src/webhooks.ts";
import { bookStage, later, settle, stopAll } from "./stage.ts";

afterEach(stopAll);

const KEY = Buffer.alloc(32, 7);
const HOUR_MS = 3_600_000;

type Told = {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly message: { type: string; timestamp: string; data: Record<string, unknown> };
};

async function receiver() {
  const told: Told[] = [];
  const world = { url: "", told, answer: (response: ServerResponse, _count: number) => void response.writeHead(204).end() };
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    told.push({ headers: request.headers, body, message: JSON.parse(body) });
    world.answer(response, told.length);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  world.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
  later(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return world;
}

async function stage(events: readonly string[]) {
  const books = await bookStage();
  const to = await receiver();
  const acts: string[] = [];
  const append = (kind: RecordKind, details: Record<string, string>) =>
    books.journal.append(auditOfAct(kind, "alice", details, { now: () => 0, configVersion: () => "c" }));
  const start = async () => {
    const webhook: Webhook = {
      name: "ops",
      isNamed: true,
      url: to.url,
      secret: new Secret(`whsec_${KEY.toString("base64")}`),
      events,
      timeoutMs: 500,
    };
    const [running] = await startWebhooks([webhook], {
      ...books.parts,
      everyMs: HOUR_MS,
      act: async (kind, _by, { webhook: name, reason }) => void acts.push(`${kind} ${name}: ${reason}`),
    });
    if (running === undefined) throw new Error("no webhook was started");
    later(() => running.stop());
    return running;
  };
  return { ...books, to, acts, append, start };
}

test("what was done is told once, signed as Standard Webhooks says, and only the kinds that were asked for", async () => {
  const { journal, to, append, start } = await stage(["agent.*", "tool.changed"]);
  const running = await start();
  await append("agent.suspended", { agent_id: "agt_1", reason: "leak" });
  await append("agent_note" as RecordKind, {});
  await append("config.loaded", {});
  await append("tool.changed", { server: "tickets" });
  await settle(journal, 2);
  await running.flush();
  await running.flush();
  expect(to.told.map(({ message }) => message.type)).toEqual(["agent.suspended", "tool.changed"]);
  const [first] = to.told;
  const { headers, body, message } = first ?? { headers: {} as IncomingHttpHeaders, body: "", message: null };
  expect(message).toEqual({
    type: "agent.suspended",
    timestamp: "1970-01-01T00:00:00.000Z",
    data: {
      gateway: journal.source,
      sequence: 0,
      administrator: "alice",
      agent: null,
      call_id: null,
      details: { agent_id: "agt_1", reason: "leak" },
    },
  });
  expect(headers["webhook-id"]).toBe(`evt_${journal.source}_0`);
  const signed = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`;
  expect(headers["webhook-signature"]).toBe(`v1,${createHmac("sha256", KEY).update(signed).digest("base64")}`);
  expect(headers["webhook-timestamp"]).toBe("1");
});

test("a new receiver is told of what comes now, and after a restart of what came meanwhile", async () => {
  const { to, append, start } = await stage(["*"]);
  await append("agent.suspended", { n: "1" });
  const first = await start();
  await first.flush();
  expect(to.told).toHaveLength(0);
  await append("agent.suspended", { n: "2" });
  await first.flush();
  await first.stop();
  await append("agent.suspended", { n: "3" });
  await (await start()).flush();
  expect(to.told.map(({ message }) => (message.data.details as { n: string }).n)).toEqual(["2", "3"]);
});

test("a message that is not taken comes again with the same id, later and later, and holds the others up for one round only", async () => {
  const { to, clock, append, start } = await stage(["*"]);
  const running = await start();
  to.answer = (response, count) => void response.writeHead(count === 1 ? 500 : 204).end();
  await append("agent.suspended", { n: "1" });
  await append("agent.revoked", { n: "2" });
  await running.flush();
  await running.flush();
  expect(to.told.map(({ message }) => message.type)).toEqual(["agent.suspended", "agent.revoked"]);
  expect(await running.status()).toMatchObject({ waiting: 1, disabledAtMs: null, failingSinceMs: null });
  clock.nowMs += 5_000;
  await running.flush();
  expect(to.told.map(({ message }) => message.type)).toEqual(["agent.suspended", "agent.revoked", "agent.suspended"]);
  expect(to.told[2]?.headers["webhook-id"]).toBe(to.told[0]?.headers["webhook-id"]);
  expect(await running.status()).toMatchObject({ waiting: 0 });
});

test("a message is given up after about a day", async () => {
  const { reader, to, clock, append, start } = await stage(["*"]);
  const running = await start();
  to.answer = (response) => void response.writeHead(400).end();
  await append("agent.suspended", {});
  const first = clock.nowMs;
  for (let i = 0; i < 40; i++) {
    await running.flush();
    if ((await running.status()).waiting === 0) break;
    clock.nowMs += HOUR_MS;
  }
  expect(to.told).toHaveLength(MESSAGE_TRIES_MAX);
  expect(clock.nowMs - first).toBeLessThan(36 * HOUR_MS);
  const [aside] = await reader.ask("sinkAsides", { sink: webhookSink("ops"), state: "expired", after: null, limit: 1 });
  expect(aside).toMatchObject({ tries: MESSAGE_TRIES_MAX, reason: expect.stringContaining("the receiver answered 400") });
});

test("a receiver that answers 410 is not told again: that is recorded, and shown", async () => {
  const { journal, to, acts, append, start } = await stage(["*"]);
  const running = await start();
  to.answer = (response) => void response.writeHead(410).end();
  await append("agent.suspended", { n: "1" });
  await running.flush();
  await append("agent.suspended", { n: "2" });
  await running.flush();
  expect(to.told).toHaveLength(1);
  expect(acts).toEqual(["webhook.disabled ops: the receiver answered 410"]);
  expect(await running.status()).toMatchObject({ disabledAtMs: 1_000, reason: "the receiver answered 410", waiting: 1 });
  to.answer = (response) => void response.writeHead(200).end("ok");
  await journal.run("keepWebhookState", "ops", { failingSinceMs: null, disabledAtMs: null, reason: null });
  await running.flush();
  expect(to.told).toHaveLength(2);
});

test("one that fails for three days is disabled, one that takes something meanwhile is not", async () => {
  const { to, acts, clock, append, start } = await stage(["*"]);
  const running = await start();
  to.answer = (response) => void response.socket?.destroy();
  const fail = async () => {
    await append("agent.suspended", {});
    await running.flush();
  };
  await fail();
  clock.nowMs += DISABLED_AFTER_MS - 1;
  to.answer = (response) => void response.writeHead(204).end();
  await running.flush();
  to.answer = (response) => void response.socket?.destroy();
  await fail();
  expect(acts).toEqual([]);
  clock.nowMs += DISABLED_AFTER_MS;
  await fail();
  expect(acts).toEqual([expect.stringMatching(/^webhook.disabled ops: it failed for three days/)]);
});

test("what was purged before it was told is passed over, and what came after it is told", async () => {
  const { journal, reader, to, clock, append, start } = await stage(["*"]);
  const running = await start();
  to.answer = (response) => void response.writeHead(500).end();
  await append("agent.suspended", { n: "1" });
  await running.flush();
  await append("agent.suspended", { n: "2" });
  await append("agent.revoked", { n: "3" });
  const tombstone = auditOfAct("records.purged", "alice", {}, { now: () => 0, configVersion: () => "c" });
  expect(await journal.run("purge", { sequences: [0, 1], beforeMs: 1_000, record: tombstone })).toBe(2);
  to.told.length = 0;
  to.answer = (response) => void response.writeHead(204).end();
  clock.nowMs += 10_000;
  await running.flush();
  expect(to.told.map(({ message }) => message.type)).toEqual(["agent.revoked", "records.purged"]);
  expect(await running.status()).toMatchObject({ waiting: 0, expired: 0, failures: 0 });
  expect(await reader.ask("actPosition", webhookSink("ops"))).toBe(3);
});

test("a round that fails on our side is counted, shown and logged, until one goes well", async () => {
  const { parts, warnings, append, start } = await stage(["*"]);
  const ask = parts.reader.ask;
  const running = await start();
  await append("agent.suspended", {});
  parts.reader.ask = () => Promise.reject(new Error("the books are shut"));
  await expect(running.flush()).rejects.toThrow("the books are shut");
  parts.reader.ask = ask;
  expect(webhookJson(await running.status())).toMatchObject({
    failures: 1,
    last_error: "the books are shut",
    last_error_at: expect.any(String),
  });
  expect(warnings).toEqual([{ webhook: "ops", failures: 1, why: "the books are shut" }]);
  await running.flush();
  expect(await running.status()).toMatchObject({ failures: 0, lastSuccessMs: expect.any(Number) });
});

test("neither the key nor the text of a secret shows in a warning or a status", async () => {
  const { to, warnings, append, start } = await stage(["*"]);
  const running = await start();
  to.answer = (response) => void response.writeHead(500).end(`${KEY.toString("base64")}`);
  await append("agent.suspended", {});
  await running.flush();
  expect(warnings).toHaveLength(1);
  expect(JSON.stringify([warnings, await running.status()])).not.toContain(KEY.toString("base64"));
});
