import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CryptoKey, calculateJwkThumbprint, decodeJwt, exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";
import { host, sendJson } from "../authenticate/issuer.ts";
import { type AuthorizationServer, CLIENT_SECRET, RESOURCE, startAuthorizationServer } from "../exchange/authorization-server.ts";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { type Credentials, GatewayProcess, modernRequest, sleep } from "./gateway-process.ts";
import { administer } from "./shared-registry.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements: [{ name: support, who: { team: support }, permit: ["*/*"] }]
`;

type Answer = { result?: { content: { text: string }[] }; error?: { code: number; data: { reason: string } } };

let gateway: GatewayProcess;
let agent: Credentials;
/** One behind each kind of credential, so that what each heard is told apart. */
let exchanged: Upstream;
let plain: Upstream;
let central: AuthorizationServer;
let login: Awaited<ReturnType<typeof host>>;
let loginKey: CryptoKey;

beforeAll(async () => {
  central = await startAuthorizationServer({ accessTokenSeconds: 300, subjectKeys: () => `${gateway.publicUrl}/oauth/jwks` });
  exchanged = await startHttpUpstream({ requireBearer: isFromCentral });
  plain = await startHttpUpstream({ requireBearer: (accessToken) => accessToken === "canary-static-bearer" });
  const pair = await generateKeyPair("ES256");
  loginKey = pair.privateKey;
  const jwk = { ...(await exportJWK(pair.publicKey)), kid: "login-1", alg: "ES256", use: "sig" };
  login = await host((request, response, url) => {
    if (request.url === "/jwks") return sendJson(response, { keys: [jwk] });
    sendJson(response, { issuer: url, jwks_uri: `${url}/jwks`, token_endpoint: `${url}/token` });
  });
  const client = `issuer: "${central.issuer}", clientId: tollgate, clientSecret: env:CENTRAL_SECRET, resource: "${RESOURCE}", scopes: [tickets]`;
  gateway = await GatewayProcess.start({
    policies: POLICIES,
    more: `issuers: [{ issuer: "${login.url}", profile: generic, agent: claims.azp, unknownAgent: refuse }]`,
    servers: `  swaps: { url: "${exchanged.mcpUrl}", credential: { tokenExchange: { profile: rfc8693, ${client} } } }
  machine: { url: "${exchanged.mcpUrl}", credential: { clientCredentials: { ${client.replace(`, resource: "${RESOURCE}"`, "")}, resource: "${RESOURCE}" } } }
  bearer: { url: "${plain.mcpUrl}", credential: { bearer: env:STATIC_BEARER } }
  wrong: { url: "${plain.mcpUrl}", credential: { bearer: env:WRONG_BEARER } }`,
    env: { CENTRAL_SECRET: CLIENT_SECRET, STATIC_BEARER: "canary-static-bearer", WRONG_BEARER: "canary-wrong-bearer" },
  });
  agent = await gateway.createAgent("bot");
});

afterAll(async () => {
  await gateway?.stop();
  await Promise.all([exchanged?.close(), plain?.close(), central?.close(), login?.close()]);
});

/** Signatures are checked where a test looks at the claims; the door itself only tells the central server's tokens from others. */
function isFromCentral(accessToken: string): boolean {
  const [, payload = ""] = accessToken.split(".");
  return (JSON.parse(Buffer.from(payload, "base64url").toString()) as JWTPayload).iss === central.issuer;
}

async function echo(server: string, accessToken: string): Promise<{ status: number; body: Answer; headers: Headers }> {
  const answer = await modernRequest(`${gateway.publicUrl}/mcp/${server}`, accessToken, "tools/call", {
    name: "echo",
    arguments: { text: "x" },
  });
  return { status: answer.status, body: (await answer.json()) as Answer, headers: answer.headers };
}

function bearersHeardBy(upstream: Upstream): string[] {
  return [...new Set(upstream.received.map(({ headers }) => (headers.authorization ?? "").replace("Bearer ", "")))];
}

