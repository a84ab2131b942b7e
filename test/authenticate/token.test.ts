/** Every token that is not exactly an access token for this route is refused, each for its own reason (threats.md J01 to J24, J30, J31). */
import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { CompactEncrypt, type JWK, SignJWT } from "jose";
import { describe, expect, test } from "vitest";
import type { Agent } from "../../src/call/authenticate/agent.ts";
import type { Refusal } from "../../src/refusal.ts";
import {
  authenticator,
  BOT,
  compact,
  EXTERNAL,
  expectAgent,
  externalIssuer,
  headerOf,
  hmacToken,
  type Members,
  makeKey,
  NOW_MS,
  NOW_S,
  noteOf,
  OWN,
  ownClaims,
  ownIssuer,
  payloadOf,
  ROUTE,
  SERVER,
  signInput,
  token,
} from "./issuer.ts";

const es = makeKey("ES256", "es-1");
const rs = makeKey("RS256", "rs-1");
const ps = makeKey("PS256", "ps-1");
const ed = makeKey("Ed25519", "ed-1");
const foreign = makeKey("ES256", "es-1");
const stranger = makeKey("ES256", "ext-1");

const strangerKeys = [stranger.publicJwk];
const authenticate = authenticator({
  issuers: [ownIssuer(es, rs, ps, ed), externalIssuer({ jwks: { kind: "local", keys: () => strangerKeys } })],
  fetch: () => Promise.reject(new Error("nothing is ever fetched for a token")),
});
const ask = (accessToken: string): Promise<Agent | Refusal> => Promise.resolve(authenticate(`Bearer ${accessToken}`, SERVER, NOW_MS));

const [head = "", body = "", signature = ""] = token(es).split(".");
const encoded = (text: string) => Buffer.from(text).toString("base64url");
const es256With = (bytes: Buffer) => `${head}.${body}.${bytes.toString("base64url")}`;
const ORDER = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const zeros = Buffer.alloc(32);

describe("an access token of each allowed algorithm is accepted", () => {
  test.each([es, rs, ps, ed])("$alg", async (key) => {
    const agent = expectAgent(await ask(token(key)));
    expect(agent.profile.id).toBe(BOT);
  });

  test("as jose signs it, with typ application/at+jwt and aud as a list of one", async () => {
    const signed = await new SignJWT({ ...ownClaims({ aud: [ROUTE] }) })
      .setProtectedHeader({ alg: "ES256", kid: "es-1", typ: "application/at+jwt" })
      .sign(es.privateKey);
    expect(expectAgent(await ask(signed)).tokenId).toBe("jti-1");
  });
});

/** A row: what is wrong, the token, and the note that our own record gets. */
type Row = readonly [name: string, accessToken: string, note: string];

const PARTS = "the access token does not have three parts";
const CANONICAL = "a part is not canonical base64url";
const HEADER = "the header is not strict JSON";
const PAYLOAD = "the payload is not strict JSON";
const ALG = "alg is not allowed for this issuer";
const SIGNATURE = "the signature does not verify";
const publicPem = createPublicKey(rs.privateKey).export({ type: "spki", format: "pem" }) as string;
const publicDer = createPublicKey(rs.privateKey).export({ type: "spki", format: "der" });
const hs = (secret: string | Buffer, members: Members = {}) => hmacToken(secret, headerOf(rs, { alg: "HS256", ...members }), payloadOf());
const unsigned = (alg: unknown, last: string) => `${encoded(headerOf(es, { alg }))}.${body}.${last}`;
const withHeader = (members: Members) => token(es, {}, members);
const attackerJwk: JWK = foreign.publicJwk;

