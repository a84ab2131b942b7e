/** A leaked credential or token: found by its text, ended at once, and what it was used for is told. */
import { createHash } from "node:crypto";
import { decodeJwt } from "jose";
import { instantOf } from "../../call/authorize/written.ts";
import type { Leaked, StoredRecord } from "../../call/record/books.ts";
import type { Reader } from "../../call/record/reader.ts";
import { iso } from "../agents/profiles.ts";
import type { Registry, RegistryFault } from "../agents/registry.ts";
import type { AdminKeys } from "./admin-keys.ts";
import { leak } from "./bodies.ts";
import { faultAnswer } from "./registry-answers.ts";
import { type Answer, type Caller, NOT_THERE, type Route, route } from "./route.ts";

export type LeakParts = {
  readonly registry: Registry;
  readonly keys: AdminKeys;
  readonly reader: Reader;
  readonly publicUrl: string;
  /** External ones whose tokens are accepted. */
  readonly issuers: ReadonlySet<string>;
  readonly now: () => number;
};

const USES_MAX = 1_000;
const THE_BEGINNING = "1970-01-01T00:00:00.000Z";
/** A token that is ended is remembered as such for at least as long as any that is accepted may live (`maxLifetime`). */
const TOKEN_LIFE_MAX_MS = 172_800_000;

type Found = {
  readonly kind: "credential" | "token" | "admin_key";
  readonly id: string;
  /** Null: an admin key that is bound to nobody. */
  readonly customer: string | null;
  readonly agentId: string | null;
  /** RFC 3339: before, there was nothing to use. */
  readonly bornAt: string;
  readonly leaked: Leaked;
  end(): Promise<unknown | RegistryFault>;
};

export function leakRoutes(parts: LeakParts): readonly Route[] {
  return [
    route({
      method: "POST",
      path: "/leaks",
      permission: "agents:stop",
      summary: "Ends the credential, token or admin key that has leaked, and lists what it was used for.",
      body: leak,
      async answer({ caller, body }): Promise<Answer> {
        const since = body.since === undefined ? THE_BEGINNING : instantOf(body.since);
        if (since === null) return { status: 400, detail: "since is an RFC 3339 time or date" };
        const found = await find(parts, caller, body.text.trim(), body.reason ?? "leaked");
        if (found === null || !(caller.customer === null || found.customer === caller.customer)) return NOT_THERE;
        const ended = await found.end();
        if (isFault(ended)) return faultAnswer(ended);
        const { kind, id, agentId, bornAt, leaked } = found;
        const from = since > bornAt ? since : bornAt;
        const uses = await parts.reader.ask("usesOf", leaked, from, USES_MAX, caller.customer);
        const agent = agentId === null ? null : (parts.registry.byId(agentId)?.name ?? null);
        return {
          status: 200,
          json: { kind, id, agent_id: agentId, agent, revoked: true, uses: uses.map((use) => useJson(use, leaked.tokens)) },
        };
      },
    }),
  ];
}

/** `certain`: by the very credential. Otherwise the agent made the call with a token that may have been obtained by it. */
function useJson(record: StoredRecord, tokens: readonly string[]): object {
  const { kind, call_id, time_start, server, target, decision, reason, token } = record;
  const certain = token === null || (token.id !== null && tokens.includes(token.id));
  return { kind, call_id, time: time_start, server, target, decision, reason, certain };
}

function isFault(answer: unknown): answer is RegistryFault {
  return typeof answer === "object" && answer !== null && "fault" in answer;
}

/** The text itself goes no further than here: neither an answer nor a record repeats it. */
async function find(parts: LeakParts, caller: Caller, text: string, cause: string): Promise<Found | null> {
  return (
    (await findCredential(parts, caller, text, cause)) ??
    (await findKey(parts, caller, text)) ??
    (await findToken(parts, caller, text)) ??
    findForeign(parts, caller, text)
  );
}

/** Also one that was revoked before: what it was used for until then is asked all the same. */
async function findCredential({ registry, publicUrl }: LeakParts, caller: Caller, text: string, cause: string): Promise<Found | null> {
  const row = await registry.credentialByDigest(createHash("sha256").update(text).digest());
  const profile = row === undefined ? undefined : registry.byId(row.agent_id);
  if (row === undefined || profile === undefined) return null;
  const tokens = [row.id, ...(await registry.tokensOfCredential(row.id))];
  return {
    kind: "credential",
    id: row.id,
    customer: profile.customer,
    agentId: profile.id,
    bornAt: row.created_at,
    leaked: { tokens, agent: row.kind === "secret" ? profile.id : null, administrator: null, issuer: publicUrl },
    end: () => registry.revokeCredential(profile.id, row.id, cause, caller.name),
  };
}

async function findKey({ keys, publicUrl }: LeakParts, caller: Caller, text: string): Promise<Found | null> {
  const key = await keys.byText(text);
  if (key === undefined) return null;
  return {
    kind: "admin_key",
    id: key.id,
    customer: key.customer,
    agentId: null,
    bornAt: key.created_at,
    leaked: { tokens: [], agent: null, administrator: key.name, issuer: publicUrl },
    end: () => keys.revoke(key.id, caller.name),
  };
}

async function findToken({ registry, publicUrl, now }: LeakParts, caller: Caller, text: string): Promise<Found | null> {
  const claims = claimsOf(text);
  const token = claims?.issuer === publicUrl ? await registry.findToken(claims.jti) : undefined;
  const profile = token === undefined ? undefined : registry.byId(token.agent_id);
  if (token === undefined || profile === undefined) return null;
  const until = Math.max(token.expires_ms, now() + TOKEN_LIFE_MAX_MS);
  return {
    kind: "token",
    id: token.jti,
    customer: profile.customer,
    agentId: profile.id,
    bornAt: iso(token.issued_ms),
    leaked: { tokens: [token.jti], agent: null, administrator: null, issuer: publicUrl },
    end: () => registry.revokeToken(publicUrl, token.jti, until, caller.name),
  };
}

/** Of another issuer, which alone can end it everywhere: here it ends at once, with what was made from it. Of no customer, since nobody knows whose it is. */
function findForeign({ registry, issuers, now }: LeakParts, caller: Caller, text: string): Found | null {
  const claims = claimsOf(text);
  if (claims === null || !issuers.has(claims.issuer)) return null;
  const { issuer, jti } = claims;
  return {
    kind: "token",
    id: jti,
    customer: null,
    agentId: null,
    bornAt: THE_BEGINNING,
    leaked: { tokens: [jti], agent: null, administrator: null, issuer },
    end: () => registry.revokeToken(issuer, jti, now() + TOKEN_LIFE_MAX_MS, caller.name),
  };
}

/** Whoever reports it need not prove it: a token that is ended without need is obtained anew in a moment. */
function claimsOf(text: string): { readonly issuer: string; readonly jti: string } | null {
  try {
    const { iss, jti } = decodeJwt(text);
    return typeof iss === "string" && typeof jti === "string" ? { issuer: iss, jti } : null;
  } catch {
    return null;
  }
}