test("a token exchange gives the upstream a token of its own that names the agent; the agent's token goes nowhere", async () => {
  const accessToken = await gateway.accessToken(agent, "swaps");
  const before = central.asked.length;
  const answers = await Promise.all(Array.from({ length: 20 }, () => echo("swaps", accessToken)));
  expect(answers.map(({ body }) => body.result?.content[0]?.text)).toEqual(answers.map(() => expect.stringContaining("x")));
  // Single flight, then the cache.
  expect(central.asked.length - before).toBe(1);
  const heard = bearersHeardBy(exchanged);
  expect(heard).toHaveLength(1);
  const claims = await central.verify(heard[0] ?? "");
  expect(claims).toMatchObject({ iss: central.issuer, aud: RESOURCE, for: { iss: gateway.publicUrl, sub: agent.id, aud: central.issuer } });
  expect(exchanged.heard(accessToken)).toBe(false);
  expect(central.asked.some((asked) => Object.values(asked).includes(accessToken))).toBe(false);
  const { exp = 0, iat = 0 } = central.subjects.at(-1) ?? {};
  expect(exp - iat).toBeLessThanOrEqual(60);
});

test("client credentials give a token that all agents share", async () => {
  const other = await gateway.createAgent("second");
  const before = central.asked.length;
  for (const each of [agent, other]) expect((await echo("machine", await gateway.accessToken(each, "machine"))).body.result).toBeDefined();
  expect(central.asked.length - before).toBe(1);
  expect(central.asked.at(-1)).toMatchObject({ grant_type: "client_credentials", scope: "tickets" });
});

test("an upstream that refuses the gateway's token: exchange_failed, free of charge, and its challenge stays behind", async () => {
  expect((await echo("bearer", await gateway.accessToken(agent, "bearer"))).body.result).toBeDefined();
  const { status, body, headers } = await echo("wrong", await gateway.accessToken(agent, "wrong"));
  expect([status, body.error?.code, body.error?.data.reason]).toEqual([200, 50202, "exchange_failed"]);
  expect(headers.get("www-authenticate")).toBeNull();
  expect(JSON.stringify(body)).not.toMatch(/canary|resource_metadata/);
});

async function signIn(claims: JWTPayload, key: CryptoKey = loginKey): Promise<string> {
  return new SignJWT({ client_id: "their-client", jti: `j-${Math.random()}`, ...claims })
    .setProtectedHeader({ alg: "ES256", typ: "at+jwt", kid: "login-1" })
    .setIssuer(claims.iss ?? login.url)
    .setIssuedAt()
    .setExpirationTime("5m")
    .sign(key);
}

test("an access token of an external issuer names its agent by a claim; a stranger's, a forged one and one for another route are refused", async () => {
  const aud = `${gateway.publicUrl}/mcp/bearer`;
  const good = { sub: "their-subject", azp: "bot", aud };
  expect((await echo("bearer", await signIn(good))).body.result).toBeDefined();
  const forger = await generateKeyPair("ES256");
  const refused = [
    await signIn(good, forger.privateKey),
    await signIn({ ...good, aud: `${gateway.publicUrl}/mcp/swaps` }),
    await signIn({ ...good, iss: "https://elsewhere.example" }),
  ];
  for (const accessToken of refused) expect((await echo("bearer", accessToken)).status).toBe(401);
  const stranger = await echo("bearer", await signIn({ ...good, azp: "nobody" }));
  expect([stranger.status, stranger.body.error?.code]).toEqual([200, 40313]);
  const records = await gateway.json<{ token: { issuer: string } | null; agent: { id: string } | null }[]>("audit", "tail");
  expect(records).toContainEqual(
    expect.objectContaining({ token: expect.objectContaining({ issuer: login.url }), agent: expect.objectContaining({ id: agent.id }) }),
  );
});

test("an agent with a key of its own proves it by private_key_jwt, and no secret exists", async () => {
  const { privateKey, publicKey } = await generateKeyPair("ES256");
  const jwk: JWK = { ...(await exportJWK(publicKey)), alg: "ES256", use: "sig" };
  jwk.kid = await calculateJwkThumbprint(jwk);
  const file = join(gateway.folder, "keys.jwks");
  writeFileSync(file, JSON.stringify({ keys: [jwk] }));
  const made = await gateway.json<{ client_id: string; client_secret?: string }>(
    ...["agent", "create", "keyed", "--team", "support", "--owner", "o@example.com", "--purpose", "testing", "--jwks", file],
  );
  expect(made.client_secret).toBeUndefined();
  const assert = (jti: string) =>
    new SignJWT({ jti })
      .setProtectedHeader({ alg: "ES256", kid: jwk.kid ?? "" })
      .setIssuer(made.client_id)
      .setSubject(made.client_id)
      .setAudience(gateway.publicUrl)
      .setIssuedAt()
      .setExpirationTime("1m")
      .sign(privateKey);
  const ask = async (assertion: string) =>
    fetch(`${gateway.publicUrl}/oauth/token`, {
      method: "POST",
      body: new URLSearchParams({
        grant_type: "client_credentials",
        client_id: made.client_id,
        client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        client_assertion: assertion,
        resource: `${gateway.publicUrl}/mcp/bearer`,
      }),
    });
  const assertion = await assert("once");
  const { access_token: accessToken } = (await (await ask(assertion)).json()) as { access_token: string };
  expect((await echo("bearer", accessToken)).body.result).toBeDefined();
  expect((await ask(assertion)).status).toBe(401);
});

