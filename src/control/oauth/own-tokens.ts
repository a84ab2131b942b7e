/** RFC 7662 and RFC 7009 for tokens of ours: a client learns of its own, and ends its own. */
import { decodeJwt } from "jose";
import type { VerifyToken } from "../../call/authenticate/verified-token.ts";
import { isRefusal } from "../../refusal.ts";
import type { Registry } from "../agents/registry.ts";

export type OwnTokensParts = {
  readonly publicUrl: string;
  readonly registry: Registry;
  readonly verify: VerifyToken;
  readonly now: () => number;
};

/** The same for what is expired, revoked, another's or no token: nobody learns more by asking. */
const INACTIVE = { active: false } as const;

export async function introspect(parts: OwnTokensParts, clientId: string, text: string): Promise<object> {
  const token = await ownToken(parts, clientId, text);
  if (token === null) return INACTIVE;
  const { iss, sub, aud, client_id, scope, iat, exp, jti, act, subject_issuer, instance, workflow, authorization_details } = token.claims;
  return {
    ...{ active: true, token_type: "Bearer", iss, sub, aud, client_id, scope, iat, exp, jti },
    ...{ act, subject_issuer, instance, workflow, authorization_details },
  };
}

/** Effective at once, here and at every gateway of the registry, and for what was made from it. */
export async function revoke(parts: OwnTokensParts, clientId: string, text: string): Promise<void> {
  const token = await ownToken(parts, clientId, text);
  if (token?.tokenId == null) return;
  await parts.registry.revokeToken(parts.publicUrl, token.tokenId, token.expiresAtMs, clientId);
}

async function ownToken({ publicUrl, verify, now }: OwnTokensParts, clientId: string, text: string) {
  const audience = audienceOf(text);
  if (audience === null) return null;
  const token = await verify(text, { audiences: [audience], use: "access" }, now());
  if (isRefusal(token) || !token.own || token.issuer !== publicUrl || token.clientId !== clientId) return null;
  return token;
}

/** Which route it is for does not matter here: its signature is what proves it ours. */
function audienceOf(text: string): string | null {
  try {
    const { aud } = decodeJwt(text);
    return typeof aud === "string" ? aud : null;
  } catch {
    return null;
  }
}
