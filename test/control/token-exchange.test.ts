/** RFC 8693 and RFC 7523 at the token endpoint: what is given, what is refused and how, and what ends with what. */
import { randomUUID } from "node:crypto";
import { type CryptoKey, decodeJwt, exportJWK, generateKeyPair, SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ServerName } from "../../src/ids.ts";
import { basic, createAgent, issued, type Plane, startPlane } from "./plane.ts";
import { proveIdentity } from "./prove-identity.ts";

const USERS = "https://users.example";
const OTHERS = "https://others.example";
const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const TYPE = "urn:ietf:params:oauth:token-type:";
const ACCESS_TOKEN = `${TYPE}access_token`;

type Made = { id: string; secret: string };
type Answer = { access_token: string; error?: string; scope: string; expires_in: number; issued_token_type?: string };

let plane: Plane;
let key: CryptoKey;
let first: Made;
let second: Made;

beforeAll(async () => {
  const pair = await generateKeyPair("ES256");
  key = pair.privateKey;
  const jwks = [{ ...(await exportJWK(pair.publicKey)), kid: "k" }];
  const external = (issuer: string, audience: string | null = null) =>
    ({ issuer, kind: "external", audience, agentClaim: ["azp"], jwks: { kind: "local", keys: () => jwks } }) as const;
  plane = await startPlane({
    scopes: ["read", "write"],
    issuers: [external(USERS), external(OTHERS), external("https://platform.example", "tollgate")],
  });
  [first, second] = [await createAgent(plane.registry, "first"), await createAgent(plane.registry, "second")];
});
afterAll(() => plane?.close());

const sign = (claims: object, { iss = USERS, typ = "at+jwt", seconds = 300 }: { iss?: string; typ?: string; seconds?: number } = {}) => {
  const iat = Math.floor(Date.now() / 1000);
  return new SignJWT({
    sub: "ann",
    azp: "an-app",
    aud: `${plane.publicUrl}/mcp`,
    scope: "mcp read write",
    jti: randomUUID(),
    iat,
    exp: iat + seconds,
    iss,
    ...claims,
  })
    .setProtectedHeader({ alg: "ES256", kid: "k", ...(typ === "" ? {} : { typ }) })
    .sign(key);
};

async function exchange(subject: string, by: Made | null, more: Record<string, string> = {}): Promise<Answer & { status: number }> {
  const parameters = { grant_type: EXCHANGE, subject_token: subject, subject_token_type: ACCESS_TOKEN, ...more };
  const answer = await plane.token(parameters, by === null ? undefined : basic(by.id, by.secret));
  return { status: answer.status, ...((await answer.json()) as Answer) };
}

const own = async (by: Made, scope = "read write", route = "") => {
  const answer = await plane.token(
    { grant_type: "client_credentials", scope, resource: `${plane.publicUrl}/mcp${route}` },
    basic(by.id, by.secret),
  );
  return ((await answer.json()) as Answer).access_token;
};

const enters = async (token: string) => {
  const audience = String(decodeJwt(token).aud).split("/mcp/")[1] ?? "";
  return await plane.authenticator.authenticate(`Bearer ${token}`, audience as ServerName, Date.now());
};

