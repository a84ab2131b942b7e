/** An issuer's published keys are fetched seldom, read strictly, and kept for a bounded time while their host is down (J06, J08, J26, J27, J32). */
import type { ServerResponse } from "node:http";
import { afterEach, describe, expect, test } from "vitest";
import type { AuthenticatorOptions } from "../../src/call/authenticate/authenticate.ts";
import type { TrustedIssuer } from "../../src/call/authenticate/trusted-issuer.ts";
import {
  authenticator,
  EXTERNAL,
  externalIssuer,
  type Host,
  host,
  type Members,
  makeKey,
  NOW_MS,
  NOW_S,
  noteOf,
  SERVER,
  sendJson,
  token,
} from "./issuer.ts";

const first = makeKey("ES256", "k-1");
const second = makeKey("ES256", "k-2");
const rsa = makeKey("RS256", "rsa");

const hosts: Host[] = [];
afterEach(async () => {
  await Promise.all(hosts.splice(0).map((open) => open.close()));
});

async function serve(answer: Parameters<typeof host>[0]): Promise<Host> {
  const opened = await host(answer);
  hosts.push(opened);
  return opened;
}

const serveSet = (set: () => unknown, contentType?: string) => serve((_, response) => sendJson(response, set(), contentType));
const external = (key = first, claims: Members = {}, header: Members = {}) => token(key, { iss: EXTERNAL, ...claims }, header);
const LONG = { iat: NOW_S, exp: NOW_S + 3600 };
const UNAVAILABLE = "store_unavailable: issuer keys unavailable";
const UNKNOWN_KID = "credential_invalid: kid is not a key of the issuer";

/** An authenticator for one remote issuer, asked at a given number of seconds after NOW. */
function asking(uri: string | null, options: Partial<AuthenticatorOptions> = {}, issuer: Partial<TrustedIssuer> = {}) {
  const faults: string[] = [];
  const authenticate = authenticator({
    issuers: [externalIssuer({ jwks: { kind: "remote", uri }, ...issuer })],
    keysRefused: (_, fault) => faults.push(fault),
    ...options,
  });
  const ask = async (accessToken: string, seconds = 0) =>
    noteOf(await authenticate(`Bearer ${accessToken}`, SERVER, NOW_MS + seconds * 1000));
  return { ask, faults };
}

test("keys are fetched when first needed, once for many calls at a time, and then kept", async () => {
  const keys = await serveSet(() => ({ keys: [first.publicJwk] }), "application/jwk-set+json; charset=utf-8");
  const { ask } = asking(`${keys.url}/jwks`);
  expect(keys.requests).toEqual([]);
  const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => ask(external(first, { jti: `j${i}` }))));
  expect(new Set(answers)).toEqual(new Set(["an agent"]));
  expect(await ask(external(), 299)).toBe("an agent");
  expect(keys.requests).toEqual(["/jwks"]);
});

test("J06, J07 addresses and keys inside a token are never used", async () => {
  const canary = await serveSet(() => ({ keys: [second.publicJwk] }));
  const keys = await serveSet(() => ({ keys: [first.publicJwk] }));
  const { ask } = asking(`${keys.url}/jwks`);
  for (const header of [{ jku: `${canary.url}/jwks` }, { x5u: `${canary.url}/cert` }]) {
    expect(await ask(external(second, {}, header))).toMatch(/^credential_invalid: the header has the member/);
  }
  expect([...canary.requests, ...keys.requests]).toEqual([]);
});

test("J08 10,000 random kids cause one fetch", async () => {
  const keys = await serveSet(() => ({ keys: [first.publicJwk] }));
  const { ask } = asking(`${keys.url}/jwks`);
  const [, payload, signature] = external().split(".");
  const withKid = (kid: string) =>
    `${Buffer.from(`{"alg":"ES256","typ":"at+jwt","kid":"${kid}"}`).toString("base64url")}.${payload}.${signature}`;
  const answers = new Set<string>();
  for (let i = 0; i < 10_000; i++) answers.add(await ask(withKid(`random-${i}`)));
  expect(answers).toEqual(new Set([UNKNOWN_KID]));
  expect(keys.requests).toHaveLength(1);
  await Promise.all(Array.from({ length: 100 }, (_, i) => ask(withKid(`later-${i}`), 31)));
  expect(keys.requests).toHaveLength(2);
});

