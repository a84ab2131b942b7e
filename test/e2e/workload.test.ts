/** Agents without any secret: Kubernetes service accounts, known by their cluster's tokens alone. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CryptoKey, decodeJwt, exportJWK, generateKeyPair, SignJWT } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { GatewayProcess, modernRequest } from "./gateway-process.ts";
import { administer } from "./shared-registry.ts";

const CLUSTER = "https://kubernetes.default.svc.cluster.local";
const CART = "system:serviceaccount:agents:cart";
const POLICIES = `apiVersion: tollgate/v1
entitlements: [{ name: platform, who: { team: platform }, permit: ["*/*"], requires: [tickets.read] }, { name: reads, who: { team: platform }, permit: ["*/echo"] }]
`;

let key: CryptoKey;
let upstream: Upstream;
let gateway: GatewayProcess;

beforeAll(async () => {
  const pair = await generateKeyPair("RS256");
  key = pair.privateKey;
  const file = join(mkdtempSync(join(tmpdir(), "tollgate-cluster-")), "jwks.json");
  writeFileSync(file, JSON.stringify({ keys: [{ ...(await exportJWK(pair.publicKey)), kid: "cluster-1", alg: "RS256", use: "sig" }] }));
  upstream = await startHttpUpstream();
  gateway = await GatewayProcess.start({
    policies: POLICIES,
    servers: `  up: { url: "${upstream.mcpUrl}" }`,
    more: `issuers:
  - issuer: ${CLUSTER}
    profile: kubernetes
    audience: tollgate
    jwks: "file:${file}"
    unknownAgent: register
    register: { where: ["system:serviceaccount:agents:*"], customer: acme, team: platform, owner: platform@example.com, purpose: "in-cluster agents" }`,
  });
});

afterAll(async () => {
  await gateway?.stop();
  await upstream?.close();
});

/** A token as the TokenRequest API issues it: no typ, aud a list of one. */
function projected(sub: string, pod: string, more: object = {}): Promise<string> {
  const [, , namespace = "", name = ""] = sub.split(":");
  const claims = {
    "kubernetes.io": { namespace, node: { name: "node-1", uid: "n" }, pod: { name: pod, uid: "p" }, serviceaccount: { name, uid: "s" } },
    jti: crypto.randomUUID(),
    nbf: Math.floor(Date.now() / 1000),
    ...more,
  };
  return new SignJWT(claims)
    .setProtectedHeader({ alg: "RS256", kid: "cluster-1" })
    .setIssuer(CLUSTER)
    .setSubject(sub)
    .setAudience(["tollgate"])
    .setIssuedAt()
    .setExpirationTime("1h")
    .sign(key);
}

async function call(accessToken: string): Promise<{ status: number; reason: string }> {
  const answer = await modernRequest(`${gateway.publicUrl}/mcp/up`, accessToken, "tools/call", { name: "echo", arguments: { text: "x" } });
  const body = (await answer.json()) as { result?: object; error?: { data: { reason: string } } };
  return { status: answer.status, reason: body.result === undefined ? (body.error?.data.reason ?? "credential_invalid") : "allowed" };
}

function redeem(assertion: string, more: Record<string, string> = {}): Promise<Response> {
  return fetch(`${gateway.publicUrl}/oauth/token`, {
    method: "POST",
    body: new URLSearchParams({
      grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer",
      assertion,
      resource: `${gateway.publicUrl}/mcp/up`,
      ...more,
    }),
  });
}

type AgentRow = { id: string; name: string; owner: string; purpose: string; customer: string; team: string };

test("a service account calls with its projected token, and is registered once at first sight, however many pods begin at once", async () => {
  const answers = await Promise.all(Array.from({ length: 8 }, async (_, pod) => call(await projected(CART, `cart-${pod}`))));
  expect(new Set(answers.map(({ reason }) => reason))).toEqual(new Set(["allowed"]));
  const agents = await gateway.json<AgentRow[]>("agent", "list");
  expect(agents).toMatchObject([
    {
      name: "system-serviceaccount-agents-cart",
      owner: "platform@example.com",
      purpose: "in-cluster agents",
      customer: "acme",
      team: "platform",
    },
  ]);
  const records = await gateway.json<{ kind: string; agent: { instance: string } | null }[]>("audit", "tail", "--limit", "50");
  const instances = records.flatMap(({ kind, agent }) => (kind === "call" && agent !== null ? [agent.instance] : []));
  expect(new Set(instances)).toEqual(new Set(Array.from({ length: 8 }, (_, pod) => `cart-${pod}`)));
});

test("it exchanges that token for a short one of one route, without a client and without a secret", async () => {
  const answer = await redeem(await projected(CART, "cart-1"), { scope: "tickets.read" });
  const issued = (await answer.json()) as { access_token: string; expires_in: number };
  expect(answer.status, JSON.stringify(issued)).toBe(200);
  expect(decodeJwt(issued.access_token)).toMatchObject({
    aud: `${gateway.publicUrl}/mcp/up`,
    instance: "cart-1",
    scope: "mcp tickets.read",
  });
  expect(issued.expires_in).toBeLessThanOrEqual(600);
  expect(await call(issued.access_token)).toMatchObject({ reason: "allowed" });
  expect((await redeem(await projected(CART, "cart-1"), { scope: "admin" })).status).toBe(400);
});

test("accounts that no rule names, tokens of nobody's cluster and tokens that are none of the kind are refused, and register nobody", async () => {
  expect(await call(await projected("system:serviceaccount:kube-system:default", "x"))).toMatchObject({ reason: "agent_unknown" });
  expect((await redeem(await projected("system:serviceaccount:kube-system:default", "x"))).status).toBe(400);
  expect((await call(await projected("alice", "x"))).status).toBe(401);
  expect((await call(await projected(CART, "x", { "kubernetes.io": undefined }))).status).toBe(401);
  expect(await gateway.json<AgentRow[]>("agent", "list")).toHaveLength(1);
});

test("suspended it is refused at once, with the cluster's token and with the one that it has obtained; nobody else can be named so", async () => {
  const token = await projected(CART, "cart-1");
  const { access_token: issued } = (await (await redeem(token)).json()) as { access_token: string };
  expect((await administer(gateway, "POST", "/agents/system-serviceaccount-agents-cart/suspend", { reason: "odd calls" })).status).toBe(
    200,
  );
  for (const text of [token, issued]) expect(await call(text)).toMatchObject({ reason: "agent_suspended" });
  expect((await redeem(await projected(CART, "cart-2"))).status).toBe(400);
  expect((await administer(gateway, "POST", "/agents/system-serviceaccount-agents-cart/reinstate", { reason: "fine" })).status).toBe(200);
  for (const text of [token, issued]) expect(await call(text)).toMatchObject({ reason: "allowed" });
});
