/** `npm run bench:authenticate [-- --quick]`: what it costs to know who calls, in this process on one core; token issue over real HTTP. */
import { createHash, randomBytes } from "node:crypto";
import { parseArgs } from "node:util";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import type { AgentDirectory, AgentProfile, OpaqueKey } from "../src/call/authenticate/agent.ts";
import { createAuthenticator } from "../src/call/authenticate/authenticate.ts";
import type { AgentId, ServerName } from "../src/ids.ts";
import { GatewayProcess } from "../test/e2e/gateway-process.ts";

const PUBLIC_URL = "https://gw.example";
const SERVER = "tickets" as ServerName;
const { values } = parseArgs({ options: { quick: { type: "boolean" }, json: { type: "boolean" } } });
const ROUNDS = values.quick ? 200_000 : 2_000_000;
const TOKENS = values.quick ? 500 : 4_000;
const ISSUES = values.quick ? 300 : 2_000;

const profile: AgentProfile = {
  ...{ id: "agt_bench" as AgentId, name: "bench", kind: "autonomous", state: "active", customer: "default", team: null, workflow: null },
  ...{ owner: "o", purpose: "p", riskClass: "unclassified", issuer: null, account: { tools: null, scopes: null } },
};
const secret = `tg_live_${randomBytes(32).toString("base64url")}`;
const key: OpaqueKey = {
  id: "cred_1",
  profile,
  scopes: new Set(),
  servers: null,
  expiresAtMs: Number.POSITIVE_INFINITY,
  environment: "live",
};
const keys = new Map([[createHash("sha256").update(secret).digest("base64"), key]]);
const revoked = new Map(Array.from({ length: 10_000 }, (_, index) => [JSON.stringify([PUBLIC_URL, `r${index}`]), 0] as const));
const directory: AgentDirectory = {
  byId: (id) => (id === profile.id ? profile : undefined),
  byName: () => undefined,
  byIdentity: () => undefined,
  byKey: (digest) => keys.get(digest),
  isRevoked: (issuer, tokenId) => revoked.has(JSON.stringify([issuer, tokenId])),
};

const pairs = { ES256: await generateKeyPair("ES256"), RS256: await generateKeyPair("RS256") };
const jwks = await Promise.all(
  Object.entries(pairs).map(async ([alg, { publicKey }]) => ({ ...(await exportJWK(publicKey)), kid: alg, alg, use: "sig" })),
);
const { authenticate } = createAuthenticator({
  publicUrl: PUBLIC_URL,
  issuers: [{ issuer: PUBLIC_URL, kind: "own", audience: null, agentClaim: ["sub"], jwks: { kind: "local", keys: () => jwks } }],
  directory,
  fetch,
  limits: { verifiedMax: 100_000 },
});
const nowMs = Date.now();

function tokenOf(alg: keyof typeof pairs, jti: string): Promise<string> {
  return new SignJWT({ client_id: profile.id, jti, scope: "mcp" })
    .setProtectedHeader({ alg, kid: alg, typ: "at+jwt" })
    .setIssuer(PUBLIC_URL)
    .setSubject(profile.id)
    .setAudience(`${PUBLIC_URL}/mcp/${SERVER}`)
    .setIssuedAt()
    .setExpirationTime("10m")
    .sign(pairs[alg].privateKey);
}

/** Microseconds each. */
function timed(rounds: number, work: () => unknown): number {
  for (let i = 0; i < rounds / 10; i++) work();
  const start = performance.now();
  for (let i = 0; i < rounds; i++) work();
  return ((performance.now() - start) * 1000) / rounds;
}

const known = `Bearer ${await tokenOf("ES256", "known")}`;
await authenticate(known, SERVER, nowMs);
const lookUpUs = timed(ROUNDS, () => authenticate(known, SERVER, nowMs));
const keyUs = timed(ROUNDS, () => authenticate(`Bearer ${secret}`, SERVER, nowMs));

const verifiedPerSecond: Record<string, number> = {};
for (const alg of ["ES256", "RS256"] as const) {
  const tokens = await Promise.all(Array.from({ length: TOKENS }, (_, index) => tokenOf(alg, `${alg}-${index}`)));
  const start = performance.now();
  for (const token of tokens) await authenticate(`Bearer ${token}`, SERVER, nowMs);
  verifiedPerSecond[alg] = Math.round((TOKENS * 1000) / (performance.now() - start));
}

const gateway = await GatewayProcess.start({
  policies: 'apiVersion: tollgate/v1\nentitlements: [{ name: all, permit: ["*/*"] }]\n',
  servers: '  up: { url: "http://127.0.0.1:9/mcp" }',
});
const agent = await gateway.createAgent("bench");
await gateway.accessToken(agent, "up");
const start = performance.now();
for (let done = 0; done < ISSUES; done += 10) await Promise.all(Array.from({ length: 10 }, () => gateway.accessToken(agent, "up")));
const issuedPerSecond = Math.round((ISSUES * 1000) / (performance.now() - start));
await gateway.stop();

const report = { lookUpUs, keyUs, verifiedPerSecond, issuedPerSecond };
if (values.json) console.log(JSON.stringify(report));
else {
  console.log(`verified token, known   ${lookUpUs.toFixed(2)} us   (bar: 2 us; 10,000 revoked tokens kept beside)`);
  console.log(`opaque key              ${keyUs.toFixed(2)} us`);
  for (const [alg, each] of Object.entries(verifiedPerSecond)) console.log(`verified anew, ${alg}    ${each} a second on one core`);
  console.log(`client credentials      ${issuedPerSecond} a second over HTTP, 10 at a time, recorded durably each`);
}