test("a new key of the issuer is found by its unknown kid, half a minute after the last look", async () => {
  let set: unknown = { keys: [first.publicJwk] };
  const keys = await serveSet(() => set);
  const { ask } = asking(`${keys.url}/jwks`);
  expect(await ask(external())).toBe("an agent");
  set = { keys: [first.publicJwk, second.publicJwk] };
  expect(await ask(external(second), 29)).toBe(UNKNOWN_KID);
  expect(await ask(external(second), 30)).toBe("an agent");
});

test("J26 a key that its issuer removed is refused after 300 s, also for a token that is in memory", async () => {
  let set: unknown = { keys: [first.publicJwk, second.publicJwk] };
  const keys = await serveSet(() => set);
  const { ask } = asking(`${keys.url}/jwks`);
  const kept = external(first, LONG);
  expect(await ask(kept)).toBe("an agent");
  set = { keys: [second.publicJwk] };
  expect(await ask(kept, 299)).toBe("an agent");
  expect(await ask(kept, 300)).toBe(UNKNOWN_KID);
});

test("J26 while the host is down the last good keys count for an hour, then the answer is 503", async () => {
  const keys = await serveSet(() => ({ keys: [first.publicJwk] }));
  const { ask, faults } = asking(`${keys.url}/jwks`, { limits: { maxLifetimeMs: 86_400_000 } });
  const kept = external(first, { iat: NOW_S, exp: NOW_S + 7200 });
  expect(await ask(kept)).toBe("an agent");
  await keys.close();
  expect(await ask(kept, 300)).toBe("an agent");
  expect(await ask(external(first, { ...LONG, jti: "another" }), 3599)).toBe("an agent");
  expect(await ask(kept, 3600)).toBe(UNAVAILABLE);
  expect(new Set(faults)).toEqual(new Set(["keys: cannot be fetched"]));
});

test("a host that is down at first is asked again after 5 s, not at every call", async () => {
  let up = false;
  const keys = await serve((_, response) => (up ? sendJson(response, { keys: [first.publicJwk] }) : response.writeHead(500).end()));
  const { ask } = asking(`${keys.url}/jwks`);
  expect(await ask(external())).toBe(UNAVAILABLE);
  up = true;
  expect(await ask(external(), 4)).toBe(UNAVAILABLE);
  expect(keys.requests).toHaveLength(1);
  expect(await ask(external(), 5)).toBe("an agent");
});

test("J32 an issuer without usable keys refuses, and the others go on", async () => {
  const own = { keys: () => [{ kty: "RSA", kid: "broken" }] };
  const keys = await serveSet(() => ({ keys: [first.publicJwk] }));
  const authenticate = authenticator({
    issuers: [
      externalIssuer({ issuer: "https://broken.example", jwks: { kind: "local", ...own } }),
      externalIssuer({ jwks: { kind: "remote", uri: `${keys.url}/jwks` } }),
    ],
  });
  const broken = await authenticate(`Bearer ${external(first, { iss: "https://broken.example" })}`, SERVER, NOW_MS);
  expect(noteOf(broken)).toBe("store_unavailable: issuer keys unavailable: the local key set is unusable");
  expect(noteOf(await authenticate(`Bearer ${external()}`, SERVER, NOW_MS))).toBe("an agent");
});

test("one issuer is not trusted twice", () => {
  const jwks = { kind: "local" as const, keys: () => [first.publicJwk] };
  expect(() => authenticator({ issuers: [externalIssuer({ jwks }), externalIssuer({ jwks })] })).toThrow("is named twice");
});

test("J14 a key of one issuer never verifies a token of another that has the same kid", async () => {
  const same = makeKey("ES256", "k-1");
  const a = await serveSet(() => ({ keys: [first.publicJwk] }));
  const b = await serveSet(() => ({ keys: [same.publicJwk] }));
  const authenticate = authenticator({
    issuers: [
      externalIssuer({ issuer: "https://a.example", jwks: { kind: "remote", uri: `${a.url}/jwks` } }),
      externalIssuer({ issuer: "https://b.example", jwks: { kind: "remote", uri: `${b.url}/jwks` } }),
    ],
  });
  const ask = async (iss: string, key: typeof first) => noteOf(await authenticate(`Bearer ${token(key, { iss })}`, SERVER, NOW_MS));
  expect(await ask("https://a.example", first)).toBe("an agent");
  expect(await ask("https://b.example", first)).toBe("credential_invalid: the signature does not verify");
  expect(await ask("https://a.example", same)).toBe("credential_invalid: the signature does not verify");
});

