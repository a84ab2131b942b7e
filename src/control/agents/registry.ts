/** The registry of agents: rows on disk, a directory in memory, every change recorded before it takes effect. */
import type { AgentDirectory, AgentKind, AgentProfile, RiskClass } from "../../call/authenticate/agent.ts";
import { type AgentId, mintId } from "../../ids.ts";
import type { ControlStore } from "../store.ts";
import { hashSecret, mintSecret } from "./secrets.ts";

export type NewAgent = {
  readonly name: string;
  readonly owner?: string | undefined;
  readonly purpose?: string | undefined;
  readonly customer?: string | undefined;
  readonly team?: string | undefined;
  readonly workflow?: string | undefined;
  readonly kind?: AgentKind | undefined;
  readonly riskClass?: RiskClass | undefined;
  /** A JWK Set of public keys for private_key_jwt instead of a secret. */
  readonly jwks?: { readonly keys: readonly object[] } | undefined;
};

/** An agent as a policy file declares it: the file owns these attributes. */
export type DeclaredAgent = Omit<NewAgent, "jwks" | "owner" | "purpose"> & { readonly owner: string; readonly purpose: string };

/** The secret is null where the agent has keys of its own; otherwise this is the only time it is shown. */
export type Issued = { readonly profile: AgentProfile; readonly secret: string | null };

export type Credential = { readonly secretHash: Buffer | null; readonly jwks: string | null };

/** `conflict`: the name is taken. `invalid`: something is missing. `absent`: there is no such agent. */
export type RegistryFault = { readonly fault: "conflict" | "invalid" | "absent"; readonly detail: string };

export type Audit = (
  kind: "agent.created" | "agent.declared" | "agent.suspended" | "credential.issued",
  by: string,
  details: Readonly<Record<string, string | null>>,
) => Promise<void>;

export type Registry = AgentDirectory & {
  all(): readonly AgentProfile[];
  find(idOrName: string): AgentProfile | undefined;
  isDeclared(id: string): boolean;
  credentialsOf(id: string): readonly Credential[];
  /** Registers an agent, or issues the first credential of a declared one. */
  create(agent: NewAgent, by: string): Promise<Issued | RegistryFault>;
  issueCredential(idOrName: string, jwks: NewAgent["jwks"], by: string): Promise<Issued | RegistryFault>;
  /** Brings the declared agents in line with the policy files; a name that has left them is suspended. */
  declare(agents: ReadonlyMap<string, DeclaredAgent>): Promise<void>;
};

