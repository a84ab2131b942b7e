/** `npm run prove:identity [-- --quick] [--seed N]`: a delegated token is never more than what it was made from, and of many at once one wins. */
import { randomUUID } from "node:crypto";
import { parseArgs } from "node:util";
import { type CryptoKey, decodeJwt, exportJWK, generateKeyPair, SignJWT } from "jose";
import { type Bounds, delegate, type Given } from "../../src/control/oauth/delegation.ts";
import { GrantRefused } from "../../src/control/oauth/grant-refused.ts";
import { seededRandom } from "../fixtures/seeded-random.ts";
import { basic, createAgent, type Plane, startPlane } from "./plane.ts";

export type IdentityReport = {
  readonly seed: number;
  readonly triples: number;
  /** Of those, how many were answered with a token. */
  readonly issued: number;
  readonly overHttp: number;
  readonly issuedOverHttp: number;
  readonly redemptions: number;
  readonly rotations: number;
  readonly violations: readonly string[];
};

type Random = ReturnType<typeof seededRandom>;
const SCOPES = ["a", "b", "c", "d", "e"];
const USERS = "https://users.example";
const OWN = "https://gw.example";
const NOW_MS = 1_800_000_000_000;

const pick = <T>(random: Random, list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
const some = (random: Random, share = 0.5) => new Set(SCOPES.filter(() => random() < share));

function given(random: Random): Given {
  const own = random() < 0.6;
  const chain = Array.from({ length: Math.floor(random() * 5) }, () => pick(random, ["agt_1", "agt_2", "agt_3"]));
  const actors = own ? chain : [];
  const may = pick<unknown>(random, [
    undefined,
    undefined,
    undefined,
    { sub: "agt_1" },
    { sub: "agt_2" },
    { sub: "x", iss: USERS },
    "agt_1",
    {},
    null,
  ]);
  return {
    ...{
      issuer: own ? OWN : USERS,
      own,
      sub: pick(random, ["ann", "bob", "agt_1", "agt_2"]),
      subject: actors.length > 0 ? "ann" : null,
      actors,
    },
    ...{ scopes: some(random), statesScopes: random() < 0.7, expiresAtMs: NOW_MS + Math.floor((random() - 0.1) * 900_000) },
    claims: may === undefined ? {} : { may_act: may },
  };
}

/** What is wrong with one answer; null: nothing, or it was refused. */
function judge(subject: Given, actorToken: Given | null, bounds: Bounds): string | null | undefined {
  const actor = { id: "agt_1", name: "first" };
  let made: ReturnType<typeof delegate>;
  try {
    made = delegate(subject, actor, actorToken, bounds);
  } catch (thrown) {
    if (thrown instanceof GrantRefused) return undefined;
    throw thrown;
  }
  for (const scope of made.scopes) {
    if (scope === "mcp") continue;
    if (!subject.scopes.has(scope)) return `scope ${scope} is not the subject's`;
    if (actorToken?.statesScopes === true && !actorToken.scopes.has(scope)) return `scope ${scope} is not the actor's`;
    if (!bounds.entitled.has(scope)) return `scope ${scope} is beyond the entitlements`;
    if (bounds.wanted !== null && !bounds.wanted.has(scope)) return `scope ${scope} was not asked for`;
  }
  if (made.expiresAtMs > subject.expiresAtMs) return "outlives the subject's token";
  if (actorToken !== null && made.expiresAtMs > actorToken.expiresAtMs) return "outlives the actor's token";
  if (made.expiresAtMs > bounds.nowMs + bounds.ttlMs) return "outlives the configured lifetime";
  if (made.actors.length > 4) return "a chain of more than four";
  if (made.actors.length > 0 && made.actors[0] !== actor.id) return "the outermost actor is not who asked";
  const may = subject.claims.may_act as { sub?: unknown; iss?: unknown } | undefined;
  if (may !== undefined) {
    if (typeof may !== "object" || may === null || typeof may.sub !== "string") return "a may_act that cannot be read";
    if (may.iss === undefined && may.sub !== actor.id && may.sub !== actor.name) return "a may_act that names another";
    if (may.iss !== undefined && (actorToken?.issuer !== may.iss || actorToken?.sub !== may.sub)) return "a may_act of another issuer";
  }
  if (!subject.own && made.subjectIssuer !== subject.issuer) return "a subject without its issuer";
  return null;
}

export async function proveIdentity(options: { seed: number; triples: number; http: number; at: number }): Promise<IdentityReport> {
  const random = seededRandom(options.seed);
  const violations: string[] = [];
  const say = (what: string) => violations.length < 20 && violations.push(what);
  let issued = 0;
  for (let i = 0; i < options.triples; i++) {
    const subject = given(random);
    const actorToken = random() < 0.5 ? given(random) : null;
    const bounds = {
      entitled: some(random, 0.7),
      wanted: random() < 0.5 ? null : new Set(["mcp", ...some(random, 0.2)]),
      nowMs: NOW_MS,
      ttlMs: 600_000,
    };
    const fault = judge(subject, actorToken, bounds);
    if (fault !== undefined) issued += 1;
    if (fault) say(`triple ${i}: ${fault}`);
  }
  const { privateKey, publicKey } = await generateKeyPair("ES256");
  const jwk = { ...(await exportJWK(publicKey)), kid: "users" };
  const plane = await startPlane({
    scopes: SCOPES,
    issuers: [{ issuer: USERS, kind: "external", audience: null, agentClaim: ["azp"], jwks: { kind: "local", keys: () => [jwk] } }],
  });
  try {
    const issuedOverHttp = await overHttp(plane, privateKey, random, options.http, say);
    await oneRedeems(plane, options.at, say);
    await oneRotates(plane, options.at, say);
    const { seed, triples, http, at } = options;
    return { seed, triples, issued, overHttp: http, issuedOverHttp, redemptions: at, rotations: at, violations };
  } finally {
    await plane.close();
  }
}

async function overHttp(plane: Plane, key: CryptoKey, random: Random, count: number, say: (what: string) => unknown): Promise<number> {
  const agent = await createAgent(plane.registry, "delegate");
  let issued = 0;
  for (let i = 0; i < count; i++) {
    const [held, wanted] = [some(random), random() < 0.3 ? null : some(random, 0.3)];
    const seconds = 30 + Math.floor(random() * 1_000);
    const subject = await new SignJWT({ scope: ["mcp", ...held].join(" "), jti: randomUUID(), azp: "app" })
      .setProtectedHeader({ alg: "ES256", kid: "users", typ: "at+jwt" })
      .setIssuer(USERS)
      .setSubject("ann")
      .setAudience(`${plane.publicUrl}/mcp`)
      .setIssuedAt()
      .setExpirationTime(`${seconds}s`)
      .sign(key);
    const answer = await plane.token(
      {
        grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
        subject_token: subject,
        subject_token_type: "urn:ietf:params:oauth:token-type:access_token",
        ...(wanted === null ? {} : { scope: [...wanted].join(" ") || "mcp" }),
      },
      basic(agent.id, agent.secret),
    );
    if (answer.status !== 200) {
      if (wanted === null || [...wanted].every((scope) => held.has(scope))) say(`http ${i}: refused what is held: ${await answer.text()}`);
      continue;
    }
    issued += 1;
    const { access_token } = (await answer.json()) as { access_token: string };
    const claims = decodeJwt<{ scope: string; act: { sub: string }; subject_issuer: string }>(access_token);
    const scopes = claims.scope.split(" ").filter((scope) => scope !== "mcp");
    if (!scopes.every((scope) => held.has(scope) && (wanted === null || wanted.has(scope)))) say(`http ${i}: scope ${claims.scope}`);
    if ((claims.exp ?? 0) > (decodeJwt(subject).exp ?? 0)) say(`http ${i}: outlives its subject token`);
    if (claims.act.sub !== agent.id || claims.sub !== "ann" || claims.subject_issuer !== USERS)
      say(`http ${i}: names ${JSON.stringify(claims)}`);
  }
  return issued;
}

/** One assertion, presented many times at once. */
async function oneRedeems(plane: Plane, at: number, say: (what: string) => unknown): Promise<void> {
  const { privateKey, publicKey } = await generateKeyPair("ES256");
  const agent = await createAgent(plane.registry, "redeemer", { keys: [await exportJWK(publicKey)] });
  const assertion = await new SignJWT({ jti: randomUUID() })
    .setProtectedHeader({ alg: "ES256" })
    .setIssuer(agent.id)
    .setSubject(agent.id)
    .setAudience(plane.publicUrl)
    .setIssuedAt()
    .setExpirationTime("2m")
    .sign(privateKey);
  const client_assertion_type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
  const answers = await Promise.all(
    Array.from({ length: at }, () => plane.token({ grant_type: "client_credentials", client_assertion: assertion, client_assertion_type })),
  );
  const won = answers.filter(({ status }) => status === 200).length;
  if (won !== 1) say(`${won} of ${at} redemptions of one assertion won`);
  if (!answers.every(({ status }) => status === 200 || status === 401)) say("a redemption was answered with neither 200 nor 401");
}

async function oneRotates(plane: Plane, at: number, say: (what: string) => unknown): Promise<void> {
  const agent = await createAgent(plane.registry, "rotated");
  const replaces = plane.registry.credentialsOf(agent.id)[0]?.id;
  const answers = await Promise.all(
    Array.from({ length: at }, () => plane.admin("POST", `/api/v1/agents/${agent.id}/credentials`, { replaces, overlap: "0" })),
  );
  const won = answers.filter(({ status }) => status === 201).length;
  if (won !== 1) say(`${won} of ${at} rotations won`);
  if (plane.registry.credentialsOf(agent.id).length !== 1) say("not exactly one credential stands after the rotations");
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { quick: { type: "boolean" }, json: { type: "boolean" }, seed: { type: "string" } } });
  const seed = Number(values.seed ?? 1);
  const report = await proveIdentity({ seed, triples: 10_000, http: values.quick ? 100 : 1_000, at: 50 });
  if (values.json) console.log(JSON.stringify(report));
  else {
    console.log(`seed         ${report.seed}`);
    console.log(`triples      ${report.triples} of subject, actor and request; ${report.issued} issued`);
    console.log(`over HTTP    ${report.overHttp}; ${report.issuedOverHttp} issued`);
    console.log(`at once      ${report.redemptions} redemptions, ${report.rotations} rotations`);
    console.log(`violations   ${report.violations.length}`);
    for (const violation of report.violations) console.log(`  ${violation}`);
  }
  process.exit(report.violations.length === 0 ? 0 : 1);
}
