/** Two gateways behind one public URL: data folders of their own, one folder of keys; and a third one with keys of its own. */
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { McpServer } from "@modelcontextprotocol/server";
import { type CryptoKey, exportJWK, generateKeyPair, SignJWT } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";
import { host, sendJson } from "../authenticate/issuer.ts";
import { createSessions } from "../conformance/fixture/sessions.ts";
import { type LegacyUpstream, startLegacyUpstream } from "../fixtures/legacy-upstream.ts";
import { type Door, openDoor, parsedOrRefused } from "../fixtures/listener.ts";
import { type Credentials, GatewayProcess, modernRequest, type Setup } from "./gateway-process.ts";

const POLICIES = `apiVersion: tollgate/v1
agents:
  triage-bot: { customer: acme, team: support, owner: ops@example.com, purpose: "sort tickets" }
entitlements: [{ name: all, permit: ["*/*"] }]
`;
const shared = mkdtempSync(join(tmpdir(), "tollgate-keys-"));

let old: LegacyUpstream;
let other: LegacyUpstream;
/** Its tool leaves in the middle: the rest is for whoever resumes the stream. */
let breaking: Door;
let login: Awaited<ReturnType<typeof host>>;
let loginKey: CryptoKey;
let first: GatewayProcess;
let second: GatewayProcess;
let stranger: GatewayProcess;
let registered: Credentials;

beforeAll(async () => {
  [old, other] = await Promise.all([startLegacyUpstream(), startLegacyUpstream()]);
  const breakings = createSessions(() => {
    const server = new McpServer({ name: "breaking", version: "1.0.0" }, { capabilities: { tools: {}, logging: {} } });
    server.registerTool("break_off", {}, async ({ http, mcpReq }) => {
      await mcpReq.log("info", "before");
      http?.closeSSE?.();
      return { content: [{ type: "text", text: "the rest" }] };
    });
    return server;
  });
  breaking = await openDoor(async (req, res, body) => {
    const parsed = req.method === "POST" ? parsedOrRefused(body, res) : null;
    if (parsed !== undefined) await breakings.handle(req, res, parsed ?? undefined);
  });
  const pair = await generateKeyPair("ES256");
  loginKey = pair.privateKey;
  const jwk = { ...(await exportJWK(pair.publicKey)), kid: "login-1", alg: "ES256", use: "sig" };
  login = await host((request, response, url) =>
    sendJson(
      response,
      request.url === "/jwks" ? { keys: [jwk] } : { issuer: url, jwks_uri: `${url}/jwks`, token_endpoint: `${url}/token` },
    ),
  );
  const setup = (id: string, keys: string): Setup => ({
    policies: POLICIES,
    servers: `  old: { url: "${old.mcpUrl}" }\n  breaking: { url: "${breaking.url}/mcp" }`,
    more: `gatewayId: ${id}\nkeys: ${keys}\nissuers: [{ issuer: "${login.url}", audience: "api://tollgate", agent: claims.azp }]`,
  });
  first = await GatewayProcess.prepare(setup("gw-1", `file:${shared}`));
  const publicPort = Number(new URL(first.publicUrl).port);
  second = await GatewayProcess.prepare({ ...setup("gw-2", `file:${shared}`), publicPort });
  stranger = await GatewayProcess.prepare({ ...setup("gw-3", "data"), publicPort });
  // Agents are registered in a data folder: the second one begins as a copy of the first one's.
  await first.serve();
  registered = await first.createAgent("registered");
  await first.stop();
  mkdirSync(join(second.folder, "data"), { mode: 0o700 });
  copyFileSync(join(first.folder, "data", "control.db"), join(second.folder, "data", "control.db"));
  await Promise.all([first.serve(), second.serve(), stranger.serve()]);
}, 120_000);

afterAll(async () => {
  for (const gateway of [first, second, stranger]) expect(await gateway?.stop()).toBe(0);
  await Promise.all([old?.close(), other?.close(), breaking?.close(), login?.close()]);
});

/** As an external identity provider issues it: the gateways know the agent by its name, each under an id of its own. */
function externalToken(subject = "somebody"): Promise<string> {
  return new SignJWT({ sub: subject, azp: "triage-bot", client_id: "triage-bot", jti: crypto.randomUUID() })
    .setProtectedHeader({ alg: "ES256", kid: "login-1", typ: "at+jwt" })
    .setIssuer(login.url)
    .setAudience("api://tollgate")
    .setIssuedAt()
    .setExpirationTime("5m")
    .sign(loginKey);
}

function say(
  gateway: GatewayProcess,
  accessToken: string,
  session: string | null,
  method: string,
  params = {},
  server = "old",
): Promise<Response> {
  return fetch(`${gateway.listenUrl}/mcp/${server}`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      authorization: `Bearer ${accessToken}`,
      ...(session === null ? {} : { "mcp-session-id": session, "mcp-protocol-version": "2025-11-25" }),
    },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
  });
}