const signatures: Row[] = [
  ["J01 alg none without a signature", unsigned("none", ""), PARTS],
  ["J01 alg none with some signature", unsigned("none", "AA"), ALG],
  ["J01 alg NoNe", unsigned("NoNe", signature), ALG],
  ["J01 alg empty", unsigned("", signature), ALG],
  ["J01 alg missing", unsigned(undefined, signature), "alg is not a string"],
  ["J01 alg a list", unsigned(["ES256"], signature), "alg is not a string"],
  ["J02 HS256 with the public key as PEM", hs(publicPem), ALG],
  ["J02 HS256 with the public key as PEM and a space before", hs(` ${publicPem}`), ALG],
  ["J02 HS256 with the public key as DER", hs(publicDer), ALG],
  ["J02 HS256 with the public key as JWK", hs(JSON.stringify(rs.publicJwk)), ALG],
  ["J03 HS256 with the kid of a key without alg", hs(Buffer.from(rs.publicJwk.n ?? "", "base64url")), ALG],
  ["J04 RS1", withHeader({ alg: "RS1" }), ALG],
  ["J04 ES256K", withHeader({ alg: "ES256K" }), ALG],
  ["J04 PBES2", withHeader({ alg: "PBES2-HS256+A128KW", p2c: 2 ** 31 }), ALG],
  ["J04 EdDSA where only Ed25519 is named", token({ ...ed, alg: "Ed25519" }, {}, { alg: "EdDSA" }), ALG],
  ["RS256 with the name of an EC key", token(rs, {}, { kid: "es-1" }), "alg does not suit the key"],
  ["J07 signed by an attacker under our kid", token(foreign), SIGNATURE],
  ["J08 kid absent with several keys", withHeader({ kid: undefined }), "kid is absent and the issuer has several keys"],
  ["J08 kid unknown", withHeader({ kid: "es-2" }), "kid is not a key of the issuer"],
  ["J08 kid a number", withHeader({ kid: 1 }), "kid is not a short string"],
  ["J08 kid empty", withHeader({ kid: "" }), "kid is not a short string"],
  ["J08 kid of another case", withHeader({ kid: "ES-1" }), "kid is not a key of the issuer"],
  ["J09 r = s = 0", es256With(Buffer.alloc(64)), SIGNATURE],
  ["J09 r = 0", es256With(Buffer.concat([zeros, signInput(`${head}.${body}`, es).subarray(32)])), SIGNATURE],
  ["J09 s = n", es256With(Buffer.concat([signInput(`${head}.${body}`, es).subarray(0, 32), Buffer.from(ORDER, "hex")])), SIGNATURE],
  ["J09 a DER signature", es256With(derOf(signInput(`${head}.${body}`, es))), SIGNATURE],
  ["J14 a key of another issuer under its kid", token(stranger), "kid is not a key of the issuer"],
  ["J14 a key of ours for another issuer", token(es, { iss: EXTERNAL }), "kid is not a key of the issuer"],
  [
    "another payload under a good signature",
    `${head}.${encoded(payloadOf({ sub: "agt_boss", client_id: "agt_boss" }))}.${signature}`,
    SIGNATURE,
  ],
  ["another header under a good signature", `${encoded(`${headerOf(es)} `)}.${body}.${signature}`, SIGNATURE],
];

function derOf(raw: Buffer): Buffer {
  const integer = (bytes: Buffer) => Buffer.concat([Buffer.from([2, 33, 0]), bytes]);
  const both = Buffer.concat([integer(raw.subarray(0, 32)), integer(raw.subarray(32))]);
  return Buffer.concat([Buffer.from([0x30, both.length]), both]);
}

