/** Opaque tokens of another issuer (RFC 7662): believed for a short time, and never active by default (J28). */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createAuthenticator } from "../../src/call/authenticate/authenticate.ts";
import type { ServerName } from "../../src/ids.ts";
import { Secret } from "../../src/secret.ts";
import { BOT, directoryOf, expectAgent, type Host, host, noteOf, profile } from "./issuer.ts";

const SERVER = "tickets" as ServerName;
const ISSUER = "https://opaque.example";
const AUDIENCE = "api://tollgate";

let endpoint: Host;
let said: { status: number; body: unknown; type: string } = { status: 200, body: {}, type: "application/json" };
let posted: { authorization: string | undefined; body: string }[] = [];
let nowMs = Date.now();

beforeAll(async () => {
  endpoint = await host((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (bytes: Buffer) => chunks.push(bytes));
    request.on("end", () => {
      posted.push({ authorization: request.headers.authorization, body: Buffer.concat(chunks).toString() });
      const { status, body, type } = said;
      response.writeHead(status, { "content-type": type }).end(typeof body === "string" ? body : JSON.stringify(body));
    });
  });
});
afterAll(() => endpoint?.close());

const good = () => ({
  active: true,
  sub: "triage-bot",
  aud: AUDIENCE,
  client_id: "c",
  scope: "read write",
  exp: Math.floor(nowMs / 1000) + 600,
  jti: "t1",
});

beforeEach(() => {
  posted = [];
  nowMs = Date.now();
  said = { status: 200, body: good(), type: "application/json" };
});

function setUp(prefix: string | null = null) {
  const introspection = { url: endpoint.url, clientId: "tollgate:1", clientSecret: new Secret("canary secret"), prefix };
  const issuer = {
    issuer: ISSUER,
    kind: "external",
    audience: AUDIENCE,
    agentClaim: null,
    jwks: { kind: "local", keys: () => [] },
  } as const;
  const directory = { ...directoryOf(profile()), revoked: false };
  const { authenticate, verify } = createAuthenticator({
    publicUrl: "https://gw.example",
    issuers: [{ ...issuer, introspection }],
    directory: { ...directory, isRevoked: () => directory.revoked },
    fetch,
  });
  return { directory, verify, ask: async (text: string) => await authenticate(`Bearer ${text}`, SERVER, nowMs) };
}

test("an active token is its agent; the endpoint hears the gateway's own credential, and is asked once in 30 seconds however many calls come", async () => {
  const { ask } = setUp();
  const agents = await Promise.all(Array.from({ length: 20 }, () => ask("opaque-token-1")));
  expect(agents.map((agent) => expectAgent(agent).profile.id)).toEqual(agents.map(() => BOT));
  expect(expectAgent(await ask("opaque-token-1"))).toMatchObject({
    issuer: ISSUER,
    tokenId: "t1",
    clientId: "c",
    scopes: new Set(["read", "write"]),
  });
  expect(posted).toEqual([
    {
      authorization: `Basic ${Buffer.from("tollgate%3A1:canary%20secret").toString("base64")}`,
      body: "token=opaque-token-1&token_type_hint=access_token",
    },
  ]);
  nowMs += 31_000;
  said.body = { active: false };
  expect(noteOf(await ask("opaque-token-1"))).toMatch(/does not say that the token is active/);
  expect(posted).toHaveLength(2);
});

test("an ended token is not asked for again at every call", async () => {
  const { ask } = setUp();
  said.body = { active: false };
  for (let i = 0; i < 5; i++) expect(noteOf(await ask("ended"))).toMatch(/^credential_invalid/);
  expect(posted).toHaveLength(1);
});

describe("never active by default", () => {
  test.each<[string, () => unknown]>([
    ["active as a text", () => ({ ...good(), active: "true" })],
    ["active as a number", () => ({ ...good(), active: 1 })],
    ["no active at all", () => ({ ...good(), active: undefined })],
    ["no audience", () => ({ ...good(), aud: undefined })],
    ["another audience", () => ({ ...good(), aud: "api://other" })],
    ["two audiences", () => ({ ...good(), aud: [AUDIENCE, "api://other"] })],
    ["another issuer", () => ({ ...good(), iss: "https://evil.example" })],
    ["another kind of token", () => ({ ...good(), token_type: "DPoP" })],
    ["a refresh token", () => ({ ...good(), token_type: "refresh_token" })],
    ["an end in the past", () => ({ ...good(), exp: Math.floor(nowMs / 1000) - 60, iat: Math.floor(nowMs / 1000) - 120 })],
    ["an end that is no number", () => ({ ...good(), exp: "soon" })],
    ["a life of a year", () => ({ ...good(), iat: Math.floor(nowMs / 1000), exp: Math.floor(nowMs / 1000) + 31_536_000 })],
    ["no subject", () => ({ ...good(), sub: undefined })],
    ["bound to a key", () => ({ ...good(), cnf: { jkt: "x" } })],
    ["a list", () => [good()]],
    ["null", () => null],
  ])("%s is refused", async (_, body) => {
    said.body = body();
    expect(noteOf(await setUp().ask("opaque"))).toMatch(/^credential_invalid/);
  });

  test.each<[string, () => Partial<typeof said>]>([
    ["a fault of the endpoint", () => ({ status: 500 })],
    ["a refusal of the gateway itself", () => ({ status: 401 })],
    ["a page", () => ({ body: "<html>active: true</html>", type: "text/html" })],
    ["no JSON", () => ({ body: '{"active": true' })],
    ["a duplicate member", () => ({ body: '{"active": false, "active": true}' })],
    ["a megabyte", () => ({ body: { ...good(), pad: "x".repeat(1_000_000) } })],
  ])("%s is 503, and nobody is let in", async (_, change) => {
    said = { ...said, ...change() };
    const { ask } = setUp();
    expect(noteOf(await ask("opaque"))).toMatch(/^store_unavailable/);
    // The next call asks again: an outage is not remembered.
    said = { status: 200, body: good(), type: "application/json" };
    expect(expectAgent(await ask("opaque")).profile.id).toBe(BOT);
  });
});

test("a token without an end is believed for 30 seconds, and a revocation here counts at once", async () => {
  const { ask, directory } = setUp();
  said.body = { ...good(), exp: undefined };
  expectAgent(await ask("endless"));
  directory.revoked = true;
  expect(noteOf(await ask("endless"))).toMatch(/revoked/);
});

test("what is a JWT, or does not begin as the issuer's tokens do, is never sent there", async () => {
  expect(noteOf(await setUp("opq_").ask("other_123"))).toMatch(/^credential_invalid/);
  expect(noteOf(await setUp().ask("eyJhbGciOiJub25lIn0.e30."))).toMatch(/^credential_invalid/);
  expect(noteOf(await setUp().ask(`tg_live_${"x".repeat(43)}`))).toMatch(/^credential_invalid/);
  expect(posted).toEqual([]);
  expectAgent(await setUp("opq_").ask("opq_123"));
});