/** Names are matched by policies and shown to people; `agt_` is reserved, since policies match id or name. */
const NAME = /^(?!agt_)[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$/;
const TEXT_MAX = 512;

export function openRegistry(store: ControlStore, audit: Audit, now: () => number): Registry {
  const byId = new Map<string, AgentProfile>();
  const byName = new Map<string, AgentProfile>();
  const declared = new Set<string>();
  const keep = (profile: AgentProfile) => {
    byId.set(profile.id, profile);
    byName.set(profile.name, profile);
  };
  for (const row of store.prepare("SELECT * FROM agent ORDER BY id").all() as AgentRow[]) {
    keep(profileOf(row));
    if (row.declared === 1) declared.add(row.id);
  }
  const rows = statements(store);
  const find = (idOrName: string) => byId.get(idOrName) ?? byName.get(idOrName);
  const hasCredential = ({ id }: AgentProfile) => rows.credentials.all(id).length > 0;

  const issue = async (profile: AgentProfile, jwks: NewAgent["jwks"], by: string): Promise<Issued | RegistryFault> => {
    const id = mintId("cred", now());
    await audit("credential.issued", by, {
      agent_id: profile.id,
      agent: profile.name,
      credential_id: id,
      kind: jwks === undefined ? "secret" : "jwks",
    });
    // Two requests may have waited for the audit at once: the second finds a credential.
    if (hasCredential(profile)) return alreadyIssued(profile);
    const secret = jwks === undefined ? mintSecret() : null;
    rows.addCredential.run(
      id,
      profile.id,
      secret === null ? null : hashSecret(secret),
      jwks === undefined ? null : JSON.stringify(jwks),
      iso(now()),
    );
    return { profile, secret };
  };
  const issueCredential: Registry["issueCredential"] = async (idOrName, jwks, by) => {
    const profile = find(idOrName);
    if (profile === undefined) return { fault: "absent", detail: `there is no agent ${idOrName}` };
    if (profile.state !== "active") return { fault: "conflict", detail: `${profile.name} is ${profile.state}` };
    if (hasCredential(profile)) return alreadyIssued(profile);
    return await issue(profile, jwks, by);
  };
  return {
    byId: (id) => byId.get(id),
    byName: (name) => byName.get(name),
    byIdentity: () => undefined,
    byKey: () => undefined,
    isRevoked: () => false,
    all: () => [...byId.values()],
    find,
    isDeclared: (id) => declared.has(id),
    credentialsOf: (id) =>
      (rows.credentials.all(id) as { secret_hash: Buffer | null; jwks: string | null }[]).map(({ secret_hash, jwks }) => ({
        secretHash: secret_hash,
        jwks,
      })),
    issueCredential,
    async create(agent, by) {
      const known = byName.get(agent.name);
      if (known !== undefined && declared.has(known.id)) {
        const fault = onlyDeclared(agent, known);
        return fault ?? (await issueCredential(known.id, agent.jwks, by));
      }
      if (known !== undefined) return { fault: "conflict", detail: `an agent is named ${agent.name} already` };
      const fault = faultOf(agent);
      if (fault !== null) return { fault: "invalid", detail: fault };
      const profile = newProfile(agent, mintId("agt", now()));
      await audit("agent.created", by, detailsOf(profile));
      // Two requests may have waited for the audit at once: the second finds the name taken.
      if (byName.has(agent.name)) return { fault: "conflict", detail: `an agent is named ${agent.name} already` };
      rows.add(profile, false, by, iso(now()));
      keep(profile);
      return await issue(profile, agent.jwks, by);
    },
    async declare(agents) {
      for (const [name, agent] of agents) {
        const known = byName.get(name);
        const profile = newProfile(
          { ...agent, name },
          known?.id ?? mintId("agt", now()),
          known === undefined || known.state === "revoked" ? known?.state : "active",
        );
        if (known !== undefined && declared.has(known.id) && JSON.stringify(known) === JSON.stringify(profile)) continue;
        await audit("agent.declared", "config", detailsOf(profile));
        rows.add(profile, true, "config", iso(now()));
        declared.add(profile.id);
        keep(profile);
      }
      for (const id of declared) {
        const profile = byId.get(id);
        if (profile === undefined || agents.has(profile.name) || profile.state !== "active") continue;
        await audit("agent.suspended", "config", { ...detailsOf(profile), cause: "no policy file declares it any more" });
        const suspended: AgentProfile = { ...profile, state: "suspended" };
        rows.add(suspended, true, "config", iso(now()));
        keep(suspended);
      }
    },
  };
}

function alreadyIssued({ name }: AgentProfile): RegistryFault {
  return { fault: "conflict", detail: `${name} has a credential already` };
}

function faultOf(agent: NewAgent): string | null {
  if (!NAME.test(agent.name)) return "name: 1 to 128 of letters, digits, . _ @ -, and not beginning with agt_";
  if (!agent.owner) return "owner: somebody has to answer for an agent";
  if (!agent.purpose) return "purpose: say what the agent is for";
  const texts = [agent.owner, agent.purpose, agent.customer, agent.team, agent.workflow];
  if (texts.some((text) => text !== undefined && (text === "" || text.length > TEXT_MAX || /\p{Cc}/u.test(text)))) {
    return `texts have 1 to ${TEXT_MAX} characters, no control characters`;
  }
  return null;
}

/** What the file owns cannot be said here. */
function onlyDeclared(agent: NewAgent, known: AgentProfile): RegistryFault | null {
  const said = [agent.owner, agent.purpose, agent.customer, agent.team, agent.workflow, agent.kind, agent.riskClass];
  const kept: (string | null)[] = [known.owner, known.purpose, known.customer, known.team, known.workflow, known.kind, known.riskClass];
  const differs = said.some((value, i) => value !== undefined && value !== kept[i]);
  return differs ? { fault: "conflict", detail: `a policy file declares ${agent.name} and owns its attributes: change them there` } : null;
}

function newProfile(agent: NewAgent, id: AgentId, state: AgentProfile["state"] = "active"): AgentProfile {
  return {
    id,
    name: agent.name,
    kind: agent.kind ?? "autonomous",
    state,
    customer: agent.customer ?? "default",
    team: agent.team ?? null,
    workflow: agent.workflow ?? null,
    owner: agent.owner ?? "",
    purpose: agent.purpose ?? "",
    riskClass: agent.riskClass ?? "unclassified",
    issuer: null,
    account: NO_BOUNDS,
  };
}

function detailsOf({ id, name, kind, customer, team, workflow, owner, purpose, riskClass }: AgentProfile): Record<string, string | null> {
  return { agent_id: id, agent: name, kind, customer, team, workflow, owner, purpose, risk_class: riskClass };
}

type AgentRow = {
  readonly id: AgentId;
  readonly name: string;
  readonly kind: AgentKind;
  readonly state: AgentProfile["state"];
  readonly customer: string;
  readonly team: string | null;
  readonly workflow: string | null;
  readonly owner: string;
  readonly purpose: string;
  readonly risk_class: RiskClass;
  readonly declared: number;
};

function profileOf({ id, name, kind, state, customer, team, workflow, owner, purpose, risk_class }: AgentRow): AgentProfile {
  return { id, name, kind, state, customer, team, workflow, owner, purpose, riskClass: risk_class, issuer: null, account: NO_BOUNDS };
}

const NO_BOUNDS = { tools: null, scopes: null };

function statements(store: ControlStore) {
  const upsert = store.prepare(
    `INSERT INTO agent (id, name, kind, state, customer, team, workflow, owner, purpose, risk_class, declared, created_at, created_by)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, state = excluded.state, customer = excluded.customer, team = excluded.team,
       workflow = excluded.workflow, owner = excluded.owner, purpose = excluded.purpose, risk_class = excluded.risk_class, declared = excluded.declared`,
  );
  return {
    add: (p: AgentProfile, isDeclared: boolean, by: string, at: string) =>
      upsert.run(
        p.id,
        p.name,
        p.kind,
        p.state,
        p.customer,
        p.team,
        p.workflow,
        p.owner,
        p.purpose,
        p.riskClass,
        isDeclared ? 1 : 0,
        at,
        by,
      ),
    addCredential: store.prepare("INSERT INTO credential (id, agent_id, secret_hash, jwks, created_at) VALUES (?, ?, ?, ?, ?)"),
    credentials: store.prepare("SELECT secret_hash, jwks FROM credential WHERE agent_id = ?"),
  };
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