const headers: Row[] = [
  ["J06 jku", withHeader({ jku: "https://evil.example/jwks" }), "the header has the member jku"],
  ["J06 x5u", withHeader({ x5u: "https://evil.example/cert" }), "the header has the member x5u"],
  ["J06 x5c", withHeader({ x5c: ["AA"] }), "the header has the member x5c"],
  [
    "J07 jwk with a matching signature",
    compact(foreign, headerOf(foreign, { jwk: attackerJwk }), payloadOf()),
    "the header has the member jwk",
  ],
  ["J18 typ JWT, an ID token", withHeader({ typ: "JWT" }), "typ is not at+jwt"],
  ["J18 typ logout+jwt", withHeader({ typ: "logout+jwt" }), "typ is not at+jwt"],
  ["J18 typ dpop+jwt", withHeader({ typ: "dpop+jwt" }), "typ is not at+jwt"],
  ["J18 typ oauth-id-jag+jwt", withHeader({ typ: "oauth-id-jag+jwt" }), "typ is not at+jwt"],
  ["J18 typ of another case", withHeader({ typ: "AT+JWT" }), "typ is not at+jwt"],
  ["J18 typ missing", withHeader({ typ: undefined }), "typ is not at+jwt"],
  ["J18 typ a list", withHeader({ typ: ["at+jwt"] }), "typ is not a string"],
  ["J19 crit unknown", withHeader({ crit: ["x"], x: 1 }), "the header has the member crit"],
  ["J19 crit empty", withHeader({ crit: [] }), "the header has the member crit"],
  ["J19 b64 false", withHeader({ b64: false, crit: ["b64"] }), "the header has the member crit"],
  ["J19 b64 alone", withHeader({ b64: true }), "the header has the member b64"],
  ["J20 zip", withHeader({ zip: "DEF" }), "the header has the member zip"],
  ["L9 alg twice", compact(es, `{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"es-1"}`, payloadOf()), HEADER],
  ["alg twice by escape", compact(es, `{"alg":"ES256","\\u0061lg":"ES256","typ":"at+jwt","kid":"es-1"}`, payloadOf()), HEADER],
  ["a header that is a list", compact(es, `["ES256"]`, payloadOf()), HEADER],
  ["a header that is null", compact(es, "null", payloadOf()), HEADER],
];

const forms: Row[] = [
  ["J22 one part", head, PARTS],
  ["J22 two parts", `${head}.${body}`, PARTS],
  ["J22 four parts", `${head}.${body}.${signature}.`, PARTS],
  ["J22 empty parts", "..", PARTS],
  ["J22 an empty header", `.${body}.${signature}`, PARTS],
  ["J22 an empty payload", `${head}..${signature}`, PARTS],
  ["J22 the JSON form of a JWS", JSON.stringify({ payload: body, protected: head, signature }), PARTS],
  ["J20 five parts", `${head}.${body}.${signature}.AA.AA`, "an encrypted token (JWE) is not accepted"],
  ["J20 six parts", `${head}.${body}.${signature}.AA.AA.AA`, PARTS],
  ["J21 over 8 KiB", token(es, { note: "x".repeat(8192) }), "the access token is too long"],
  ["J21 5 MB", `${head}.${"A".repeat(5_000_000)}.${signature}`, "the access token is too long"],
  ["nothing after the scheme", "", PARTS],
  ["L8 junk inside a part", `${head}.${body}.${signature.slice(0, 10)}!${signature.slice(10)}`, CANONICAL],
  ["L8 padding", `${head}.${body}.${signature}==`, CANONICAL],
  ["L8 a newline at the end", `${token(es)}\n`, CANONICAL],
  ["L8 a space at the end", `${token(es)} `, CANONICAL],
  ["base64 instead of base64url", `${head}.${body}.${"+/".repeat(43)}`, CANONICAL],
];

/** The last character of 64 bytes carries 4 unused bits: 15 other characters decode to the same signature. */
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const spellings = [...ALPHABET]
  .map((last) => `${signature.slice(0, -1)}${last}`)
  .filter((other) => other !== signature && Buffer.from(other, "base64url").equals(Buffer.from(signature, "base64url")))
  .map((other): Row => [`L8 another spelling of the signature, ${other.at(-1)}`, `${head}.${body}.${other}`, CANONICAL]);

const raw = (text: string | Buffer) => compact(es, headerOf(es), text);
const rawClaim = (member: string) => raw(payloadOf().replace(/}$/, `,${member}}`));
const numbers = (exp: string) => raw(payloadOf({ exp: undefined }).replace(/}$/, `,"exp":${exp}}`));
const EXP = "exp is not a whole number of seconds";
const AUD = "aud is not exactly one audience";
const OTHER_AUD = "aud is not this resource";
const SUB = "sub is not a clean string";
const SCOPE = "scope is not a list of scopes";

