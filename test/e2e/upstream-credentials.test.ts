/** Through the front door: each upstream hears a credential of its own, obtained from a real authorization server, and never the agent's token (O12, O13, O14, O36). */
import { type CryptoKey, decodeJwt, exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";
import { host, sendJson } from "../authenticate/issuer.ts";
import { type AuthorizationServer, CLIENT_SECRET, RESOURCE, startAuthorizationServer } from "../exchange/authorization-server.ts";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { type Door, openDoor } from "../fixtures/listener.ts";
import { type Credentials, GatewayProcess, modernRequest } from "./gateway-process.ts";
import { administer } from "./shared-registry.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements: [{ name: support, who: { team: support }, permit: ["*/*"] }]
`;

type Answer = { result?: object; error?: { code: number; data: { reason: string } } };

let gateway: GatewayProcess;
let agent: Credentials;
let central: AuthorizationServer;
let login: Awaited<ReturnType<typeof host>>;
let loginKey: CryptoKey;
/** An authorization server of an attacker, to which an upstream points. */
let evil: Door;
const upstreams: Record<"open" | "found" | "mistaken" | "foreign" | "forger" | "moved", Upstream> = {} as never;

beforeAll(async () => {
  const keyed = await generateKeyPair("Ed25519", { extractable: true });
  const keyedJwk: JWK = { ...(await exportJWK(keyed.privateKey)), kid: "gateway-at-central" };
  const { d: _, ...publicJwk } = keyedJwk;
  central = await startAuthorizationServer({
    accessTokenSeconds: 300,
    subjectKeys: () => `${gateway.publicUrl}/oauth/jwks`,
    clientKeys: [publicJwk],
  });
  evil = await openDoor((_request, response) => {
    const said = { issuer: evil.url, token_endpoint: `${evil.url}/token`, access_token: "evil", token_type: "Bearer" };
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(said));
  });
  const isFromCentral = (accessToken: string) => accessToken.split(".").length === 3 && decodeJwt(accessToken).iss === central.issuer;
  const protectedBy = (said: (origin: string) => object) =>
    startHttpUpstream({
      requireBearer: isFromCentral,
      metadata: (origin) => ({ resource: `${origin}/mcp`, authorization_servers: [central.issuer], ...said(origin) }),
    });
  upstreams.open = await startHttpUpstream();
  upstreams.found = await protectedBy(() => ({ authorization_servers: [evil.url, central.issuer] }));
  upstreams.mistaken = await protectedBy((origin) => ({ resource: `${origin}/mcp/other` }));
  upstreams.foreign = await protectedBy(() => ({ authorization_servers: [evil.url] }));
  // What it says of endpoints is not its to say.
  upstreams.forger = await protectedBy(() => ({ token_endpoint: `${evil.url}/token`, issuer: central.issuer }));
  upstreams.moved = await protectedBy(() => ({ resource: RESOURCE }));

  const pair = await generateKeyPair("ES256");
  loginKey = pair.privateKey;
  const jwk = { ...(await exportJWK(pair.publicKey)), kid: "login-1", alg: "ES256", use: "sig" };
  login = await host((request, response, url) => {
    if (request.url === "/jwks") return sendJson(response, { keys: [jwk] });
    sendJson(response, { issuer: url, jwks_uri: `${url}/jwks` });
  });
  const at = (name: keyof typeof upstreams, credential: string) => `{ url: "${upstreams[name].mcpUrl}", credential: { ${credential} } }`;
  const discover = "clientCredentials: { issuer: discover, scopes: [tickets] }";
  const asClient = `issuer: "${central.issuer}", resource: "${RESOURCE}"`;
  gateway = await GatewayProcess.start({
    policies: POLICIES,
    more: `issuers: [{ issuer: "${login.url}", profile: generic, agent: claims.azp }]
clients: { "${central.issuer}": { clientId: tollgate, clientSecret: env:CENTRAL_SECRET } }`,
    servers: `  basic: ${at("open", "basic: { username: gateway, password: env:PASSWORD }")}
  keyed: ${at("open", `privateKeyJwt: { ${asClient}, clientId: tollgate-keyed, clientKey: env:CLIENT_KEY, scopes: [tickets] }`)}
  swaps: ${at("open", `tokenExchange: { ${asClient}, scopes: [tickets] }`)}
  narrow: ${at("open", `clientCredentials: { ${asClient}, scopes: [tickets], toolScopes: { "ec*": [tickets.read], "de*": [tickets.write] } }`)}
  found: ${at("found", discover)}
  mistaken: ${at("mistaken", discover)}
  foreign: ${at("foreign", discover)}
  forger: ${at("forger", discover)}
  moved: ${at("moved", discover)}`,
    env: { CENTRAL_SECRET: CLIENT_SECRET, PASSWORD: "canary password", CLIENT_KEY: JSON.stringify(keyedJwk) },
  });
  agent = await gateway.createAgent("bot");
});

afterAll(async () => {
  await gateway?.stop();
  await Promise.all([...Object.values(upstreams), central, login, evil].map((each) => each?.close()));
});

const shown: string[] = [];

async function call(server: string, accessToken?: string, method = "tools/call"): Promise<Answer> {
  const presented = accessToken ?? (await gateway.accessToken(agent, server));
  shown.push(presented);
  const params = method === "tools/call" ? { name: "echo", arguments: { text: "x" } } : {};
  return (await (await modernRequest(`${gateway.publicUrl}/mcp/${server}`, presented, method, params)).json()) as Answer;
}