describe("a delegated token", () => {
  test("names the user, and the agent as the actor; it is an access token for one route, and the caller it makes is both", async () => {
    const made = await exchange(await sign({}), first, { resource: `${plane.publicUrl}/mcp/tickets` });
    expect(made).toMatchObject({ status: 200, issued_token_type: ACCESS_TOKEN, token_type: "Bearer", scope: "mcp read write" });
    expect(decodeJwt(made.access_token)).toMatchObject({
      ...{ sub: "ann", act: { sub: first.id }, client_id: first.id, subject_issuer: USERS, aud: `${plane.publicUrl}/mcp/tickets` },
    });
    expect(await enters(made.access_token)).toMatchObject({ subject: "ann", actors: [first.id], profile: { name: "first" } });
    expect(plane.acts.at(-1)).toMatchObject({ kind: "token.issued", details: { grant: EXCHANGE, actors: 1 } });
    expect(JSON.stringify(plane.acts)).not.toContain("ann");
  });

  test("of two users of one name at two issuers makes two callers", async () => {
    const callers = await Promise.all(
      [USERS, OTHERS].map(async (iss) => enters((await exchange(await sign({}, { iss }), first)).access_token)),
    );
    const [a, b] = callers as unknown as [{ principal: string; person: string }, { principal: string; person: string }];
    expect(a.principal).not.toBe(b.principal);
    expect(a.person).not.toBe(b.person);
  });

  test("nests who acted before, outermost first, to four; who narrows its own stands there once", async () => {
    const agents = [first, second, ...(await Promise.all(["third", "fourth", "fifth"].map((name) => createAgent(plane.registry, name))))];
    let token = await sign({});
    for (const [index, agent] of agents.entries()) {
      const made = await exchange(token, agent);
      if (index === 4) {
        expect([made.status, made.error]).toEqual([400, "invalid_request"]);
        break;
      }
      token = made.access_token;
    }
    expect(decodeJwt(token).act).toEqual({
      sub: agents[3]?.id,
      act: { sub: agents[2]?.id, act: { sub: second.id, act: { sub: first.id } } },
    });
    const narrowed = await exchange((await exchange(await sign({}), first)).access_token, first, { scope: "read" });
    expect(decodeJwt(narrowed.access_token)).toMatchObject({ act: { sub: first.id }, scope: "mcp read", subject_issuer: USERS });
    expect((decodeJwt(narrowed.access_token).act as { act?: unknown }).act).toBeUndefined();
  });

  test("of an agent's own plain token: another agent acts for it, and the agent itself only gets less", async () => {
    const token = await own(first);
    expect(decodeJwt((await exchange(token, second)).access_token)).toMatchObject({
      sub: first.id,
      act: { sub: second.id },
      client_id: second.id,
    });
    const less = decodeJwt((await exchange(token, first, { scope: "read" })).access_token);
    expect(less).toMatchObject({ sub: first.id, client_id: first.id, scope: "mcp read" });
    expect(less.act).toBeUndefined();
  });

  test("by an actor token instead of a client; with both they must be one", async () => {
    const actor = { actor_token: await own(first, "read"), actor_token_type: ACCESS_TOKEN };
    const made = await exchange(await sign({}), null, actor);
    expect([made.status, made.scope]).toEqual([200, "mcp read"]);
    expect(decodeJwt(made.access_token).act).toEqual({ sub: first.id });
    expect((await exchange(await sign({}), first, actor)).status).toBe(200);
    expect(await exchange(await sign({}), second, actor)).toMatchObject({ status: 400, error: "invalid_request" });
    expect(await exchange(await sign({}), null)).toMatchObject({ status: 401, error: "invalid_client" });
  });

  test("by an actor token alone is for the route of that token, and no other", async () => {
    const token = await own(first, "read", "/tickets");
    const actor = { actor_token: token, actor_token_type: ACCESS_TOKEN };
    const to = (route: string) => ({ ...actor, resource: `${plane.publicUrl}/mcp/${route}` });
    expect((await exchange(token, null, to("tickets"))).status).toBe(200);
    expect(await exchange(token, null, to("crm"))).toMatchObject({ status: 400, error: "invalid_target" });
    expect((await exchange(token, first, to("crm"))).status).toBe(200);
  });

  test("ends with the first of what it was made from", async () => {
    const subject = await sign({}, { seconds: 60 });
    const made = await exchange(subject, first);
    expect(Number(decodeJwt(made.access_token).exp)).toBeLessThanOrEqual(Number(decodeJwt(subject).exp));
  });

  test.each<[string, object, boolean]>([
    ["the agent by id", { sub: "ID" }, true],
    ["the agent by name", { sub: "first" }, true],
    ["another agent", { sub: "second" }, false],
    ["an agent of another issuer", { sub: "first", iss: OTHERS }, false],
    ["nobody", {}, false],
    ["the agent under a condition that nobody knows", { sub: "first", at: "night" }, false],
  ])("is made where may_act names %s: %j", async (_, may, allowed) => {
    const may_act = JSON.parse(JSON.stringify(may).replace('"ID"', JSON.stringify(first.id)));
    expect((await exchange(await sign({ may_act }), first)).status).toBe(allowed ? 200 : 400);
  });

  test("ends at the next call when its parent is revoked, ours or another issuer's, or its parent's agent is suspended", async () => {
    const jti = randomUUID();
    const external = (await exchange(await sign({ jti }), first)).access_token;
    expect(await enters(external)).toMatchObject({ subject: "ann" });
    await plane.registry.revokeToken(USERS, jti, Date.now() + 60_000, "test");
    expect(await enters(external)).toMatchObject({ refused: "credential_invalid" });
    expect((await exchange(await sign({ jti }), first)).status).toBe(400);

    const parent = await own(first);
    const child = (await exchange(parent, second)).access_token;
    const asked = await fetch(`${plane.publicUrl}/oauth/revoke`, {
      method: "POST",
      headers: { authorization: basic(first.id, first.secret) },
      body: new URLSearchParams({ token: parent }),
    });
    expect(asked.status).toBe(200);
    for (const token of [parent, child]) expect(await enters(token)).toMatchObject({ refused: "credential_invalid" });

    const other = await createAgent(plane.registry, "stopped-parent");
    const held = (await exchange(await own(other), second)).access_token;
    await plane.registry.changeState(other.id, "suspend", null, "test");
    expect(await enters(held)).toMatchObject({ refused: "credential_invalid" });
  });

  test("ends when the agent is suspended that another issuer's token named, and with the actor's token of another issuer", async () => {
    const named = await createAgent(plane.registry, "named-elsewhere");
    const held = (await exchange(await sign({ azp: "named-elsewhere" }), second)).access_token;
    expect(await enters(held)).toMatchObject({ profile: { name: "second" } });
    await plane.registry.changeState(named.id, "suspend", null, "test");
    expect(await enters(held)).toMatchObject({ refused: "credential_invalid" });

    const jti = randomUUID();
    const actor = { actor_token: await sign({ azp: "second", jti }), actor_token_type: ACCESS_TOKEN };
    const acted = (await exchange(await sign({}), second, actor)).access_token;
    expect(await enters(acted)).toMatchObject({ subject: "ann" });
    await plane.registry.revokeToken(USERS, jti, Date.now() + 60_000, "test");
    expect(await enters(acted)).toMatchObject({ refused: "credential_invalid" });
  });
});