const claims: Row[] = [
  ["L9 a claim twice", rawClaim(`"sub":"agt_boss"`), PAYLOAD],
  ["L9 a claim twice by escape", rawClaim(`"\\u0073ub":"agt_boss"`), PAYLOAD],
  ["L9 a BOM before the payload", raw(`\ufeff${payloadOf()}`), PAYLOAD],
  [
    "invalid UTF-8 in the payload",
    raw(Buffer.concat([Buffer.from(`{"x":"`), Buffer.from([0xff]), Buffer.from(`",${payloadOf().slice(1)}`)])),
    PAYLOAD,
  ],
  ["a lone surrogate", rawClaim(`"x":"\\ud800"`), PAYLOAD],
  ["text after the payload", raw(`${payloadOf()}{}`), PAYLOAD],
  ["a payload that is a list", raw(`[${payloadOf()}]`), PAYLOAD],
  ["a payload that is a string", raw(`"sub"`), PAYLOAD],
  ["J12 exp missing", token(es, { exp: undefined }), EXP],
  ["J12 exp null", token(es, { exp: null }), EXP],
  ["J12 exp a string", token(es, { exp: String(NOW_S + 600) }), EXP],
  ["J12 exp a float", token(es, { exp: NOW_S + 600.5 }), EXP],
  ["J12 exp negative", token(es, { exp: -1 }), EXP],
  ["J12 exp 0", token(es, { exp: 0 }), EXP],
  ["J12 exp 9e99", numbers("9e99"), EXP],
  ["J12 the lifetime one second above the maximum", token(es, { iat: NOW_S, exp: NOW_S + 3601 }), "the lifetime is too long"],
  ["exp before iat", token(es, { iat: NOW_S + 5, exp: NOW_S + 4 }), "exp is not after iat"],
  ["iat missing", token(es, { iat: undefined }), "iat is not a whole number of seconds"],
  ["iat a string", token(es, { iat: "1" }), "iat is not a whole number of seconds"],
  ["nbf a string", token(es, { nbf: "1" }), "nbf is not a whole number of seconds"],
  ["J14 iss missing", token(es, { iss: undefined }), "iss is not a trusted issuer"],
  ["J14 iss unknown", token(es, { iss: "https://evil.example" }), "iss is not a trusted issuer"],
  ["J14 iss a list", token(es, { iss: [OWN] }), "iss is not a trusted issuer"],
  ["J14 iss with a trailing slash", token(es, { iss: `${OWN}/` }), "iss is not a trusted issuer"],
  ["J14 iss with an upper-case host", token(es, { iss: "https://GW.example" }), "iss is not a trusted issuer"],
  ["J15 aud missing", token(es, { aud: undefined }), AUD],
  ["J15 aud of another route", token(es, { aud: "https://gw.example/mcp/billing" }), OTHER_AUD],
  ["J15 aud of the whole gateway", token(es, { aud: "https://gw.example/mcp" }), OTHER_AUD],
  ["J15 aud ours and another", token(es, { aud: [ROUTE, "https://other.example"] }), AUD],
  ["J15 aud ours twice", token(es, { aud: [ROUTE, ROUTE] }), AUD],
  ["J15 aud an empty list", token(es, { aud: [] }), AUD],
  ["J15 aud an object", token(es, { aud: { 0: ROUTE } }), AUD],
  ["J15 aud a nested list", token(es, { aud: [[ROUTE]] }), AUD],
  ["J15 aud a list of words in one string", token(es, { aud: `${ROUTE} https://other.example` }), OTHER_AUD],
  ["J15 aud with a trailing slash", token(es, { aud: `${ROUTE}/` }), OTHER_AUD],
  ["J15 aud as a prefix", token(es, { aud: `${ROUTE}.evil` }), OTHER_AUD],
  ["J15 aud with an upper-case host", token(es, { aud: "https://GW.example/mcp/tickets" }), OTHER_AUD],
  ["J16 sub missing", token(es, { sub: undefined }), SUB],
  ["J16 sub a number", token(es, { sub: 7 }), SUB],
  ["J16 sub empty", token(es, { sub: "" }), SUB],
  ["J16 sub of 256 bytes", token(es, { sub: "é".repeat(128) }), SUB],
  ["J16 sub with NUL", token(es, { sub: "agt_bot\0" }), SUB],
  ["J16 sub with a newline", token(es, { sub: "agt_bot\n" }), SUB],
  ["J16 sub with a bidirectional mark", token(es, { sub: "agt_\u202ebot" }), SUB],
  ["J16 sub with a zero-width space", token(es, { sub: "agt_bot\u200b" }), SUB],
  ["client_id missing in a token of ours", token(es, { client_id: undefined }), "client_id or jti is missing"],
  ["client_id of another agent", token(es, { client_id: "agt_other" }), "client_id is not the agent"],
  ["jti missing in a token of ours", token(es, { jti: undefined }), "client_id or jti is missing"],
  ["jti a number", token(es, { jti: 7 }), "client_id or jti is not a clean string"],
  ["a token bound to a key", token(es, { cnf: { jkt: "x" } }), "the access token is bound to a key and came as a bearer token"],
  ["J24 scope a list", token(es, { scope: ["mcp"] }), SCOPE],
  ["J24 both scope and scp", token(es, { scp: ["mcp"] }), "both scope and scp are present"],
  ["J24 scope with two spaces", token(es, { scope: "mcp  admin" }), SCOPE],
  ["J24 scope with a tab", token(es, { scope: "mcp\tadmin" }), SCOPE],
  ["J24 scope with a newline", token(es, { scope: "mcp\nadmin" }), SCOPE],
  ["J24 scope with a no-break space", token(es, { scope: "read\u00a0admin" }), SCOPE],
  ["J24 scope with a space at the end", token(es, { scope: "mcp " }), SCOPE],
  ["J24 scope with a quote", token(es, { scope: `mcp"` }), SCOPE],
  ["J24 101 scopes", token(es, { scope: Array.from({ length: 101 }, (_, i) => `s${i}`).join(" ") }), "scope has too many scopes"],
  ["act a string", token(es, { act: "agt_bot" }), "act is not a chain of at most 4 actors"],
  ["act without sub", token(es, { act: {} }), "act is not a chain of at most 4 actors"],
  [
    "act of another issuer in a token of ours",
    token(es, { sub: "ann", act: { sub: BOT, iss: EXTERNAL } }),
    "act is not a chain of at most 4 actors",
  ],
  ["O31 five actors", token(es, { sub: "ann", act: chain(5) }), "act is not a chain of at most 4 actors"],
  ["roles a string", token(es, { roles: "admin" }), "roles is not a list of clean strings"],
  ["instance a number", token(es, { instance: 1 }), "instance or workflow is not a clean string"],
];

