/** RFC 7662: what an issuer says of an opaque token; asked once, believed for a short time, never active by default. */
import { hash } from "node:crypto";
import { LRUCache } from "lru-cache";
import { isRefusal, type Refusal, refuse } from "../../refusal.ts";
import { type Grounds, readGrounds } from "./claims.ts";
import { isObject, type JsonObject } from "./compact.ts";
import { fetchDocument } from "./document.ts";
import { type Identity, readIdentity } from "./identity.ts";
import { type AuthenticateLimits, type Fetch, invalid, type TrustedIssuer } from "./trusted-issuer.ts";

export type Introspected = {
  readonly trusted: TrustedIssuer;
  readonly grounds: Grounds;
  readonly identity: Identity;
  readonly claims: JsonObject;
  /** Until when it is believed without asking again, milliseconds since the epoch. */
  readonly untilMs: number;
};

export type Introspect = (text: string, nowMs: number) => Promise<Introspected | Refusal> | null;

/** A token that its issuer has ended is refused after this time at the latest. */
const BELIEVED_MS = 30_000;
const REFUSED_MS = 5_000;
const ANSWERS_MAX = 10_000;

const INACTIVE = invalid("its issuer does not say that the token is active");
const AWAY = refuse("store_unavailable", { retry_after_ms: REFUSED_MS }, "the introspection endpoint of an issuer cannot be asked");

/** A JWS or JWE in compact form: judged by its signature, whatever an introspection endpoint might say. */
const COMPACT = /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*){2,4}$/;

export function createIntrospection(issuers: readonly TrustedIssuer[], fetch: Fetch, limits: AuthenticateLimits): Introspect {
  const asked = issuers.filter(({ introspection }) => introspection != null);
  const known = new LRUCache<string, { readonly answer: Introspected | Refusal; readonly untilMs: number }>({ max: ANSWERS_MAX });
  const underWay = new Map<string, Promise<Introspected | Refusal>>();

  const issuerOf = (text: string): TrustedIssuer | undefined =>
    COMPACT.test(text) ? undefined : asked.find(({ introspection }) => text.startsWith(introspection?.prefix ?? ""));

  return (text, nowMs) => {
    const trusted = issuerOf(text);
    if (trusted === undefined) return null;
    const digest = hash("sha256", text, "base64");
    const before = known.get(digest);
    if (before !== undefined && nowMs < before.untilMs) return Promise.resolve(before.answer);
    const asking =
      underWay.get(digest) ??
      ask(trusted, text, nowMs, fetch, limits)
        .then((answer) => {
          // An endpoint that is away is asked again by the next call; what it said is not.
          if (answer !== AWAY) known.set(digest, { answer, untilMs: isRefusal(answer) ? nowMs + REFUSED_MS : answer.untilMs });
          return answer;
        })
        .finally(() => underWay.delete(digest));
    underWay.set(digest, asking);
    return asking;
  };
}

async function ask(
  trusted: TrustedIssuer,
  text: string,
  nowMs: number,
  fetch: Fetch,
  limits: AuthenticateLimits,
): Promise<Introspected | Refusal> {
  const { introspection } = trusted;
  if (introspection == null) return INACTIVE;
  const credentials = [introspection.clientId, introspection.clientSecret.reveal()].map(encodeURIComponent).join(":");
  const fetched = await fetchDocument(fetch, introspection.url, ["application/json"], limits, {
    method: "POST",
    headers: { authorization: `Basic ${Buffer.from(credentials).toString("base64")}` },
    body: new URLSearchParams({ token: text, token_type_hint: "access_token" }),
  });
  if ("fault" in fetched) return AWAY;
  const said = fetched.document;
  if (!isObject(said) || said.active !== true) return INACTIVE;
  if (said.iss !== undefined && said.iss !== trusted.issuer) return invalid("the introspection answer is of another issuer");
  // RFC 6749 section 7.1; some issuers write the type of the token here.
  if (said.token_type !== undefined && !/^(bearer|access_token)$/i.test(String(said.token_type)))
    return invalid("the token is no bearer token");
  const seconds = Math.floor(nowMs / 1000);
  // Both may be absent (RFC 7662 section 2.2): then it is believed for as long as an answer is.
  const claims = { ...said, iss: trusted.issuer, iat: said.iat ?? seconds, exp: said.exp ?? seconds + BELIEVED_MS / 1000 };
  const grounds = readGrounds(claims, trusted, limits, nowMs);
  if (isRefusal(grounds)) return grounds;
  const identity = readIdentity(claims, trusted);
  if (isRefusal(identity)) return identity;
  return { trusted, grounds, identity, claims, untilMs: Math.min(grounds.expiresAtMs, nowMs + BELIEVED_MS) };
}
