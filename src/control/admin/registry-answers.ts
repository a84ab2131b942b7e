/** Pure. What the registry says, as the admin API answers it. */
import type { AgentProfile } from "../../call/authenticate/agent.ts";
import type { Issued } from "../agents/agent-life.ts";
import { iso, listOf } from "../agents/profiles.ts";
import type { Registry, RegistryFault } from "../agents/registry.ts";
import type { CredentialRow } from "../tables.ts";
import { isTheirs } from "./permissions.ts";
import type { Answer, Caller } from "./route.ts";

/** Null: there is none, or it is not the caller's to see. */
export function agentOf(registry: Registry, caller: Caller, idOrName: string | undefined): AgentProfile | null {
  const profile = idOrName === undefined ? undefined : registry.find(idOrName);
  return profile !== undefined && isTheirs(caller, profile.customer) ? profile : null;
}

export function elsewhere(caller: Caller): Answer {
  return { status: 403, detail: `this key is bound to the customer ${caller.customer}` };
}

/** Names are one space for all customers: that one cannot be had is said, but not who has it. */
export function unnamed(caller: Caller, answer: Answer): Answer {
  const tells = answer.status === 409 && caller.customer !== null;
  return tells ? { status: 409, detail: "the name is taken, or a policy file declares it" } : answer;
}

const REGISTRY_STATUS = { conflict: 409, invalid: 422, absent: 404 } as const;

export function faultAnswer({ fault, detail }: RegistryFault): Answer {
  return { status: REGISTRY_STATUS[fault], detail };
}

export function agentJson(profile: AgentProfile, registry: Registry): Record<string, unknown> {
  const { riskClass, account: _, ...rest } = profile;
  return { ...rest, risk_class: riskClass, declared: registry.isDeclared(profile.id), client_id: profile.id };
}

export function credentialJson(row: CredentialRow): object {
  const { id, kind, jwks_uri, environment, expires_ms, retired_ms, revoked_ms, created_at, created_by } = row;
  const [expires_at, retired_at, revoked_at] = [expires_ms, retired_ms, revoked_ms].map((ms) => (ms === null ? null : iso(ms)));
  const bounds = { scopes: listOf(row.scopes), servers: listOf(row.servers) };
  return { id, kind, jwks_uri, ...bounds, environment, expires_at, retired_at, revoked_at, created_at, created_by };
}

/** An opaque key is shown under a name of its own: it is a bearer credential, and no client secret. */
export function issuedAnswer(answer: Issued | RegistryFault): Answer {
  if ("fault" in answer) return faultAnswer(answer);
  const { id, name } = answer.profile;
  const shown =
    answer.secret === null ? {} : answer.secret.startsWith("tg_") ? { api_key: answer.secret } : { client_secret: answer.secret };
  return { status: 201, json: { id, name, client_id: id, credential_id: answer.credentialId, ...shown }, made: id };
}
