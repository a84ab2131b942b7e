import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, type JSONWebKeySet, jwtVerify } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { basic, createAgent, type Plane, startPlane } from "./plane.ts";

type TokenAnswer = { access_token: string; token_type: string; expires_in: number; scope: string };

let plane: Plane;
let agent: { id: string; secret: string };

beforeAll(async () => {
  plane = await startPlane({ scopes: ["tickets.read", "tickets.write"], accessTokenTtlMs: 300_000 });
  agent = await createAgent(plane.registry, "bot");
});
afterAll(() => plane?.close());

const route = (name: string) => `${plane.publicUrl}/mcp/${name}`;
const grant = (more: Record<string, string> = {}) => ({ grant_type: "client_credentials", resource: route("tickets"), ...more });

async function accessToken(more: Record<string, string> = {}): Promise<TokenAnswer> {
  const answer = await plane.token(grant(more), basic(agent.id, agent.secret));
  expect(answer.status).toBe(200);
  return (await answer.json()) as TokenAnswer;
}

describe("an access token", () => {
  test("is obtained with the secret in the Basic header or in the body", async () => {
    const byHeader = await plane.token(grant(), basic(agent.id, agent.secret));
    const byBody = await plane.token(grant({ client_id: agent.id, client_secret: agent.secret }));
    expect([byHeader.status, byBody.status]).toEqual([200, 200]);
  });

  test("is a Bearer token of RFC 6749 section 5.1 that no cache keeps", async () => {
    const answer = await plane.token(grant(), basic(agent.id, agent.secret));
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(await answer.json()).toMatchObject({ token_type: "Bearer", expires_in: 300, scope: "mcp" });
  });

  test("has the header and the claims of RFC 9068 and nothing of the agent's secret", async () => {
    const { access_token } = await accessToken();
    expect(decodeProtectedHeader(access_token)).toMatchObject({ typ: "at+jwt", alg: "ES256", kid: plane.signingKey.kid });
    const claims = decodeJwt(access_token);
    expect(claims).toMatchObject({
      iss: plane.publicUrl,
      aud: route("tickets"),
      sub: agent.id,
      client_id: agent.id,
      scope: "mcp",
      jti: expect.stringMatching(/^.{16,}$/),
    });
    expect((claims.exp ?? 0) - (claims.iat ?? 0)).toBe(300);
    expect(Math.abs((claims.iat ?? 0) - Date.now() / 1000)).toBeLessThan(30);
  });

  test("verifies with the published keys, which hold no private member", async () => {
    const jwks = (await (await fetch(`${plane.publicUrl}/oauth/jwks`)).json()) as JSONWebKeySet;
    const { access_token } = await accessToken();
    await jwtVerify(access_token, createLocalJWKSet(jwks), { issuer: plane.publicUrl, audience: route("tickets"), typ: "at+jwt" });
    expect(Object.keys(jwks.keys[0] ?? {}).sort()).toEqual(["alg", "crv", "kid", "kty", "use", "x", "y"]);
  });

  test("has an identity of its own each time", async () => {
    const [one, two] = await Promise.all([accessToken(), accessToken()]);
    expect(decodeJwt(one.access_token).jti).not.toBe(decodeJwt(two.access_token).jti);
  });

  test("is recorded before it leaves, with its id and without its text", async () => {
    const { access_token } = await accessToken();
    const { jti } = decodeJwt(access_token);
    const act = plane.acts.find(({ details }) => details.tokenId === jti);
    expect(act).toMatchObject({
      kind: "token.issued",
      by: "agent",
      details: { agentId: agent.id, audience: route("tickets"), scope: "mcp" },
    });
    expect(JSON.stringify(plane.acts)).not.toContain(access_token);
  });

  test("is not handed out when it cannot be recorded", async () => {
    plane.world.auditFault = new Error("the journal cannot write");
    const answer = await plane.token(grant(), basic(agent.id, agent.secret));
    plane.world.auditFault = null;
    expect(answer.status).toBe(503);
    expect(answer.headers.get("retry-after")).toBe("1");
    expect(await answer.json()).toEqual({ error: "temporarily_unavailable", error_description: expect.any(String) });
  });
});

describe("the resource parameter (RFC 8707)", () => {
  test("without one the token is for /mcp", async () => {
    const answer = await plane.token({ grant_type: "client_credentials" }, basic(agent.id, agent.secret));
    const { access_token } = (await answer.json()) as TokenAnswer;
    expect(decodeJwt(access_token).aud).toBe(`${plane.publicUrl}/mcp`);
  });

  test.each([
    ["of another host", () => "https://elsewhere.example/mcp/tickets"],
    ["that only begins like ours", () => `${plane.publicUrl}.evil.example/mcp/tickets`],
    ["outside /mcp", () => `${plane.publicUrl}/oauth/token`],
    ["with a deeper path", () => `${route("tickets")}/more`],
    ["with a trailing slash", () => `${route("tickets")}/`],
    ["with a query", () => `${route("tickets")}?a=1`],
    ["with a fragment", () => `${route("tickets")}#a`],
    ["in upper case", () => `${plane.publicUrl}/mcp/TICKETS`],
    ["with a newline behind it", () => `${route("tickets")}\n`],
    ["that is no URL", () => "tickets"],
  ])("a resource %s is refused", async (_, resource) => {
    const answer = await plane.token({ grant_type: "client_credentials", resource: resource() }, basic(agent.id, agent.secret));
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ error: "invalid_target" });
  });

  test("two resources are refused: a token is for one route", async () => {
    const parameters: [string, string][] = [
      ["grant_type", "client_credentials"],
      ["resource", route("tickets")],
      ["resource", route("crm")],
    ];
    const answer = await plane.token(parameters, basic(agent.id, agent.secret));
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ error: "invalid_target" });
  });
});

describe("the scope parameter", () => {
  test("what a permit of the agent requires is issued, with mcp", async () => {
    const { access_token, scope } = await accessToken({ scope: "tickets.read" });
    expect(scope.split(" ").sort()).toEqual(["mcp", "tickets.read"]);
    expect(decodeJwt(access_token).scope).toBe(scope);
  });

  test.each(["constructor", "__proto__", "toString", "hasOwnProperty"])("the grant type %s is none", async (grant_type) => {
    const answer = await plane.token({ grant_type }, basic(agent.id, agent.secret));
    expect([answer.status, ((await answer.json()) as { error: string }).error]).toEqual([400, "unsupported_grant_type"]);
    const unproved = await plane.token({ grant_type });
    expect(unproved.status).toBeGreaterThanOrEqual(400);
    expect(unproved.status).toBeLessThan(500);
  });

  test.each(["admin", "tickets.read admin", "openid", "offline_access", "*", "TICKETS.READ"])("the scope %j is refused", async (scope) => {
    const answer = await plane.token(grant({ scope }), basic(agent.id, agent.secret));
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ error: "invalid_scope" });
  });
});
