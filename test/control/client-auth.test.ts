import { randomUUID } from "node:crypto";
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { basic, createAgent, type Plane, startPlane } from "./plane.ts";

const ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

let plane: Plane;
let agent: { id: string; secret: string };
let keyed: { id: string };
let other: { id: string };
const keys = await generateKeyPair("ES256", { extractable: true });
const strangers = await generateKeyPair("ES256", { extractable: true });

beforeAll(async () => {
  plane = await startPlane();
  agent = await createAgent(plane.registry, "secret-bot");
  keyed = await createAgent(plane.registry, "keyed-bot", { keys: [{ ...(await exportJWK(keys.publicKey)), kid: "one", alg: "ES256" }] });
  other = await createAgent(plane.registry, "other-bot", { keys: [await exportJWK(strangers.publicKey)] });
});
afterAll(() => plane?.close());

const grant = () => ({ grant_type: "client_credentials", resource: `${plane.publicUrl}/mcp/tickets` });

type Claims = Record<string, unknown>;

/** The claims of a good assertion, and what a test changes in them. */
function claimsOf(changes: Claims = {}): Claims {
  const seconds = Math.floor(Date.now() / 1000);
  const good = { iss: keyed.id, sub: keyed.id, aud: plane.publicUrl, jti: randomUUID(), iat: seconds, exp: seconds + 60 };
  return Object.fromEntries(Object.entries({ ...good, ...changes }).filter(([, value]) => value !== undefined));
}

const signed = (changes: Claims = {}, header: Record<string, unknown> = {}) =>
  new SignJWT(claimsOf(changes)).setProtectedHeader({ alg: "ES256", ...header }).sign(keys.privateKey);

const present = (assertion: string, more: Record<string, string> = {}) =>
  plane.token({ ...grant(), client_assertion_type: ASSERTION_TYPE, client_assertion: assertion, ...more });

async function expectRefused(answer: Response, ...hidden: string[]): Promise<void> {
  const text = await answer.text();
  expect([400, 401], text).toContain(answer.status);
  expect(answer.headers.get("content-type")).toMatch(/^application\/json/);
  expect(answer.headers.get("cache-control")).toBe("no-store");
  const body = JSON.parse(text);
  expect(["invalid_client", "invalid_request", "unauthorized_client"]).toContain(body.error);
  expect(Object.keys(body).every((key) => ["error", "error_description"].includes(key))).toBe(true);
  for (const secret of hidden) expect(text).not.toContain(secret);
}

describe("a client secret", () => {
  test("that is wrong is refused as invalid_client, without a word of it", async () => {
    const wrong = `${agent.secret.slice(0, -1)}${agent.secret.endsWith("A") ? "B" : "A"}`;
    for (const answer of [
      await plane.token(grant(), basic(agent.id, wrong)),
      await plane.token({ ...grant(), client_id: agent.id, client_secret: wrong }),
    ]) {
      expect(answer.status).toBe(401);
      await expectRefused(answer, wrong, agent.secret);
    }
  });

  test("of an unknown client gets the very answer of a wrong secret", async () => {
    const wrong = await plane.token(grant(), basic(agent.id, "tgs_wrong"));
    const unknown = await plane.token(grant(), basic("agt_01k9x3v7m2q8r5t1w4y6z0abcd", "tgs_wrong"));
    expect(unknown.status).toBe(wrong.status);
    expect(await unknown.text()).toBe(await wrong.text());
    expect([...unknown.headers].filter(([name]) => name !== "date")).toEqual([...wrong.headers].filter(([name]) => name !== "date"));
  });

  test.each([
    ["empty", ""],
    ["the word that stands in for it", "only-a-hash-is-kept"],
    ["its hash in hex", "0".repeat(64)],
    ["cut short", "tgs_"],
  ])("%s is refused", async (_, presented) => {
    await expectRefused(await plane.token(grant(), basic(agent.id, presented)), agent.secret);
    await expectRefused(await plane.token({ ...grant(), client_id: agent.id, client_secret: presented }), agent.secret);
  });

  test("is that of its own agent alone", async () => {
    const second = await createAgent(plane.registry, "second-bot");
    await expectRefused(await plane.token(grant(), basic(agent.id, second.secret)), second.secret);
  });

  test("is not a name: an agent's name is no client_id", async () => {
    await expectRefused(await plane.token(grant(), basic("secret-bot", agent.secret)), agent.secret);
  });

  test("does not stand in for the key of an agent that registered one", async () => {
    await expectRefused(await plane.token(grant(), basic(keyed.id, "only-a-hash-is-kept")));
  });

  test("in the query is not read", async () => {
    const query = new URLSearchParams({ client_id: agent.id, client_secret: agent.secret });
    const answer = await fetch(`${plane.publicUrl}/oauth/token?${query}`, { method: "POST", body: new URLSearchParams(grant()) });
    await expectRefused(answer, agent.secret);
  });

  test("presented in two ways at once is refused", async () => {
    const twice = { ...grant(), client_id: agent.id, client_secret: agent.secret };
    await expectRefused(await plane.token(twice, basic(agent.id, agent.secret)), agent.secret);
  });

  test("none at all is refused", async () => {
    await expectRefused(await plane.token(grant()));
    await expectRefused(await plane.token({ ...grant(), client_id: agent.id }));
    // Nor does a name alone make a client of whoever exchanges a token.
    const exchange = { grant_type: "urn:ietf:params:oauth:grant-type:token-exchange", subject_token: "x", subject_token_type: "x" };
    const answer = await plane.token({ ...exchange, client_id: agent.id });
    expect([answer.status, ((await answer.json()) as { error: string }).error]).toEqual([401, "invalid_client"]);
  });
});

