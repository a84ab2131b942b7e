/** A leaked credential or token: found by its text, ended at once, and what it was used for is told. */
import { createHash } from "node:crypto";
import { decodeJwt } from "jose";
import type { Reader } from "../../call/record/reader.ts";
import type { Registry } from "../agents/registry.ts";
import { leak } from "./bodies.ts";
import { instantOf } from "./instant.ts";
import { isTheirs } from "./permissions.ts";
import { type Answer, type Caller, NOT_THERE, type Route, route } from "./route.ts";

export type LeakParts = { readonly registry: Registry; readonly reader: Reader; readonly publicUrl: string; readonly now: () => number };

const USES_MAX = 1_000;
const THE_BEGINNING = "1970-01-01T00:00:00.000Z";
/** A token that is ended is remembered as such for at least as long as any token of ours lives. */
const TOKEN_LIFE_MAX_MS = 86_400_000;

type Found = { readonly agentId: string; readonly kind: "credential" | "token"; readonly id: string; end(): Promise<unknown> };

export function leakRoutes(parts: LeakParts): readonly Route[] {
  return [
    route({
      method: "POST",
      path: "/leaks",
      permission: "agents:stop",
      summary: "Ends the credential or token that has leaked, and lists the calls that it made since.",
      body: leak,
      async answer({ caller, body }): Promise<Answer> {
        const since = body.since === undefined ? THE_BEGINNING : instantOf(body.since);
        if (since === null) return { status: 400, detail: "since is an RFC 3339 time or date" };
        const found = await find(parts, caller, body.text.trim(), body.reason ?? "leaked");
        const profile = found === null ? undefined : parts.registry.byId(found.agentId);
        if (found === null || profile === undefined || !isTheirs(caller, profile.customer)) return NOT_THERE;
        const tokens = found.kind === "token" ? [] : await parts.registry.tokensOfCredential(found.id);
        await found.end();
        const uses = await parts.reader.ask("usesOf", [found.id, ...tokens], since, USES_MAX);
        const used = uses.map(({ call_id, time_start, server, target, decision, reason }) => ({
          call_id,
          time: time_start,
          server,
          target,
          decision,
          reason,
        }));
        return {
          status: 200,
          json: { kind: found.kind, id: found.id, agent_id: profile.id, agent: profile.name, revoked: true, uses: used },
        };
      },
    }),
  ];
}

/** The text itself goes no further than here: neither an answer nor a record repeats it. */
async function find({ registry, publicUrl, now }: LeakParts, caller: Caller, text: string, cause: string): Promise<Found | null> {
  const entry = registry.holderOf(createHash("sha256").update(text).digest("base64"));
  if (entry !== undefined) {
    const { agentId, credentialId } = entry;
    return {
      agentId,
      kind: "credential",
      id: credentialId,
      end: () => registry.revokeCredential(agentId, credentialId, cause, caller.name),
    };
  }
  const jti = tokenIdOf(text);
  const token = jti === null ? undefined : await registry.findToken(jti);
  if (token === undefined) return null;
  const until = Math.max(token.expires_ms, now() + TOKEN_LIFE_MAX_MS);
  return {
    agentId: token.agent_id,
    kind: "token",
    id: token.jti,
    end: () => registry.revokeToken(publicUrl, token.jti, until, caller.name),
  };
}

/** Whoever reports it need not prove it: a token that is ended without need is obtained anew in a moment. */
function tokenIdOf(text: string): string | null {
  try {
    return decodeJwt(text).jti ?? null;
  } catch {
    return null;
  }
}