describe("refused", () => {
  test.each<[string, () => Promise<Record<string, string>>, string]>([
    ["an expired subject", async () => ({ subject_token: await sign({ iat: 1_600_000_000, exp: 1_600_000_300 }) }), "invalid_request"],
    [
      "a subject for another resource",
      async () => ({ subject_token: await sign({ aud: "https://elsewhere.example" }) }),
      "invalid_request",
    ],
    ["a subject of a stranger", async () => ({ subject_token: await sign({}, { iss: "https://stranger.example" }) }), "invalid_request"],
    ["a subject that is an ID token", async () => ({ subject_token: await sign({}, { typ: "JWT" }) }), "invalid_request"],
    ["garbage", async () => ({ subject_token: "garbage" }), "invalid_request"],
    ["no subject", async () => ({ subject_token: "" }), "invalid_request"],
    ["the type of an ID token", async () => ({ subject_token_type: `${TYPE}id_token` }), "invalid_request"],
    ["the type of a refresh token", async () => ({ subject_token_type: `${TYPE}refresh_token` }), "invalid_request"],
    ["a wish for a refresh token", async () => ({ requested_token_type: `${TYPE}refresh_token` }), "invalid_request"],
    ["a wish for an ID token", async () => ({ requested_token_type: `${TYPE}id_token` }), "invalid_request"],
    ["an actor without a type", async () => ({ actor_token: await own(first) }), "invalid_request"],
    ["another gateway's resource", async () => ({ resource: "https://elsewhere.example/mcp" }), "invalid_target"],
    [
      "a resource and another audience",
      async () => ({ resource: `${plane.publicUrl}/mcp`, audience: `${plane.publicUrl}/mcp/crm` }),
      "invalid_target",
    ],
    ["a scope beyond the subject's", async () => ({ subject_token: await sign({ scope: "mcp read" }), scope: "write" }), "invalid_scope"],
    [
      "a scope beyond the entitlements",
      async () => ({ subject_token: await sign({ scope: "mcp admin" }), scope: "admin" }),
      "invalid_scope",
    ],
  ])("%s", async (_, change, error) => {
    const { subject_token = await sign({}), ...more } = await change();
    const answer = await exchange(subject_token, first, more);
    expect([answer.status, answer.error]).toEqual([400, error]);
    expect(answer.access_token).toBeUndefined();
  });

  test("two resources, and one parameter twice", async () => {
    const twice = async (name: string, values: readonly string[]) => {
      const pairs: [string, string][] = [
        ["grant_type", EXCHANGE],
        ["subject_token", await sign({})],
        ["subject_token_type", ACCESS_TOKEN],
      ];
      const answer = await plane.token(
        [...pairs, ...values.map((value): [string, string] => [name, value])],
        basic(first.id, first.secret),
      );
      return [answer.status, ((await answer.json()) as Answer).error];
    };
    expect(
      await twice(
        "resource",
        ["/mcp", "/mcp/crm"].map((path) => `${plane.publicUrl}${path}`),
      ),
    ).toEqual([400, "invalid_target"]);
    expect(await twice("scope", ["read", "write"])).toEqual([400, "invalid_request"]);
  });
});