describe("a key set that is not sound is refused whole, and the old one kept", () => {
  const rs = (members: Members) => ({ keys: [first.publicJwk, { ...rsa.publicJwk, ...members }] });
  const modulus = (bytes: number) => Buffer.concat([Buffer.from([0xff]), Buffer.alloc(bytes - 1, 1)]).toString("base64url");
  const many = Array.from({ length: 101 }, (_, i) => ({ kty: "EC", crv: "P-256", x: "A", y: "A", kid: `k${i}` }));
  const bad: readonly (readonly [name: string, answer: (response: ServerResponse) => void, fault: string])[] = [
    ["J27 50 MB", (r) => sendJson(r, `{"keys":[],"pad":"${"x".repeat(50_000_000)}"}`), "too large"],
    ["J27 one byte over 64 KiB", (r) => sendJson(r, `{"keys":[]}`.padEnd(65_537)), "too large"],
    ["J27 101 keys", (r) => sendJson(r, { keys: many }), "more keys than are read"],
    ["J27 a redirect", (r) => void r.writeHead(302, { location: "https://evil.example/jwks" }).end(), "the status is not 200"],
    ["J27 another media type", (r) => sendJson(r, { keys: [first.publicJwk] }, "text/html"), "another media type"],
    ["J27 a private key", (r) => sendJson(r, rs({ d: "AQAB" })), "private key material"],
    ["J27 a symmetric key", (r) => sendJson(r, { keys: [first.publicJwk, { kty: "oct", k: "AAAA" }] }), "private key material"],
    ["J27 two keys with one kid", (r) => sendJson(r, rs({ kid: "k-1" })), "two keys with one kid"],
    ["J27 an RSA modulus of 512 bits", (r) => sendJson(r, rs({ n: modulus(64) })), "an RSA modulus outside 2048 to 8192 bits"],
    [
      "J27 an RSA modulus of 2047 bits",
      (r) => sendJson(r, rs({ n: `f${modulus(256).slice(1)}` })),
      "an RSA modulus outside 2048 to 8192 bits",
    ],
    ["J27 an RSA modulus of 65,536 bits", (r) => sendJson(r, rs({ n: modulus(8192) })), "an RSA modulus outside 2048 to 8192 bits"],
    ["J27 an RSA exponent of 1", (r) => sendJson(r, rs({ e: "AQ" })), "an RSA exponent that is even or below 3"],
    ["J27 an even RSA exponent", (r) => sendJson(r, rs({ e: "AQAA" })), "an RSA exponent that is even or below 3"],
    ["J27 a long RSA exponent", (r) => sendJson(r, rs({ e: "AQAAAAAB" })), "an RSA exponent that is too long"],
    ["an RSA key without a modulus", (r) => sendJson(r, rs({ n: undefined })), "an RSA key without modulus or exponent"],
    [
      "a point that is not on the curve",
      (r) => sendJson(r, { keys: [{ ...first.publicJwk, x: second.publicJwk.x }] }),
      "a key that cannot be imported",
    ],
    ["a kid that is a number", (r) => sendJson(r, { keys: [{ ...first.publicJwk, kid: 1 }] }), "a kid that is not a string"],
    ["no keys", (r) => sendJson(r, { keys: [] }), "no key that may verify access tokens"],
    ["not a JWK Set", (r) => sendJson(r, [first.publicJwk]), "not a JWK Set"],
    ["a member twice", (r) => sendJson(r, `{"keys":[],"keys":[]}`), "not strict JSON"],
    [
      "half an answer",
      (r) => void r.writeHead(200, { "content-type": "application/json", "content-length": "1000" }).write("{", () => r.destroy()),
      "cannot be fetched",
    ],
    [
      "a content coding",
      (r) => void r.writeHead(200, { "content-type": "application/json", "content-encoding": "br" }).end("x"),
      "a content coding",
    ],
  ];

  test.each(bad)("%s", async (_name, answer, fault) => {
    let sound = true;
    const keys = await serve((_, response) => (sound ? sendJson(response, { keys: [first.publicJwk, rsa.publicJwk] }) : answer(response)));
    const { ask, faults } = asking(`${keys.url}/jwks`);
    expect(await ask(external(first, LONG))).toBe("an agent");
    sound = false;
    expect(await ask(external(second, LONG), 31)).toBe(UNKNOWN_KID);
    expect(await ask(external(first, LONG), 301)).toBe("an agent");
    expect(faults[0]).toBe(`keys: ${fault}`);
  });

  test("a host that hangs, before or within its answer, is given up", async () => {
    for (const hang of [() => {}, (r: ServerResponse) => void r.writeHead(200, { "content-type": "application/json" }).write("{")]) {
      const keys = await serve((_, response) => hang(response));
      const { ask, faults } = asking(`${keys.url}/jwks`, { limits: { documentTimeoutMs: 50 } });
      expect(await ask(external())).toBe(UNAVAILABLE);
      expect(faults).toEqual(["keys: no whole answer in time"]);
    }
  });
});

