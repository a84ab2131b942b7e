import { readFileSync } from "node:fs";
import { join } from "node:path";
import { importJWK, type JWK, SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startBadUpstream } from "../fixtures/bad-upstream.ts";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { type Credentials, freePorts, GatewayProcess, legacyRequest, modernRequest } from "./gateway-process.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: support, who: { team: support }, permit: ["up/*", "resource:up/*", "html/*", "half/*", "down/*", "hang/*", "denies/*"] }
  - { name: nobody-deletes, forbid: ["*/delete_*"] }
  - { name: small, forbid: ["*/search"], when: args.limit > 100 }
`;

type Answer = {
  id: unknown;
  result?: { isError?: boolean; content: { text: string }[] };
  error?: { code: number; message: string; data: Record<string, unknown> };
};

let upstream: Upstream;
let bad: Awaited<ReturnType<typeof startBadUpstream>>;
const gateways = new Map<string, GatewayProcess>();
const agents = new Map<string, Credentials>();

beforeAll(async () => {
  upstream = await startHttpUpstream();
  bad = await startBadUpstream();
  const [closedPort = 0] = await freePorts(1);
  for (const mode of ["jsonrpc", "http", "toolResult"]) {
    const gateway = await GatewayProcess.start({
      policies: POLICIES,
      more: `refusals: ${mode}`,
      servers: `  up: { url: "${upstream.mcpUrl}" }
  secret-server: { url: "${upstream.mcpUrl}" }
  html: { url: "${bad.badUrl("html")}" }
  half: { url: "${bad.badUrl("half-event")}" }
  denies: { url: "${bad.badUrl("unauthorized")}" }
  hang: { url: "${bad.badUrl("hang")}", timeout: 1s }
  down: { url: "http://127.0.0.1:${closedPort}/mcp" }`,
    });
    gateways.set(mode, gateway);
    agents.set(mode, await gateway.createAgent("bot"));
  }
});

afterAll(async () => {
  await Promise.all([...gateways.values()].map((gateway) => gateway.stop()));
  await upstream?.close();
  await bad?.close();
});

function gatewayOf(mode: string): GatewayProcess {
  const gateway = gateways.get(mode);
  if (gateway === undefined) throw new Error(mode);
  return gateway;
}

async function tokenFor(mode: string, server: string): Promise<string> {
  const agent = agents.get(mode);
  if (agent === undefined) throw new Error(mode);
  return gatewayOf(mode).accessToken(agent, server);
}

/** What the caller sends, and what each mode answers: HTTP status and JSON-RPC code. */
const REFUSED: readonly [
  what: string,
  server: string,
  tool: string,
  args: object,
  reason: string,
  jsonrpc: [number, number | null],
  http: number,
][] = [
  ["a tool that does not exist", "up", "nothing-like-it", {}, "tool_unknown", [200, -32602], 404],
  ["a tool that policy forbids", "up", "delete_everything", {}, "tool_unknown", [200, -32602], 404],
  ["an argument over its limit", "up", "search", { query: "x", limit: 101 }, "arguments_denied", [200, 40301], 403],
  ["a condition that cannot be evaluated", "up", "search", { query: "x" }, "arguments_denied", [200, 40301], 403],
  ["an upstream that answers HTML", "html", "echo", { text: "x" }, "upstream_invalid", [200, 50203], 502],
  ["an upstream that is down", "down", "echo", { text: "x" }, "upstream_unreachable", [200, 50201], 502],
  ["an upstream that hangs", "hang", "echo", { text: "x" }, "upstream_timeout", [200, 50401], 504],
  ["an upstream that refuses the gateway", "denies", "echo", { text: "x" }, "exchange_failed", [200, 50202], 502],
];

describe.each(["jsonrpc", "http", "toolResult"])("refusals: %s", (mode) => {
  test.each(REFUSED)("%s", async (_, server, tool, args, reason, [status, code], http) => {
    const gateway = gatewayOf(mode);
    const answer = await modernRequest(
      `${gateway.publicUrl}/mcp/${server}`,
      await tokenFor(mode, server),
      "tools/call",
      { name: tool, arguments: args },
      "id-1",
    );
    const body = (await answer.json()) as Answer;
    expect(answer.status).toBe(mode === "http" ? http : status);
    expect(body.id).toBe("id-1");
    if (mode === "toolResult") {
      expect(body.result?.isError).toBe(true);
      expect(body.result?.content[0]?.text).toContain(reason);
      return;
    }
    expect(body.error).toMatchObject({ code, data: { reason, type: `${gateway.publicUrl}/problems/${reason}` } });
    expect(body.error?.data.call_id).toMatch(/^call_/);
    expect((await fetch(String(body.error?.data.type))).status).toBe(200);
  });

  test("the gateway still serves, and every refusal is recorded with its call id", async () => {
    const gateway = gatewayOf(mode);
    const answer = await modernRequest(`${gateway.publicUrl}/mcp/up`, await tokenFor(mode, "up"), "tools/call", {
      name: "echo",
      arguments: { text: "alive" },
    });
    expect(await answer.text()).toContain("alive");
    const tail = await gateway.json<{ reason: string | null; decision: string }[]>("audit", "tail", "--limit", "1000");
    const recorded = tail.map((record) => record.reason);
    for (const [, , , , reason] of REFUSED) expect(recorded).toContain(reason);
    expect(await gateway.json<{ ok: boolean }>("audit", "verify")).toMatchObject({ ok: true });
  });
});

test("a forbidden tool and one that does not exist are answered with the same bytes", async () => {
  const accessToken = await tokenFor("jsonrpc", "up");
  const url = `${gatewayOf("jsonrpc").publicUrl}/mcp/up`;
  const bytes = async (tool: string) =>
    (await (await modernRequest(url, accessToken, "tools/call", { name: tool, arguments: {} })).text()).replace(/call_[a-z0-9]+/g, "CALL");
  expect(await bytes("delete_everything")).toBe(await bytes("no-such-tool"));
});

test("half an SSE event ends the stream with the refusal as its last event", async () => {
  const answer = await modernRequest(
    `${gatewayOf("jsonrpc").publicUrl}/mcp/half`,
    await tokenFor("jsonrpc", "half"),
    "tools/call",
    { name: "echo", arguments: { text: "x" } },
    5,
  );
  const text = await answer.text();
  expect(text).toMatch(/"id":5,"error":\{"code":50203/);
  expect(text).toContain("upstream_invalid");
});

describe("credentials", () => {
  const url = () => `${gatewayOf("jsonrpc").publicUrl}/mcp/up`;
  const call = (accessToken: string | null, target = url()) =>
    modernRequest(target, accessToken, "tools/call", { name: "echo", arguments: { text: "x" } });

  /** Signed with the gateway's own key: only the claims are wrong. */
  async function forged(change: Record<string, unknown>, typ = "at+jwt"): Promise<string> {
    const gateway = gatewayOf("jsonrpc");
    const { signing } = JSON.parse(readFileSync(join(gateway.folder, "data", "keys.json"), "utf8")) as { signing: JWK };
    const id = agents.get("jsonrpc")?.client_id;
    const now = Math.floor(Date.now() / 1000);
    const claims = {
      iss: gateway.publicUrl,
      sub: id,
      client_id: id,
      aud: url(),
      iat: now,
      exp: now + 300,
      jti: "j",
      scope: "mcp",
      ...change,
    };
    return new SignJWT(claims).setProtectedHeader({ alg: "ES256", kid: signing.kid ?? "", typ }).sign(await importJWK(signing, "ES256"));
  }

  test("none: 401 and a challenge that leads to the authorization server", async () => {
    const answer = await call(null);
    expect(answer.status).toBe(401);
    const challenge = answer.headers.get("www-authenticate") ?? "";
    expect(challenge).toMatch(/^Bearer resource_metadata="[^"]+\/mcp\/up", scope="mcp"$/);
    const metadata = (await (await fetch(/resource_metadata="([^"]+)"/.exec(challenge)?.[1] ?? "")).json()) as {
      resource: string;
      authorization_servers: string[];
    };
    expect(metadata.resource).toBe(url());
    const server = (await (await fetch(`${metadata.authorization_servers[0]}/.well-known/oauth-authorization-server`)).json()) as {
      issuer: string;
    };
    expect(server.issuer).toBe(metadata.authorization_servers[0]);
  });

  test.each([
    ["for another route", { aud: "http://127.0.0.1:1/mcp/up" }],
    ["for this route and another", () => ({ aud: [url(), "https://other.example"] })],
    ["that has expired", { iat: 1_700_000_000, exp: 1_700_000_300 }],
    ["without an end", { exp: undefined }],
    ["of another issuer", { iss: "https://evil.example" }],
    ["that lives too long", () => ({ exp: Math.floor(Date.now() / 1000) + 90_000 })],
  ])("a token %s: 401 invalid_token", async (_, change) => {
    const answer = await call(await forged(typeof change === "function" ? change() : change));
    expect(answer.status).toBe(401);
    expect(answer.headers.get("www-authenticate")).toContain('error="invalid_token"');
  });

  test("a token of ours as it should be passes, an ID token does not", async () => {
    expect((await call(await forged({}))).status).toBe(200);
    expect((await call(await forged({}, "JWT"))).status).toBe(401);
  });

  test("an agent that is not registered is told so, without a login loop", async () => {
    const answer = await call(await forged({ sub: "agt_unknown", client_id: "agt_unknown" }));
    expect(answer.status).toBe(200);
    expect(((await answer.json()) as Answer).error).toMatchObject({ code: 40313, data: { reason: "agent_unknown" } });
    const handshake = await modernRequest(url(), await forged({ sub: "agt_unknown", client_id: "agt_unknown" }), "server/discover");
    expect([handshake.status, handshake.headers.get("www-authenticate")]).toEqual([403, null]);
  });

  test("an unknown server and one where nothing is permitted look alike, before and after authentication", async () => {
    const gateway = gatewayOf("jsonrpc");
    const mask = (text: string, name: string) => text.replaceAll(name, "NAME").replace(/call_[a-z0-9]+/g, "CALL");
    const see = async (name: string, withToken: boolean) => {
      const accessToken = withToken ? await forged({ aud: `${gateway.publicUrl}/mcp/${name}` }) : null;
      const answer = await call(accessToken, `${gateway.publicUrl}/mcp/${name}`);
      return [answer.status, mask(answer.headers.get("www-authenticate") ?? "", name), mask(await answer.text(), name)];
    };
    expect(await see("secret-server", false)).toEqual(await see("no-such-server", false));
    expect(await see("secret-server", true)).toEqual(await see("no-such-server", true));
    expect((await see("no-such-server", true))[0]).toBe(404);
  });
});

describe("malformed requests reach nobody", () => {
  const post = async (body: string | Buffer, headers: Record<string, string> = {}) => {
    const answer = await fetch(`${gatewayOf("jsonrpc").publicUrl}/mcp/up`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${await tokenFor("jsonrpc", "up")}`,
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        ...headers,
      },
      body,
    });
    return { status: answer.status, body: await answer.text() };
  };
  const call = '{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"echo","arguments":{"text":"marker-malformed"}}}';

  test.each<[string, string | Buffer, Record<string, string>, number, number | null]>([
    ["a duplicate member", call.replace('"name":"echo"', '"name":"echo","name":"delete_everything"'), {}, 400, -32700],
    ["a duplicate member by escape", call.replace('"name":"echo"', '"name":"echo","n\\u0061me":"delete_everything"'), {}, 400, -32700],
    ["a member that folds onto a known one", call.replace('"name":"echo"', '"name":"echo","Name":"delete_everything"'), {}, 400, -32600],
    ["a batch", `[${call}]`, {}, 400, -32600],
    ["a byte order mark", Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(call)]), {}, 400, -32700],
    ["text/plain", call, { "content-type": "text/plain" }, 415, null],
    ["a content coding", call, { "content-encoding": "gzip" }, 415, null],
    ["no event stream accepted", call, { accept: "application/json" }, 406, null],
    ["a foreign origin", call, { origin: "https://evil.example" }, 403, null],
    [
      "a modern header and a legacy body",
      call,
      { "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "echo" },
      400,
      -32602,
    ],
    ["an unknown revision", call, { "mcp-protocol-version": "2031-01-01" }, 400, -32600],
  ])("%s", async (_, body, headers, status, code) => {
    const answer = await post(body, headers);
    expect(answer.status).toBe(status);
    if (code !== null) expect(JSON.parse(answer.body)).toMatchObject({ error: { code } });
    expect(upstream.heard("marker-malformed")).toBe(false);
  });

  test("a header that disagrees with the body: 400 -32020 with the request's id", async () => {
    const body = JSON.parse(call) as { params: Record<string, unknown> };
    body.params._meta = { "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} };
    const answer = await post(JSON.stringify(body), {
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": "tools/call",
      "mcp-name": "add",
    });
    expect([answer.status, JSON.parse(answer.body)]).toMatchObject([400, { id: 9, error: { code: -32020 } }]);
  });

  test("an unknown method is 404 in 2026-07-28 and 200 before", async () => {
    const accessToken = await tokenFor("jsonrpc", "up");
    const url = `${gatewayOf("jsonrpc").publicUrl}/mcp/up`;
    const [modern, legacy] = await Promise.all([
      modernRequest(url, accessToken, "vendor/secret"),
      legacyRequest(url, accessToken, "vendor/secret"),
    ]);
    expect([modern.status, ((await modern.json()) as Answer).error?.code]).toEqual([404, -32601]);
    expect([legacy.status, ((await legacy.json()) as Answer).error?.code]).toEqual([200, -32601]);
  });
});

test("a resource under another spelling is no way around a policy", async () => {
  const gateway = gatewayOf("jsonrpc");
  const accessToken = await tokenFor("jsonrpc", "up");
  const before = upstream.received.length;
  for (const uri of ["fixture://docs/../secret", "fixture://docs/%2e%2e/secret", "FIXTURE://docs/a", "file:/etc/passwd"]) {
    const answer = await modernRequest(`${gateway.publicUrl}/mcp/up`, accessToken, "resources/read", { uri });
    expect(((await answer.json()) as Answer).error?.code, uri).toBe(-32602);
  }
  expect(upstream.received.slice(before).filter(({ body }) => body.includes("resources/read"))).toEqual([]);
});