function chain(length: number): Members {
  return length === 1 ? { sub: "agt_last" } : { sub: length === 5 || length === 4 ? BOT : `agt_${length}`, act: chain(length - 1) };
}

describe.each([
  ["signature and key", signatures],
  ["header", headers],
  ["form", forms],
  ["spelling", spellings],
  ["claim", claims],
])("a wrong %s is refused", (_, rows) => {
  test.each(rows)("%s", async (_name, accessToken, note) => {
    expect(noteOf(await ask(accessToken))).toBe(`credential_invalid: ${note}`);
    // A second look finds nothing in memory.
    expect(noteOf(await ask(accessToken))).toBe(`credential_invalid: ${note}`);
  });
});

test("15 other spellings of one ES256 signature are tried", () => {
  expect(spellings).toHaveLength(15);
});

test("J12 exp 1e400 is refused, whichever reader sees it first", async () => {
  expect(noteOf(await ask(numbers("1e400")))).toMatch(
    /^credential_invalid: (the payload is not strict JSON|exp is not a whole number of seconds)$/,
  );
});

test("J20 a JWE around an unsigned token, made with our public key, is refused", async () => {
  const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const inner = Buffer.from(`${encoded(`{"alg":"none"}`)}.${body}.`);
  const jwe = await new CompactEncrypt(inner).setProtectedHeader({ alg: "RSA-OAEP", enc: "A128GCM" }).encrypt(publicKey);
  expect(noteOf(await ask(jwe))).toBe("credential_invalid: an encrypted token (JWE) is not accepted");
});