test("keys for other uses and of other kinds are left out", async () => {
  const set = { keys: [{ ...second.publicJwk, use: "enc" }, { kty: "EC", crv: "P-384", kid: "p", x: "A", y: "A" }, first.publicJwk] };
  const keys = await serveSet(() => set);
  const { ask } = asking(`${keys.url}/jwks`);
  expect(await ask(external())).toBe("an agent");
  expect(await ask(external(second))).toBe(UNKNOWN_KID);
});

test("keys are not fetched over plain http from another machine", async () => {
  const asked: string[] = [];
  const fetch = (url: string) => {
    asked.push(url);
    return Promise.resolve(Response.json({ keys: [first.publicJwk] }));
  };
  const { ask, faults } = asking("http://login.example.com/jwks", { fetch });
  expect(await ask(external())).toBe(UNAVAILABLE);
  expect([asked, faults]).toEqual([[], ["keys: not an https address"]]);
});

describe("without a configured address the issuer's own metadata names its keys", () => {
  /** An issuer with a path, whose metadata stands at one of the three well-known addresses. */
  const issuerAt = (path: string, metadata: (base: string) => unknown) =>
    serve((request, response, base) => {
      if (request.url === path) return sendJson(response, metadata(base));
      if (request.url === "/t/keys") return sendJson(response, { keys: [first.publicJwk] });
      return response.writeHead(404).end();
    });
  const honest = (base: string) => ({ issuer: `${base}/t`, jwks_uri: `${base}/t/keys` });

  test.each(["/.well-known/oauth-authorization-server/t", "/.well-known/openid-configuration/t", "/t/.well-known/openid-configuration"])(
    "%s",
    async (path) => {
      const idp = await issuerAt(path, honest);
      const { ask } = asking(null, {}, { issuer: `${idp.url}/t` });
      expect(await ask(external(first, { iss: `${idp.url}/t` }))).toBe("an agent");
      expect(idp.requests.slice(-2)).toEqual([path, "/t/keys"]);
    },
  );

  test.each([
    ["another issuer", (base: string) => ({ ...honest(base), issuer: "https://evil.example" }), "metadata: another issuer"],
    ["the issuer with a slash", (base: string) => ({ ...honest(base), issuer: `${base}/t/` }), "metadata: another issuer"],
    ["no jwks_uri", (base: string) => ({ issuer: `${base}/t` }), "metadata: no jwks_uri"],
    [
      "keys over plain http elsewhere",
      (base: string) => ({ issuer: `${base}/t`, jwks_uri: "http://192.0.2.1/keys" }),
      "keys: not an https address",
    ],
  ])("metadata with %s is not followed", async (_name, metadata, fault) => {
    const idp = await issuerAt("/.well-known/oauth-authorization-server/t", metadata);
    const { ask, faults } = asking(null, {}, { issuer: `${idp.url}/t` });
    expect(await ask(external(first, { iss: `${idp.url}/t` }))).toBe(UNAVAILABLE);
    expect(faults).toEqual([fault]);
    expect(idp.requests).toEqual(["/.well-known/oauth-authorization-server/t"]);
  });

  test("an issuer without metadata has no keys", async () => {
    const idp = await issuerAt("/nowhere", honest);
    const { ask, faults } = asking(null, {}, { issuer: `${idp.url}/t` });
    expect(await ask(external(first, { iss: `${idp.url}/t` }))).toBe(UNAVAILABLE);
    expect(faults).toEqual(["metadata: not found"]);
  });
});