test("usage leaves as CloudEvents, each once, also over a restart", async () => {
  const taken: { id: string; source: string; type: string }[] = [];
  const collector = await host((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (bytes: Buffer) => chunks.push(bytes));
    request.on("end", () => {
      taken.push(...(JSON.parse(Buffer.concat(chunks).toString()) as typeof taken));
      response.writeHead(204).end();
    });
  });
  const metered = await GatewayProcess.start({
    policies: POLICIES,
    servers: `  bearer: { url: "${plain.mcpUrl}", credential: { bearer: env:STATIC_BEARER } }`,
    more: `sync: [{ type: cloudevents, url: "${collector.url}/events", every: 1s }]`,
    env: { STATIC_BEARER: "canary-static-bearer" },
  });
  try {
    const accessToken = await metered.accessToken(await metered.createAgent("bot"), "bearer");
    const url = `${metered.publicUrl}/mcp/bearer`;
    for (let i = 0; i < 3; i++) await modernRequest(url, accessToken, "tools/call", { name: "echo", arguments: { text: "x" } });
    for (let i = 0; i < 100 && taken.length < 3; i++) await sleep(100);
    await metered.stop();
    await metered.serve();
    await modernRequest(url, accessToken, "tools/call", { name: "echo", arguments: { text: "x" } });
    for (let i = 0; i < 100 && taken.length < 4; i++) await sleep(100);
  } finally {
    await metered.stop();
    await collector.close();
  }
  expect(taken.map(({ type }) => type)).toEqual(Array(4).fill("io.tollgate.call.settled.v1"));
  expect(new Set(taken.map(({ id, source }) => `${source} ${id}`)).size).toBe(4);
});

test("a delegated call shows user and agent: in the upstream's token and in the record, and ends when the token that it was made from has leaked", async () => {
  const subject = await signIn({ sub: "ann@example.com", azp: "a-web-app", aud: `${gateway.publicUrl}/mcp`, jti: "the-user-signed-in" });
  const answer = await fetch(`${gateway.publicUrl}/oauth/token`, {
    method: "POST",
    headers: { authorization: `Basic ${Buffer.from(`${agent.client_id}:${agent.client_secret}`).toString("base64")}` },
    body: new URLSearchParams({
      grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
      subject_token: subject,
      subject_token_type: "urn:ietf:params:oauth:token-type:access_token",
      resource: `${gateway.publicUrl}/mcp/swaps`,
    }),
  });
  const issued = (await answer.json()) as { access_token: string; issued_token_type: string };
  expect([answer.status, issued.issued_token_type]).toEqual([200, "urn:ietf:params:oauth:token-type:access_token"]);
  expect(decodeJwt(issued.access_token)).toMatchObject({
    sub: "ann@example.com",
    act: { sub: agent.id },
    client_id: agent.id,
    subject_issuer: login.url,
  });

  expect((await echo("swaps", issued.access_token)).body.result).toBeDefined();
  const upstreamToken = await central.verify(bearersHeardBy(exchanged).at(-1) ?? "");
  expect(upstreamToken).toMatchObject({ for: { iss: gateway.publicUrl, sub: "ann@example.com", act: { sub: agent.id } } });
  for (const text of [subject, issued.access_token]) expect(exchanged.heard(text)).toBe(false);

  const [record] = (
    await gateway.json<{ agent: { id: string } | null; subject: string | null; actor_chain: string[] }[]>("audit", "tail")
  ).slice(-1);
  expect(record).toMatchObject({ agent: { id: agent.id }, actor_chain: [agent.id], subject: expect.stringMatching(/^hmac-sha256:/) });
  expect(gateway.output).not.toContain("ann@example.com");

  const call = () => echo("swaps", issued.access_token).then(({ status }) => status);
  const leak = await administer(gateway, "POST", "/leaks", { text: subject, reason: "found in a log" });
  expect(await leak.json()).toMatchObject({ kind: "token", id: "the-user-signed-in", revoked: true });
  expect(await call()).toBe(401);
});
