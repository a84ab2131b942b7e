/** Pure. A compact JWS read strictly: three canonical parts, and JSON that every parser reads alike. */
import { isRefusal, type Refusal } from "../../refusal.ts";
import { parseStrict } from "./strict-json.ts";
import { invalid } from "./trusted-issuer.ts";

export type JsonObject = { readonly [member: string]: unknown };

export type Compact = { readonly header: JoseHeader; readonly claims: JsonObject };
/** `type` is `typ` as it stands, without the `application/` that RFC 7515 section 4.1.9 lets it have; null: absent. */
export type JoseHeader = { readonly algorithm: string; readonly keyId: string | null; readonly type: string | null };

export function readCompact(accessToken: string): Compact | Refusal {
  const parts = accessToken.split(".", 6);
  if (parts.length === 5) return invalid("an encrypted token (JWE) is not accepted");
  const [head, payload, signature] = parts;
  if (parts.length !== 3 || !head || !payload || !signature) return invalid("the access token does not have three parts");
  const headBytes = decode(head);
  const payloadBytes = decode(payload);
  if (headBytes === null || payloadBytes === null || decode(signature) === null) return invalid("a part is not canonical base64url");
  const members = parseStrict(headBytes);
  if (!isObject(members)) return invalid("the header is not strict JSON");
  const header = readHeader(members);
  if (isRefusal(header)) return header;
  const claims = parseStrict(payloadBytes);
  if (!isObject(claims)) return invalid("the payload is not strict JSON");
  return { header, claims };
}

/** Node ignores unused bits and foreign characters (16 spellings of one ES256 token verify), so only what it would write itself is read. */
function decode(part: string): Buffer | null {
  const bytes = Buffer.from(part, "base64url");
  return bytes.toString("base64url") === part ? bytes : null;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** RFC 8725 section 3.10 for those that name a key; RFC 7515 4.1.11, RFC 7797 and RFC 7516 for those that change the meaning. */
const REFUSED_MEMBERS = ["jku", "x5u", "x5c", "jwk", "crit", "b64", "zip", "enc"] as const;
const KEY_ID_CHARS_MAX = 255;

function readHeader(members: JsonObject): JoseHeader | Refusal {
  for (const member of REFUSED_MEMBERS) {
    if (Object.hasOwn(members, member)) return invalid(`the header has the member ${member}`);
  }
  if (members.typ !== undefined && typeof members.typ !== "string") return invalid("typ is not a string");
  const type = members.typ?.replace(/^application\//, "") ?? null;
  if (typeof members.alg !== "string") return invalid("alg is not a string");
  const keyId = members.kid;
  if (keyId === undefined) return { algorithm: members.alg, keyId: null, type };
  if (typeof keyId !== "string" || keyId === "" || keyId.length > KEY_ID_CHARS_MAX) return invalid("kid is not a short string");
  return { algorithm: members.alg, keyId, type };
}
