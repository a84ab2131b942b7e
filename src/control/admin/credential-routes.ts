/** Credentials over the admin API: issued, rotated with an overlap, revoked, and found when one has leaked. */

import { type Rotation, replacedBy } from "../agents/credentials.ts";
import { listOf } from "../agents/profiles.ts";
import type { Registry } from "../agents/registry.ts";
import type { CredentialRow } from "../tables.ts";
import { act, newCredential, type SpecOver } from "./bodies.ts";
import { agentOf, credentialJson, faultAnswer, issuedAnswer } from "./registry-answers.ts";
import { notThere, type Route, route } from "./route.ts";

export function credentialRoutes(registry: Registry): readonly Route[] {
  return [
    route({
      method: "GET",
      path: "/agents/:id/credentials",
      permission: "agents:read",
      summary: "The agent's credentials that count, or still count for an overlap; never a secret.",
      body: null,
      async answer({ caller, params }) {
        const profile = agentOf(registry, caller, params.id);
        if (profile === null) return notThere(caller, `there is no agent ${params.id}`);
        return { status: 200, json: { items: registry.credentialsOf(profile.id).map(credentialJson), next_cursor: null } };
      },
    }),
    route({
      method: "POST",
      path: "/agents/:id/credentials",
      permission: "agents:write",
      summary: "Issues a credential, or with `replaces` or `overlap` rotates; the secret is shown this once.",
      body: newCredential,
      async answer({ caller, params, body }) {
        const profile = agentOf(registry, caller, params.id);
        if (profile === null) return notThere(caller, `there is no agent ${params.id}`);
        const { specOver, rotation } = body;
        const spec = specOver(
          rotation === null ? {} : boundsOf(registry.entry(profile.id)?.credentials ?? [], specOver({}).kind, rotation),
        );
        return issuedAnswer(await registry.issueCredential(profile.id, spec, rotation, caller.name));
      },
    }),
    route({
      method: "POST",
      path: "/agents/:id/credentials/:credential/revoke",
      permission: "agents:stop",
      summary: "Ends a credential at once, and every token that it obtained.",
      body: act,
      async answer({ caller, params, body }) {
        const profile = agentOf(registry, caller, params.id);
        if (profile === null) return notThere(caller, `there is no agent ${params.id}`);
        const answer = await registry.revokeCredential(profile.id, params.credential ?? "", body.reason ?? null, caller.name);
        return "fault" in answer ? faultAnswer(answer) : { status: 200, json: credentialJson(answer) };
      },
    }),
  ];
}

/** A rotation never widens by silence: bounds that are not said anew are those of the newest credential that stands, expired or not. */
function boundsOf(rows: readonly CredentialRow[], kind: CredentialRow["kind"], rotation: Rotation): Parameters<SpecOver>[0] {
  const newest = replacedBy(rows, { kind }, rotation).toSorted((a, b) => (a.id < b.id ? 1 : -1))[0];
  if (newest === undefined) return {};
  const scopes = listOf(newest.scopes)?.slice();
  if (kind !== "api_key") return { scopes };
  return { scopes, servers: listOf(newest.servers)?.slice(), environment: newest.environment };
}