describe("a platform's token (RFC 7523)", () => {
  const redeem = async (claims: object, more: Record<string, string> = {}, by?: Made) => {
    const assertion = await sign(
      { aud: "tollgate", azp: "first", scope: undefined, ...claims },
      { iss: "https://platform.example", typ: "" },
    );
    const answer = await plane.token({ grant_type: BEARER, assertion, ...more }, by && basic(by.id, by.secret));
    return { status: answer.status, ...((await answer.json()) as Answer) };
  };

  test("is all that a workload needs", async () => {
    const made = await redeem({}, { scope: "read", instance: "copy-7" });
    expect([made.status, made.scope]).toEqual([200, "mcp read"]);
    expect(decodeJwt(made.access_token)).toMatchObject({ sub: first.id, client_id: first.id, instance: "copy-7" });
    expect(await enters(made.access_token)).toMatchObject({ instance: "copy-7", profile: { name: "first" } });
  });

  test("is a bound where it states scopes, and of its own agent alone", async () => {
    expect(await redeem({ scope: "read" }, { scope: "write" })).toMatchObject({ status: 400, error: "invalid_scope" });
    expect((await redeem({}, {}, first)).status).toBe(200);
    expect(await redeem({}, {}, second)).toMatchObject({ status: 400, error: "invalid_grant" });
  });

  test.each<[string, object]>([
    ["an agent that nobody registered", { azp: "nobody" }],
    ["another audience", { aud: "elsewhere" }],
    ["an ID token", { nonce: "n" }],
    ["no expiry", { exp: undefined }],
  ])("is refused: %s", async (_, claims) => {
    expect(await redeem(claims)).toMatchObject({ status: 400, error: "invalid_grant" });
  });

  test("a token of this server is none: it would renew itself", async () => {
    const answer = await plane.token({ grant_type: BEARER, assertion: await own(first) });
    expect([answer.status, ((await answer.json()) as Answer).error]).toEqual([400, "invalid_grant"]);
  });
});