/** What an upstream was shown since the last look. */
function heardBy(name: keyof typeof upstreams): string[] {
  const heard = upstreams[name].received.splice(0).map(({ headers }) => headers.authorization ?? "");
  return [...new Set(heard.filter((each) => each !== ""))];
}

const claimsIn = (authorization = "") =>
  decodeJwt<JWTPayload & { scope?: string; client_id?: string; for?: JWTPayload; act?: object }>(authorization.replace("Bearer ", ""));

test("basic shows a user name and a password", async () => {
  expect((await call("basic")).result).toBeDefined();
  expect(heardBy("open")).toEqual([`Basic ${Buffer.from("gateway:canary password").toString("base64")}`]);
});

test("private_key_jwt proves the gateway to the issuer alone, for a minute, by a key that never leaves", async () => {
  expect((await call("keyed")).result).toBeDefined();
  const asked = central.asked.at(-1) ?? {};
  expect(asked).toMatchObject({ grant_type: "client_credentials", client_id: "tollgate-keyed" });
  expect(asked.client_secret).toBeUndefined();
  const { aud, iss, sub, jti, iat = 0, exp = 0 } = decodeJwt(asked.client_assertion ?? "");
  expect([aud, iss, sub]).toEqual([central.issuer, "tollgate-keyed", "tollgate-keyed"]);
  expect(jti).toMatch(/.{16}/);
  expect(exp - iat).toBeLessThanOrEqual(60);
  expect(heardBy("open").map((each) => claimsIn(each).client_id)).toEqual(["tollgate-keyed"]);
});

async function signIn(claims: JWTPayload): Promise<string> {
  return new SignJWT({ client_id: "their-client", jti: `j-${Math.random()}`, ...claims })
    .setProtectedHeader({ alg: "ES256", typ: "at+jwt", kid: "login-1" })
    .setIssuer(login.url)
    .setIssuedAt()
    .setExpirationTime("5m")
    .sign(loginKey);
}

test("an agent that acts for a user: the upstream's token shows both, and two users never share one", async () => {
  const aud = `${gateway.publicUrl}/mcp/swaps`;
  const ann = await signIn({ aud, sub: "ann@example.com", azp: "bot" });
  expect((await call("swaps", ann)).result).toBeDefined();
  const [first = ""] = heardBy("open");
  expect(claimsIn(first)).toMatchObject({
    aud: RESOURCE,
    for: { iss: gateway.publicUrl, sub: "ann@example.com", act: { sub: agent.id } },
    act: { sub: agent.id },
  });
  expect((await call("swaps", await signIn({ aud, sub: "bob@example.com", azp: "bot" }))).result).toBeDefined();
  const [second = ""] = heardBy("open");
  expect(claimsIn(second).for).toMatchObject({ sub: "bob@example.com" });
  expect(second).not.toBe(first);
  expect(central.asked.some((asked) => Object.values(asked).includes(ann))).toBe(false);
});

test("a call of one tool shows a token for that tool; a list shows the general one", async () => {
  expect((await call("narrow", undefined, "tools/list")).result).toBeDefined();
  expect(heardBy("open").map((each) => claimsIn(each).scope)).toEqual(["tickets"]);
  expect((await call("narrow")).result).toBeDefined();
  expect((await call("narrow")).result).toBeDefined();
  // The list has read the definitions before, with the general one too.
  expect(new Set(heardBy("open").map((each) => claimsIn(each).scope))).toEqual(new Set(["tickets.read"]));
  expect(central.asked.filter(({ scope }) => scope === "tickets.read")).toHaveLength(1);
});

test("discovery: the upstream names its resource and issuer, and the client is the one of that issuer", async () => {
  expect((await call("found")).result).toBeDefined();
  const [heard = ""] = heardBy("found");
  expect(claimsIn(heard)).toMatchObject({ iss: central.issuer, aud: upstreams.found.mcpUrl, client_id: "tollgate", scope: "tickets" });
  expect((await call("forger")).result).toBeDefined();
});

test.each([["foreign"], ["mistaken"], ["moved"]] as const)("metadata of an upstream that is %s get nothing", async (name) => {
  const before = central.asked.length;
  expect((await call(name)).error?.data.reason).toBe("exchange_failed");
  expect(heardBy(name)).toEqual([]);
  expect(central.asked.length).toBe(before);
});

test("an agent that was stopped starts anew: nothing that was obtained for it is shown again", async () => {
  const count = () => central.asked.filter(({ scope, subject_token }) => scope === "tickets" && subject_token !== undefined).length;
  expect((await call("swaps")).result).toBeDefined();
  const before = count();
  expect((await call("swaps")).result).toBeDefined();
  expect(count()).toBe(before);
  for (const act of ["suspend", "reinstate"]) {
    expect((await administer(gateway, "POST", `/agents/${agent.id}/${act}`, { reason: "a test" })).status).toBe(200);
  }
  expect((await call("swaps")).result).toBeDefined();
  expect(count()).toBe(before + 1);
});

test("nobody but the gateway ever heard an agent's token or the gateway's secrets, and the attacker's server heard nothing", () => {
  expect(evil.received).toEqual([]);
  expect(shown.length).toBeGreaterThan(10);
  for (const upstream of Object.values(upstreams)) {
    for (const text of [...shown, CLIENT_SECRET, encodeURIComponent(CLIENT_SECRET)]) expect(upstream.heard(text)).toBe(false);
  }
  for (const text of [...shown, CLIENT_SECRET, "canary password"]) expect(gateway.output).not.toContain(text);
});