describe("time is judged with 30 s of skew on each side", () => {
  test.each([
    ["J13 exp one second ago", { exp: NOW_S - 1 }, "an agent"],
    ["J13 exp 29 s ago", { exp: NOW_S - 29, iat: NOW_S - 100 }, "an agent"],
    ["J13 exp 31 s ago", { exp: NOW_S - 31, iat: NOW_S - 100 }, "credential_invalid: the access token has expired"],
    ["J13 nbf in 30 s", { nbf: NOW_S + 30 }, "an agent"],
    ["J13 nbf in 31 s", { nbf: NOW_S + 31 }, "credential_invalid: nbf is in the future"],
    ["J13 iat in 30 s", { iat: NOW_S + 30 }, "an agent"],
    ["J13 iat in 31 s", { iat: NOW_S + 31 }, "credential_invalid: iat is in the future"],
    ["the longest lifetime", { iat: NOW_S, exp: NOW_S + 3600 }, "an agent"],
  ])("%s", async (_name, members, said) => {
    expect(noteOf(await ask(token(es, members)))).toBe(said);
  });
});

describe("the Authorization header holds one bearer token and nothing else", () => {
  const good = token(es);
  const SCHEME = "credential_invalid: the Authorization header is not Bearer, one space, one access token";
  test.each([
    ["none at all", null, "credential_missing: null"],
    ["J30 bearer in lower case", `bearer ${good}`, "an agent"],
    ["J30 BEARER in upper case", `BEARER ${good}`, "an agent"],
    ["J30 two spaces", `BEARER  ${good}`, `credential_invalid: ${CANONICAL}`],
    ["J30 a tab", `Bearer\t${good}`, SCHEME],
    ["J30 two tokens", `Bearer ${good}, Bearer ${good}`, `credential_invalid: an encrypted token (JWE) is not accepted`],
    ["J30 two short tokens", "Bearer a, Bearer b", `credential_invalid: ${PARTS}`],
    ["J30 Basic and Bearer", `Basic YTpi, Bearer ${good}`, SCHEME],
    ["J31 an empty header", "", SCHEME],
    ["J31 the scheme alone", "Bearer", SCHEME],
    ["J31 the scheme and a space", "Bearer ", `credential_invalid: ${PARTS}`],
    ["J31 Basic", "Basic YTpi", SCHEME],
    ["J31 a token without a scheme", good, SCHEME],
    ["O37 DPoP with an unbound token", `DPoP ${good}`, SCHEME],
    ["an API key", "ApiKey 1234", SCHEME],
  ])("%s", async (_name, authorization, said) => {
    expect(noteOf(await authenticate(authorization, SERVER, NOW_MS))).toBe(said);
  });
});

test("EdDSA is accepted where the issuer names it", async () => {
  const own = authenticator({ issuers: [{ ...ownIssuer(ed), algorithms: ["EdDSA"] }] });
  expect(noteOf(await own(`Bearer ${token(ed, {}, { alg: "EdDSA" })}`, SERVER, NOW_MS))).toBe("an agent");
  expect(noteOf(await own(`Bearer ${token(ed)}`, SERVER, NOW_MS))).toBe(`credential_invalid: ${ALG}`);
});

test("a token without kid is accepted where the issuer has one key only", async () => {
  const own = authenticator({ issuers: [ownIssuer(es)] });
  expect(noteOf(await own(`Bearer ${token(es, {}, { kid: undefined })}`, SERVER, NOW_MS))).toBe("an agent");
});

test("a key whose own alg or use says otherwise does not verify", async () => {
  const restricted = [{ ...rs.publicJwk, alg: "PS256" }, { ...es.publicJwk, use: "enc" }, ed.publicJwk];
  const own = authenticator({ issuers: [{ ...ownIssuer(), jwks: { kind: "local", keys: () => restricted } }] });
  expect(noteOf(await own(`Bearer ${token(rs)}`, SERVER, NOW_MS))).toBe("credential_invalid: alg does not suit the key");
  expect(noteOf(await own(`Bearer ${token(es)}`, SERVER, NOW_MS))).toBe("credential_invalid: kid is not a key of the issuer");
});

test("a refusal's note holds nothing of the token", async () => {
  const marked = token(es, { sub: "canary\n", client_id: "canary", scope: "canary" }, { kid: "canary" });
  expect(JSON.stringify(await ask(marked))).not.toContain("canary");
});