describe("what a client asks of tokens", () => {
  const ask = (path: string, by: Made | null, token: string) =>
    fetch(`${plane.publicUrl}/oauth/${path}`, {
      method: "POST",
      headers: by === null ? {} : { authorization: basic(by.id, by.secret) },
      body: new URLSearchParams({ token }),
    });

  test("its own is told, with what it says; another's, a forged, a revoked and an opaque one are all the same no", async () => {
    const token = await own(first, "read", "/crm");
    const told = (await (await ask("introspect", first, token)).json()) as Record<string, unknown>;
    expect(told).toMatchObject({
      active: true,
      client_id: first.id,
      aud: `${plane.publicUrl}/mcp/crm`,
      scope: "mcp read",
      token_type: "Bearer",
    });
    const revoked = await own(first);
    await ask("revoke", first, revoked);
    const others = await Promise.all(
      [token.slice(0, -4), revoked, "garbage", "a.b.c"].map(async (text) => (await ask("introspect", first, text)).text()),
    );
    others.push(await (await ask("introspect", second, token)).text());
    expect(new Set(others)).toEqual(new Set(['{"active":false}']));
  });

  test("another's is not ended, and nobody learns; without a client nothing is told", async () => {
    const token = await own(first);
    expect((await ask("revoke", second, token)).status).toBe(200);
    expect(await enters(token)).toMatchObject({ profile: { name: "first" } });
    for (const path of ["introspect", "revoke"]) expect((await ask(path, null, token)).status).toBeGreaterThanOrEqual(400);
    expect((await ask("introspect", { id: first.id, secret: "wrong" }, token)).status).toBe(401);
  });
});

describe("credentials side by side", () => {
  test("a secret and a key both count while they overlap; the use of the old one is recorded; a token knows by which it was obtained", async () => {
    const agent = await createAgent(plane.registry, "mixed");
    const old = plane.registry.credentialsOf(agent.id)[0]?.id;
    const pair = await generateKeyPair("ES256");
    const jwks = { keys: [{ ...(await exportJWK(pair.publicKey)), kid: "new" }] };
    const { credentialId } = issued(await plane.registry.issueCredential(agent.id, { kind: "jwks", jwks }, { overlapMs: 600_000 }, "test"));
    const byKey = async () => {
      const assertion = await new SignJWT({ jti: randomUUID() })
        .setProtectedHeader({ alg: "ES256", kid: "new" })
        .setIssuer(agent.id)
        .setSubject(agent.id)
        .setAudience(plane.publicUrl)
        .setIssuedAt()
        .setExpirationTime("1m")
        .sign(pair.privateKey);
      const client_assertion_type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
      const answer = await plane.token({ grant_type: "client_credentials", client_assertion: assertion, client_assertion_type });
      return ((await answer.json()) as Answer).access_token;
    };
    const credentialOf = async (token: string) => (await plane.registry.findToken(String(decodeJwt(token).jti)))?.credential_id;
    const [bySecret, signed] = [await own(agent), await byKey()];
    expect([await credentialOf(bySecret), await credentialOf(signed)]).toEqual([old, credentialId]);
    expect(plane.acts).toContainEqual(expect.objectContaining({ kind: "credential.overlap_used" }));
    await plane.registry.revokeCredential(agent.id, old ?? "", "leaked", "test");
    expect(await own(agent)).toBeUndefined();
    expect(await enters(bySecret)).toMatchObject({ refused: "credential_invalid" });
    expect(await enters(signed)).toMatchObject({ profile: { name: "mixed" } });
  });

  test("a credential's own scopes bound what it obtains", async () => {
    const agent = await createAgent(plane.registry, "bounded");
    const { secret } = issued(
      await plane.registry.issueCredential(agent.id, { kind: "secret", scopes: ["read"] }, { overlapMs: 0 }, "test"),
    );
    const asked = (scope: string) => plane.token({ grant_type: "client_credentials", scope }, basic(agent.id, secret ?? ""));
    expect((await asked("read")).status).toBe(200);
    expect((await asked("write")).status).toBe(400);
  });
});

test("random tokens never give more than they are, and of many at once one wins: npm run prove:identity", async () => {
  expect(await proveIdentity({ seed: 7, triples: 2_000, http: 20, at: 50 })).toMatchObject({ violations: [] });
});

test("nothing of all this was a fault of the server", () => {
  expect(plane.faults).toEqual([]);
});
