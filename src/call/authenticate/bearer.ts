/** Pure. RFC 6750 section 2.1: the one access token of an Authorization header; present but unreadable is final. */
import { type Refusal, refuse } from "../../refusal.ts";
import { invalid } from "./trusted-issuer.ts";

const SCHEME = /^bearer /i;
const SCHEME_CHARS = "bearer ".length;

const MISSING = refuse("credential_missing");
const TOO_LONG = invalid("the access token is too long");
const NOT_BEARER = invalid("the Authorization header is not Bearer, one space, one access token");

/** The text after the scheme. Its alphabet is checked where it is split: a comma, a space or a tab belongs to no part. */
export function accessTokenOf(authorization: string | null, bytesMax: number): string | Refusal {
  if (authorization === null) return MISSING;
  if (authorization.length > SCHEME_CHARS + bytesMax) return TOO_LONG;
  if (!SCHEME.test(authorization)) return NOT_BEARER;
  return authorization.slice(SCHEME_CHARS);
}
