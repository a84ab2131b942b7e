/** Sessions of the older era in the hands of others: through the front door, against a real server that keeps all events in one store. */
import { randomUUID } from "node:crypto";
import { connect } from "node:net";
import { NodeStreamableHTTPServerTransport } from "@modelcontextprotocol/node";
import { type EventStore, type JSONRPCMessage, McpServer } from "@modelcontextprotocol/server";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Door, openDoor, parsedOrRefused } from "../fixtures/listener.ts";
import { GatewayProcess } from "./gateway-process.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: all, permit: ["*/*", "method:*/*"] }
budgets:
  - { name: few-tokens, who: { team: frugal }, meter: tool_tokens, limit: 3000, period: total }
`;

let door: Door;
let gateway: GatewayProcess;
/** By name of the agent and route. */
const accessTokens = new Map<string, string>();
/** Ids of the server's own. */
const open = new Map<string, NodeStreamableHTTPServerTransport>();

beforeAll(async () => {
  const eventStore = createEventStore();
  door = await openDoor(async (req, res, body) => {
    const parsed = req.method === "POST" ? parsedOrRefused(body, res) : null;
    if (parsed === undefined) return;
    const id = req.headers["mcp-session-id"];
    const known = typeof id === "string" ? open.get(id) : undefined;
    if (known !== undefined) return known.handleRequest(req, res, parsed ?? undefined);
    if (id !== undefined || req.method !== "POST") return void res.writeHead(404).end();
    const transport: NodeStreamableHTTPServerTransport = new NodeStreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      eventStore,
      onsessioninitialized: (opened) => void open.set(opened, transport),
      onsessionclosed: (closed) => void open.delete(closed),
    });
    await teller().connect(transport);
    return transport.handleRequest(req, res, parsed);
  });
  gateway = await GatewayProcess.start({
    policies: POLICIES,
    servers: `  teller: { url: "${door.url}/mcp" }\n  twin: { url: "${door.url}/mcp" }`,
  });
  for (const [name, team] of [
    ["alice", "support"],
    ["mallory", "support"],
    ["frugal", "frugal"],
  ] as const) {
    const agent = await gateway.createAgent(name, team);
    for (const route of ["teller", "twin", ""]) accessTokens.set(`${name} ${route}`, await gateway.accessToken(agent, route));
  }
});

afterAll(async () => {
  expect(await gateway?.stop()).toBe(0);
  await door?.close();
});

function teller(): McpServer {
  const server = new McpServer({ name: "teller", version: "1.0.0" }, { capabilities: { tools: { listChanged: true }, logging: {} } });
  const said = (text: string) => ({ content: [{ type: "text" as const, text }] });
  server.registerTool("tell", {}, async () => {
    server.sendToolListChanged();
    return said("told");
  });
  server.registerTool("secret", {}, async ({ mcpReq, http }) => {
    await mcpReq.log("warning", "before");
    http?.closeSSE?.();
    return said("the secret of this session");
  });
  server.registerTool("long", {}, async ({ mcpReq }) => {
    await mcpReq.log("warning", "before");
    return said("lorem ipsum ".repeat(5_000));
  });
  return server;
}

/** One for all sessions, as a server may have it: whoever knows the id of an event is sent what followed it. */
function createEventStore(): EventStore {
  const events: { readonly streamId: string; readonly message: JSONRPCMessage }[] = [];
  return {
    storeEvent: async (streamId, message) => String(events.push({ streamId, message })),
    async replayEventsAfter(lastEventId, { send }) {
      const last = Number(lastEventId);
      const streamId = events[last - 1]?.streamId ?? "";
      for (const [i, event] of events.entries()) {
        if (i >= last && event.streamId === streamId && "jsonrpc" in event.message) await send(String(i + 1), event.message);
      }
      return streamId;
    },
  };
}

type Asked = {
  agent?: string;
  route?: string;
  method?: "POST" | "GET" | "DELETE";
  session?: string | null;
  lastEventId?: string;
  signal?: AbortSignal;
};

function ask(
  message: object | null,
  { agent = "alice", route = "teller", method = "POST", session, lastEventId, signal }: Asked,
): Promise<Response> {
  return fetch(`${gateway.publicUrl}/mcp${route === "" ? "" : `/${route}`}`, {
    method,
    headers: {
      ...(method === "POST" ? { "content-type": "application/json" } : {}),
      accept: method === "GET" ? "text/event-stream" : "application/json, text/event-stream",
      authorization: `Bearer ${accessTokens.get(`${agent} ${route}`)}`,
      "mcp-protocol-version": "2025-11-25",
      ...(session == null ? {} : { "mcp-session-id": session }),
      ...(lastEventId === undefined ? {} : { "last-event-id": lastEventId }),
    },
    ...(message === null ? {} : { body: JSON.stringify({ jsonrpc: "2.0", id: 1, ...message }) }),
    ...(signal === undefined ? {} : { signal }),
  });
}

const OPENING = {
  method: "initialize",
  params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "t", version: "1" } },
};
const call = (name: string) => ({ method: "tools/call", params: { name, arguments: {} } });

async function opened(agent = "alice"): Promise<string> {
  const answer = await ask(OPENING, { agent });
  expect([answer.status, (await answer.text()).includes("teller")]).toEqual([200, true]);
  return answer.headers.get("mcp-session-id") ?? "none";
}

/** The session's GET stream, and everything that came on it so far. */
async function listening(session: string) {
  const leaving = new AbortController();
  const answer = await ask(null, { method: "GET", session, signal: leaving.signal });
  expect(answer.status).toBe(200);
  const heard = { text: "" };
  const read = (async () => {
    for await (const chunk of answer.body ?? []) heard.text += Buffer.from(chunk).toString();
  })().catch(() => {});
  return {
    async until(text: string) {
      for (let i = 0; i < 500 && !heard.text.includes(text); i++) await new Promise((resolve) => setTimeout(resolve, 10));
      expect(heard.text).toContain(text);
      const times = heard.text.split(text).length - 1;
      heard.text = "";
      return times;
    },
    async leave() {
      leaving.abort();
      await read;
    },
  };
}

const CHANGED = "notifications/tools/list_changed";
const idsIn = (text: string) => [...text.matchAll(/^id: (.+)$/gm)].map(([, id]) => id ?? "");

describe("a live session", () => {
  test("M27 is nobody else's, by POST, GET or DELETE; nothing reaches the server, and its owner's stream goes on", async () => {
    const session = await opened();
    const stream = await listening(session);
    const before = door.received.length;
    const mallory = { agent: "mallory", session };
    const answers = [
      await ask(call("tell"), mallory),
      await ask({ method: "tools/list" }, mallory),
      await ask(null, { ...mallory, method: "GET" }),
      await ask(null, { ...mallory, method: "DELETE" }),
      await ask(OPENING, mallory),
    ];
    expect(answers.map(({ status }) => status)).toEqual([404, 404, 404, 404, 404]);
    expect(door.received.length).toBe(before);
    expect((await ask(call("tell"), { session })).status).toBe(200);
    expect(await stream.until(CHANGED)).toBe(1);
    await stream.leave();
  });

  test("M28 is unknown on another route, also where that leads to the same server, and in a view", async () => {
    const session = await opened();
    const before = door.received.length;
    for (const route of ["twin", ""]) {
      expect((await ask({ method: "ping" }, { route, session })).status).toBe(404);
      expect((await ask(null, { route, session, method: "DELETE" })).status).toBe(404);
    }
    expect(door.received.length).toBe(before);
    expect((await ask(call("tell"), { session })).status).toBe(200);
  });

  test("M31 keeps its GET stream when a second one asks for its place", async () => {
    const session = await opened();
    const stream = await listening(session);
    expect((await ask(null, { method: "GET", session })).status).toBe(409);
    await (await ask(call("tell"), { session })).text();
    expect(await stream.until(CHANGED)).toBe(1);
    await stream.leave();
  });
});

test("the server's own session id is in no header and no record", async () => {
  const session = await opened();
  const own = [...open.keys()];
  const answer = await ask(call("tell"), { session });
  const seen = JSON.stringify([[...answer.headers], session, Buffer.from(session, "base64url").toString("latin1"), gateway.output]);
  const records = (await gateway.command("audit", "tail", "--limit", "1000", "--json")).stdout;
  expect(own.length).toBeGreaterThan(0);
  for (const id of own) expect([seen.includes(id), records.includes(id), records.includes(session)]).toEqual([false, false, false]);
});

describe("M29 a session id that was not given out", () => {
  test("is unknown, and reaches nobody", async () => {
    const session = await opened();
    const before = door.received.length;
    const invented = [
      randomUUID(),
      ...open.keys(),
      "1",
      "null",
      "__proto__",
      session.slice(0, -1),
      `${session}A`,
      session.slice(1),
      "a".repeat(5_499),
    ];
    for (const id of invented) {
      expect([id, (await ask({ method: "tools/list" }, { session: id })).status]).toEqual([id, 404]);
      expect([id, (await ask(OPENING, { session: id })).status]).toEqual([id, 404]);
    }
    expect(door.received.length).toBe(before);
  });

  test.each([
    ["with a control character", "a\u0001b"],
    ["with a line of its own", "a\r\n b"],
    ["beyond ASCII", "\u00e9"],
    ["of 1 MB", "a".repeat(1_048_576)],
    ["twice", "a\r\nMcp-Session-Id: b"],
  ])("%s is refused", async (_, sessionId) => {
    const before = door.received.length;
    const { hostname, port, host } = new URL(gateway.publicUrl);
    const head = `DELETE /mcp/teller HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${accessTokens.get("alice teller")}\r\n`;
    const status = await new Promise<number>((resolve, reject) => {
      const socket = connect(Number(port), hostname, () =>
        socket.write(`${head}Mcp-Session-Id: ${sessionId}\r\nConnection: close\r\n\r\n`, "latin1"),
      );
      socket.once("data", (bytes) => resolve(Number(bytes.toString("latin1").slice(9, 12))));
      socket.once("error", reject);
    });
    expect([400, 404, 431]).toContain(status);
    expect(door.received.length).toBe(before);
  });
});

describe("M30 the id of an event", () => {
  async function brokenOff(agent = "alice") {
    const session = await opened(agent);
    const answer = await ask(call("secret"), { agent, session });
    return { session, ids: idsIn(await answer.text()) };
  }

  test("resumes its own session's stream for its owner, with all that came after it", async () => {
    const { session, ids } = await brokenOff();
    expect(ids.length).toBeGreaterThan(0);
    const leaving = new AbortController();
    const resumed = await ask(null, { method: "GET", session, lastEventId: ids[0] ?? "", signal: leaving.signal });
    expect(resumed.status).toBe(200);
    let text = "";
    for await (const chunk of resumed.body ?? []) {
      text += Buffer.from(chunk).toString();
      if (text.includes("the secret of this session")) break;
    }
    expect(text).toContain("the secret of this session");
    leaving.abort();
  });

  test("of another principal's stream, of another session's, or guessed, brings nothing, though the server would have sent it", async () => {
    const { ids } = await brokenOff();
    const [theirs, mine] = [await opened("mallory"), await opened()];
    const before = door.received.length;
    for (const lastEventId of [...ids, ...ids.map((id) => id.split(".")[1] ?? ""), "1", "2"]) {
      for (const asked of [{ agent: "mallory", session: theirs }, { session: mine }, { agent: "mallory" }]) {
        const answer = await ask(null, { ...asked, method: "GET", lastEventId });
        expect([lastEventId, answer.status, (await answer.text()).includes("secret of")]).toEqual([lastEventId, 404, false]);
      }
    }
    expect(door.received.length).toBe(before);
  });
});

test("a result that a budget withheld comes on no resumed stream, not even after a new start", async () => {
  const session = await opened("frugal");
  const answer = await ask(call("long"), { agent: "frugal", session });
  const text = await answer.text();
  expect([text.includes("result_over_budget"), text.includes("lorem")]).toEqual([true, false]);
  const lastEventId = idsIn(text)[0] ?? "none";
  await gateway.stop();
  await gateway.serve();
  const resumed = await ask(null, { agent: "frugal", method: "GET", session, lastEventId });
  expect([resumed.status, (await resumed.text()).includes("lorem")]).toEqual([404, false]);
  // The session itself goes on.
  expect((await ask({ method: "ping" }, { agent: "frugal", session })).status).toBe(200);
});
