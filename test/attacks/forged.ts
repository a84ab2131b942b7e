/** Access tokens that an attacker makes of a good one, of the published key and of a key of its own: none of them proves anything. */
import { createHmac, createPublicKey, generateKeyPairSync, sign } from "node:crypto";

/** A JWK of the gateway's own, as anybody can read it. */
export type PublicJwk = Readonly<Record<string, string>> & { readonly kid: string };

const attacker = generateKeyPairSync("ec", { namedCurve: "P-256" });

type Parts = {
  readonly header: Record<string, unknown>;
  readonly claims: Record<string, unknown>;
  readonly token: string;
  readonly jwk: PublicJwk;
};

const encode = (value: unknown) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");

/** Signed with the attacker's own key. */
function signed(header: unknown, claims: unknown): string {
  const input = `${encode(header)}.${encode(claims)}`;
  return `${input}.${sign("sha256", Buffer.from(input), { key: attacker.privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
}

/** Under a secret that everybody knows. */
function hmac({ header, claims }: Parts, secret: string | Buffer): string {
  const input = `${encode({ ...header, alg: "HS256" })}.${encode(claims)}`;
  return `${input}.${createHmac("sha256", secret).update(input).digest("base64url")}`;
}

const pem = (jwk: PublicJwk) => createPublicKey({ key: jwk, format: "jwk" }).export({ type: "spki", format: "pem" });
const ownJwk = () => attacker.publicKey.export({ format: "jwk" });
const [first, second, third] = [0, 1, 2].map((at) => (token: string) => token.split(".")[at] ?? "") as [Part, Part, Part];
type Part = (token: string) => string;

/** The good signature under other claims. */
const resaid = ({ token, claims }: Parts, changes: object) => `${first(token)}.${encode({ ...claims, ...changes })}.${third(token)}`;
const reheaded = ({ token, header }: Parts, changes: object) => `${encode({ ...header, ...changes })}.${second(token)}.${third(token)}`;

const FORGERIES: Readonly<Record<string, (parts: Parts) => string>> = {
  none: ({ header, claims }) => `${encode({ ...header, alg: "none" })}.${encode(claims)}.`,
  "none-of-another-case": ({ header, claims }) => `${encode({ ...header, alg: "NoNe" })}.${encode(claims)}.`,
  "none-with-a-signature": (parts) => reheaded(parts, { alg: "none" }),
  "no-alg": (parts) => reheaded(parts, { alg: "" }),
  "hmac-with-the-public-pem": (parts) => hmac(parts, pem(parts.jwk)),
  "hmac-with-the-public-jwk": (parts) => hmac(parts, JSON.stringify(parts.jwk)),
  "hmac-with-nothing": (parts) => hmac(parts, ""),
  "another-algorithm": (parts) => reheaded(parts, { alg: "RS256" }),
  "key-brought-along": ({ header, claims }) => signed({ ...header, jwk: ownJwk() }, claims),
  "key-at-a-url": ({ header, claims }) => signed({ ...header, jku: "http://127.0.0.1:9/jwks" }, claims),
  "certificate-at-a-url": ({ header, claims }) => signed({ ...header, x5u: "http://127.0.0.1:9/cert" }, claims),
  "under-our-kid": ({ header, claims }) => signed(header, claims),
  "under-a-kid-that-is-a-path": ({ header, claims }) => signed({ ...header, kid: "../../../../dev/null" }, claims),
  "zero-signature": ({ token }) => `${first(token)}.${second(token)}.${Buffer.alloc(64).toString("base64url")}`,
  "no-signature": ({ token }) => `${first(token)}.${second(token)}.`,
  "lives-for-ever": (parts) => resaid(parts, { exp: 253_402_300_799 }),
  "all-scopes": (parts) => resaid(parts, { scope: "mcp admin" }),
  "another-agent": (parts) => resaid(parts, { sub: "agt_00000000000000000000000000", client_id: "agt_00000000000000000000000000" }),
  "another-audience": (parts) => resaid(parts, { aud: `${String(parts.claims.aud)}/x` }),
  "acting-for-somebody": (parts) => resaid(parts, { sub: "root", act: { sub: parts.claims.sub } }),
  "id-token": ({ header, claims }) => signed({ ...header, typ: "JWT" }, { ...claims, nonce: "n" }),
  "critical-extension": (parts) => reheaded(parts, { crit: ["x"], x: 1 }),
  compressed: (parts) => reheaded(parts, { zip: "DEF" }),
  encrypted: ({ token }) => `${first(token)}.${second(token)}.${third(token)}.${second(token)}.${third(token)}`,
  "json-form": ({ token }) => `{"payload":"${second(token)}","protected":"${first(token)}","signature":"${third(token)}"}`,
  padded: ({ token }) => `${token}==`,
  "other-spelling": ({ token }) => `${token.slice(0, -1)}${token.endsWith("A") ? "B" : "A"}`,
  "duplicate-claim": ({ token, claims }) =>
    `${first(token)}.${encode(`${JSON.stringify(claims).slice(0, -1)},"sub":"agt_x"}`)}.${third(token)}`,
  cut: ({ token }) => token.slice(0, -8),
  "two-parts": ({ token }) => token.split(".").slice(0, 2).join("."),
  "opaque-key-of-nobody": () => `tg_live_${"A".repeat(43)}`,
  "opaque-key-cut": () => "tg_live_A",
  "client-secret-as-token": () => `tgs_${"A".repeat(43)}`,
};

export function forged(name: string, token: string, jwk: PublicJwk): string {
  const make = FORGERIES[name];
  if (make === undefined) throw new Error(`there is no forgery ${name}: there is ${Object.keys(FORGERIES).join(", ")}`);
  const part = (at: number) => JSON.parse(Buffer.from(token.split(".")[at] ?? "", "base64url").toString()) as Record<string, unknown>;
  return make({ header: part(0), claims: part(1), token, jwk });
}
