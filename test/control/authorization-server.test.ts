import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { basic, createAgent, type Plane, startPlane } from "./plane.ts";

let plane: Plane;
let agent: { id: string; secret: string };

beforeAll(async () => {
  plane = await startPlane();
  agent = await createAgent(plane.registry, "bot");
});
afterAll(() => plane?.close());

const read = (path: string, init: RequestInit = {}) => fetch(`${plane.publicUrl}${path}`, init);

describe("discovery", () => {
  test.each(["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"])(
    "%s is the metadata of RFC 8414",
    async (path) => {
      const answer = await read(path);
      expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "application/json"]);
      expect(await answer.json()).toMatchObject({
        issuer: plane.publicUrl,
        token_endpoint: `${plane.publicUrl}/oauth/token`,
        jwks_uri: `${plane.publicUrl}/oauth/jwks`,
        grant_types_supported: [
          "client_credentials",
          "urn:ietf:params:oauth:grant-type:jwt-bearer",
          "urn:ietf:params:oauth:grant-type:token-exchange",
        ],
        introspection_endpoint: `${plane.publicUrl}/oauth/introspect`,
        revocation_endpoint: `${plane.publicUrl}/oauth/revoke`,
        response_types_supported: [],
        token_endpoint_auth_methods_supported: ["client_secret_basic", "client_secret_post", "private_key_jwt"],
        token_endpoint_auth_signing_alg_values_supported: ["RS256", "PS256", "ES256", "Ed25519"],
      });
    },
  );

  test.each([
    ["/.well-known/oauth-protected-resource", "/mcp"],
    ["/.well-known/oauth-protected-resource/mcp", "/mcp"],
    ["/.well-known/oauth-protected-resource/mcp/tickets", "/mcp/tickets"],
  ])("%s is the metadata of RFC 9728", async (path, resource) => {
    const answer = await read(path);
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({
      resource: `${plane.publicUrl}${resource}`,
      authorization_servers: [plane.publicUrl],
      scopes_supported: ["mcp"],
      bearer_methods_supported: ["header"],
    });
  });

  test("the metadata does not tell which servers there are", async () => {
    const known = await (await read("/.well-known/oauth-protected-resource/mcp/tickets")).text();
    const unknown = await (await read("/.well-known/oauth-protected-resource/mcp/nothing")).text();
    expect(unknown.replaceAll("nothing", "tickets")).toBe(known);
  });

  test("the issuer is the configured URL, whatever the forwarded headers say", async () => {
    const headers = { "x-forwarded-host": "evil.example", "x-forwarded-proto": "https", forwarded: "host=evil.example" };
    const text = await (await read("/.well-known/oauth-authorization-server", { headers })).text();
    expect(text).not.toContain("evil.example");
    const answer = await read("/oauth/token", {
      method: "POST",
      headers: { ...headers, authorization: basic(agent.id, agent.secret) },
      body: new URLSearchParams({ grant_type: "client_credentials" }),
    });
    const { access_token } = (await answer.json()) as { access_token: string };
    expect(Buffer.from(access_token.split(".")[1] ?? "", "base64url").toString()).not.toContain("evil.example");
  });

  test("HEAD is GET without a body, and nothing else works on a document", async () => {
    const head = await read("/oauth/jwks", { method: "HEAD" });
    expect([head.status, await head.text()]).toEqual([200, ""]);
    const post = await read("/oauth/jwks", { method: "POST" });
    expect([post.status, post.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
  });
});

describe("the token endpoint", () => {
  test.each([
    "authorization_code",
    "refresh_token",
    "implicit",
    "password",
    "urn:ietf:params:oauth:grant-type:token-exchange",
    "urn:ietf:params:oauth:grant-type:device_code",
    "urn:ietf:params:oauth:grant-type:jwt-bearer",
    "CLIENT_CREDENTIALS",
    "__proto__",
  ])("refuses the grant %s", async (grantType) => {
    const parameters = {
      grant_type: grantType,
      code: "x",
      refresh_token: "x",
      username: "x",
      password: "hunter2",
      redirect_uri: "https://a.example",
    };
    const answer = await plane.token(parameters, basic(agent.id, agent.secret));
    const text = await answer.text();
    expect(answer.status, text).toBe(400);
    expect(["unsupported_grant_type", "unauthorized_client", "invalid_request"]).toContain(JSON.parse(text).error);
    expect(text).not.toContain("hunter2");
  });

  test("refuses a request without a grant, and one with the same parameter twice", async () => {
    const without = await plane.token({ resource: `${plane.publicUrl}/mcp` }, basic(agent.id, agent.secret));
    expect([without.status, await without.json()]).toMatchObject([400, { error: "invalid_request" }]);
    const twice: [string, string][] = [
      ["grant_type", "client_credentials"],
      ["grant_type", "client_credentials"],
    ];
    const doubled = await plane.token(twice, basic(agent.id, agent.secret));
    expect([doubled.status, await doubled.json()]).toMatchObject([400, { error: "invalid_request" }]);
  });

  test("reads forms only", async () => {
    const answer = await read("/oauth/token", {
      method: "POST",
      headers: { "content-type": "application/json", authorization: basic(agent.id, agent.secret) },
      body: JSON.stringify({ grant_type: "client_credentials" }),
    });
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ error: "invalid_request" });
  });

  test("answers 405 to everything but POST", async () => {
    const answer = await read("/oauth/token");
    expect([answer.status, answer.headers.get("allow")]).toEqual([405, "POST"]);
  });

  test.each([
    ["declared", () => "a".repeat(70_000)],
    ["in chunks", () => new Blob(["a".repeat(200_000)]).stream()],
  ])("refuses a body that is too large, %s", async (_, body) => {
    const answer = await read("/oauth/token", {
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded" },
      body: body(),
      ...{ duplex: "half" },
    }).catch(() => null);
    // A server that stops reading may close the connection before its answer is read.
    if (answer !== null) expect([400, 413]).toContain(answer.status);
  });

  test("outlives a client that leaves in the middle of its body", async () => {
    const { hostname, port, host } = new URL(plane.publicUrl);
    const socket = connect(Number(port), hostname);
    await new Promise((resolve) => socket.once("connect", resolve));
    const head = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 500";
    socket.write(`POST /oauth/token HTTP/1.1\r\nHost: ${host}\r\n${head}\r\n\r\ngrant_`);
    await new Promise((resolve) => setTimeout(resolve, 50));
    socket.destroy();
    expect((await plane.token({ grant_type: "client_credentials" }, basic(agent.id, agent.secret))).status).toBe(200);
  });
});

test.each([
  "/oauth/authorize",
  "/oauth/register",
  "/oauth/device",
  "/oauth/session/end",
  "/oauth/me",
  "/oauth",
  "/oauth/token/",
  "/oauth/../oauth/token",
  "/oauth/authorize/abc",
])("%s does not exist", async (path) => {
  for (const method of ["GET", "POST"]) {
    const { hostname, port, host } = new URL(plane.publicUrl);
    const socket = connect(Number(port), hostname);
    socket.write(`${method} ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    expect(Buffer.concat(chunks).toString()).toMatch(/^HTTP\/1\.1 404 /);
  }
});

test("nothing of all this was a fault of the server", () => {
  expect(plane.faults).toEqual([]);
});