async function openSession(gateway: GatewayProcess, accessToken: string, server?: string): Promise<string> {
  const opening = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "t", version: "1" } };
  const answer = await say(gateway, accessToken, null, "initialize", opening, server);
  await answer.text();
  return answer.headers.get("mcp-session-id") ?? "none";
}

const ECHO = { name: "echo", arguments: { text: "through another" } };

test("a session that one gateway opened goes on through the other, for the same principal alone", async () => {
  const [accessToken, strangers] = [await externalToken(), await externalToken("somebody else")];
  const session = await openSession(first, accessToken);
  const answer = await say(second, accessToken, session, "tools/call", ECHO);
  expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining("through another")]);
  expect((await say(second, strangers, session, "tools/call", ECHO)).status).toBe(404);
  const ended = await fetch(`${second.listenUrl}/mcp/old`, {
    method: "DELETE",
    headers: { authorization: `Bearer ${accessToken}`, "mcp-session-id": session },
  });
  expect(ended.status).toBe(200);
  expect((await say(first, accessToken, session, "tools/call", ECHO)).status).toBe(404);
});

test("a stream that breaks off at one gateway is resumed at the other", async () => {
  const accessToken = await externalToken();
  const session = await openSession(first, accessToken, "breaking");
  const broken = await (await say(first, accessToken, session, "tools/call", { name: "break_off" }, "breaking")).text();
  const [, lastEventId = ""] = [...broken.matchAll(/^id: (.+)$/gm)].at(-1) ?? [];
  expect([broken.includes("the rest"), lastEventId.length > 22]).toEqual([false, true]);
  const leaving = new AbortController();
  const resumed = await fetch(`${second.listenUrl}/mcp/breaking`, {
    signal: leaving.signal,
    headers: {
      accept: "text/event-stream",
      authorization: `Bearer ${accessToken}`,
      "mcp-session-id": session,
      "last-event-id": lastEventId,
    },
  });
  let text = "";
  for await (const chunk of resumed.body ?? []) {
    text += Buffer.from(chunk).toString();
    if (text.includes("the rest")) break;
  }
  leaving.abort();
  expect([resumed.status, text]).toEqual([200, expect.stringContaining("the rest")]);
});

test("a session is unknown to a gateway with other keys, which asks nobody", async () => {
  const accessToken = await externalToken();
  const session = await openSession(first, accessToken);
  const before = old.received.length;
  expect((await say(stranger, accessToken, session, "tools/call", ECHO)).status).toBe(404);
  expect(old.received.length).toBe(before);
});

test("a token that one gateway issued is accepted by the other, where the agent is registered there too, and by none with other keys", async () => {
  const accessToken = await first.accessToken(registered, "old");
  const session = await openSession(first, accessToken);
  expect((await say(second, accessToken, session, "tools/call", ECHO)).status).toBe(200);
  expect((await say(stranger, accessToken, session, "tools/call", ECHO)).status).toBe(401);
  const late = await first.createAgent("registered-later");
  const answer = await modernRequest(`${second.listenUrl}/mcp/old`, await first.accessToken(late, "old"), "server/discover");
  expect([answer.status, await answer.json()]).toMatchObject([403, { error: { data: { reason: "agent_unknown" } } }]);
});

test("each gateway's books say which one wrote them, and a data folder goes on under the id that it began with", async () => {
  for (const [gateway, id] of [
    [first, "gw-1"],
    [second, "gw-2"],
  ] as const) {
    const records = await gateway.json<{ source: string }[]>("audit", "tail");
    expect(new Set(records.map(({ source }) => source))).toEqual(new Set([id]));
  }
  await stranger.stop();
  const config = readFileSync(stranger.configFile, "utf8");
  writeFileSync(stranger.configFile, config.replace("gw-3", "gw-4"));
  const renamed = await stranger.command("serve");
  expect([renamed.code, renamed.stderr]).toEqual([
    78,
    expect.stringMatching(/write gatewayId: gw-3, or give gw-4 a data folder of its own/),
  ]);
  writeFileSync(stranger.configFile, config.replace("gatewayId: gw-3\n", ""));
  await stranger.serve();
});

test("a server that is pointed elsewhere under the same name has ended its sessions", async () => {
  const accessToken = await externalToken();
  const session = await openSession(second, accessToken);
  await second.stop();
  writeFileSync(second.configFile, readFileSync(second.configFile, "utf8").replace(old.mcpUrl, other.mcpUrl));
  await second.serve();
  expect((await say(second, accessToken, session, "tools/call", ECHO)).status).toBe(404);
  expect(other.received).toEqual([]);
});

test("a shared folder that is missing refuses the start: keys of its own would part the gateway from the others", async () => {
  const lost = await GatewayProcess.prepare({
    policies: POLICIES,
    servers: `  old: { url: "${old.mcpUrl}" }`,
    more: "keys: file:./not-mounted",
  });
  const refused = await lost.command("serve");
  expect([refused.code, refused.stderr]).toEqual([78, expect.stringMatching(/tollgate\.yaml:6:7: keys: \.\/not-mounted does not exist/)]);
});