describe("a client assertion (private_key_jwt)", () => {
  test("signed with the registered key obtains a token", async () => {
    const answer = await present(await signed());
    expect(answer.status, await answer.clone().text()).toBe(200);
  });

  test("is used once: the second time it is refused", async () => {
    const assertion = await signed();
    expect((await present(assertion)).status).toBe(200);
    await expectRefused(await present(assertion), assertion);
  });

  test("is used once even when it comes many times at once", async () => {
    const assertion = await signed();
    const answers = await Promise.all(Array.from({ length: 12 }, () => present(assertion)));
    expect(answers.filter((answer) => answer.status === 200)).toHaveLength(1);
  });

  test("with an id that another agent has used is still good", async () => {
    const jti = randomUUID();
    const ofOther = await new SignJWT(claimsOf({ iss: other.id, sub: other.id, jti }))
      .setProtectedHeader({ alg: "ES256" })
      .sign(strangers.privateKey);
    expect((await present(ofOther)).status).toBe(200);
    expect((await present(await signed({ jti }))).status).toBe(200);
  });

  const seconds = Math.floor(Date.now() / 1000);
  test.each<[string, () => Claims]>([
    ["for another audience", () => ({ aud: "https://elsewhere.example" })],
    ["for the token endpoint instead of the issuer", () => ({ aud: `${plane.publicUrl}/oauth/token` })],
    ["for this issuer among others", () => ({ aud: [plane.publicUrl, "https://elsewhere.example"] })],
    ["for this issuer in a list", () => ({ aud: [plane.publicUrl] })],
    ["without an audience", () => ({ aud: undefined })],
    ["that has expired", () => ({ iat: seconds - 600, exp: seconds - 300 })],
    ["without an expiry", () => ({ exp: undefined })],
    ["that lives too long", () => ({ exp: seconds + 86_400 })],
    ["that is not yet good", () => ({ nbf: seconds + 600 })],
    ["from the future", () => ({ iat: seconds + 600, exp: seconds + 660 })],
    ["whose expiry is no number", () => ({ exp: String(seconds + 60) })],
    ["whose expiry is beyond all time", () => ({ exp: 1e300 })],
    ["whose expiry is before its beginning", () => ({ iat: seconds + 60, exp: seconds + 30 })],
    ["whose id is no text", () => ({ jti: 7 })],
    ["whose subject is a list", () => ({ sub: [keyed.id] })],
    ["without an id", () => ({ jti: undefined })],
    ["of another issuer", () => ({ iss: "https://login.example" })],
    ["in the name of another agent", () => ({ iss: other.id, sub: other.id })],
    ["whose issuer and subject differ", () => ({ sub: other.id })],
    ["of an unknown client", () => ({ iss: "agt_01k9x3v7m2q8r5t1w4y6z0abcd", sub: "agt_01k9x3v7m2q8r5t1w4y6z0abcd" })],
  ])("%s is refused", async (_, changes) => {
    const assertion = await signed(changes());
    await expectRefused(await present(assertion), assertion);
  });

  test("without a signature is refused", async () => {
    await expectRefused(await present(new UnsecuredJWT(claimsOf()).encode()));
  });

  test("under HS256 is refused, whatever it is keyed with", async () => {
    const publicKey = JSON.stringify(await exportJWK(keys.publicKey));
    for (const secret of ["only-a-hash-is-kept", publicKey, agent.secret]) {
      const assertion = await new SignJWT(claimsOf()).setProtectedHeader({ alg: "HS256" }).sign(Buffer.from(secret));
      await expectRefused(await present(assertion), assertion);
    }
  });

  test("signed with a key that is not the agent's is refused, even one it carries itself", async () => {
    const jwk = await exportJWK(strangers.publicKey);
    const assertion = await new SignJWT(claimsOf()).setProtectedHeader({ alg: "ES256", jwk, kid: "one" }).sign(strangers.privateKey);
    await expectRefused(await present(assertion), assertion);
  });

  test.each([7, null, ["one"], { one: 1 }])("whose kid is no text (%j) is refused, and is no fault", async (kid) => {
    const answer = await present(await signed({}, { kid }));
    expect([answer.status, ((await answer.json()) as { error: string }).error]).toEqual([401, "invalid_client"]);
  });

  test("of another type, or for another client_id, is refused", async () => {
    await expectRefused(
      await present(await signed(), { client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:saml2-bearer" }),
    );
    await expectRefused(await present(await signed(), { client_id: agent.id }));
  });

  test.each(["", "a.b.c", "eyJhbGciOiJFUzI1NiJ9..", "x".repeat(9_000)])("that is no JWT (%#) is refused", async (text) => {
    await expectRefused(await present(text));
  });

  test("is not for an agent that has a secret", async () => {
    const assertion = await signed({ iss: agent.id, sub: agent.id });
    await expectRefused(await present(assertion), assertion);
  });
});

test("a suspended agent obtains no token any more", async () => {
  const attributes = { owner: "owner@example.com", purpose: "testing" };
  await plane.registry.declare(new Map([["declared-bot", { name: "declared-bot", ...attributes }]]));
  const issued = await plane.registry.issueCredential("declared-bot", { kind: "secret" }, null, "test");
  if ("fault" in issued) throw new Error(issued.detail);
  const authorization = basic(issued.profile.id, issued.secret ?? "");
  expect((await plane.token(grant(), authorization)).status).toBe(200);
  await plane.registry.declare(new Map());
  await expectRefused(await plane.token(grant(), authorization), issued.secret ?? "");
  await plane.registry.declare(new Map([["declared-bot", { name: "declared-bot", ...attributes }]]));
  expect((await plane.token(grant(), authorization)).status).toBe(200);
});

test("of all the tokens and assertions nothing is kept but the ids that were used", async () => {
  const kept = await plane.store.db.selectFrom("oauth_item").selectAll().execute();
  expect(new Set(kept.map(({ model }) => model))).toEqual(new Set(["ReplayDetection"]));
  expect(JSON.stringify(kept)).not.toMatch(/eyJ|tgs_/);
});

test("ids that were used are forgotten when their assertions have expired", async () => {
  const kept = () => plane.store.db.selectFrom("oauth_item").selectAll().execute();
  expect((await kept()).length).toBeGreaterThan(1);
  await plane.store.db
    .updateTable("oauth_item")
    .set({ expires_ms: plane.world.nowMs - 1 })
    .execute();
  await present(await signed());
  await plane.registry.sweep();
  expect(await kept()).toHaveLength(1);
});

test("nothing of all this was a fault of the server", () => {
  expect(plane.faults).toEqual([]);
});
