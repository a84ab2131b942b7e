/** `agent create|list|show`: the registry of a running gateway. */
import type { Command } from "commander";
import { type AdminClient, adminClient, allPages } from "./admin-client.ts";
import { registerAgentImport } from "./agent-import.ts";
import { registerAgentLife } from "./agent-life.ts";
import { branch, type CommonOptions, configOf, leaf, print } from "./command.ts";
import { type CredentialOptions, credentialBody, type IssuedJson, issuedText, withCredentialOptions } from "./credential-options.ts";
import type { Io } from "./io.ts";
import { memberTable, table } from "./table.ts";

export type AgentJson = {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly kind: string;
  readonly customer: string;
  readonly team: string | null;
  readonly workflow: string | null;
  readonly owner: string;
  readonly purpose: string;
  readonly risk_class: string;
};

type CreateOptions = CommonOptions &
  CredentialOptions & {
    readonly team?: string;
    readonly owner?: string;
    readonly purpose?: string;
    readonly customer?: string;
    readonly workflow?: string;
    readonly kind?: string;
    readonly riskClass?: string;
  };

const FILTERS = ["customer", "team", "owner", "state", "kind", "workflow"] as const;
type ListOptions = CommonOptions & { readonly [Name in (typeof FILTERS)[number]]?: string };

export function registerAgent(program: Command, io: Io): void {
  const agent = branch(program, "agent", "agents: who may call through this gateway");
  const create = leaf(
    agent,
    "create <name>",
    "register an agent, or issue the first credential of one that a policy file declares; the secret is shown once",
    'tollgate agent create triage-bot --team support --owner ops@example.com --purpose "sort incoming tickets"',
  )
    .option("--owner <owner>", "who answers for it")
    .option("--purpose <purpose>", "what it is for")
    .option("--team <team>", "its team")
    .option("--customer <customer>", "whose account it works for (default: default)")
    .option("--workflow <workflow>", "its workflow")
    .option("--kind <kind>", "autonomous, service, fleet, collective, synthetic or human-driven (default: autonomous)")
    .option("--risk, --risk-class <class>", "minimal, limited, high or unclassified (default: unclassified)");
  withCredentialOptions(create).action((name: string, options: CreateOptions) => createAgent(name, options, io));
  const list = leaf(agent, "list", "all agents, or those that match", "tollgate agent list --team support --state suspended");
  for (const name of FILTERS) list.option(`--${name} <${name}>`, `of this ${name} alone`);
  list.action(async (options: ListOptions) => {
    const asked = FILTERS.flatMap((name): [string, string][] => (options[name] === undefined ? [] : [[name, options[name]]]));
    const items = await listAgents(adminClient(configOf(options, io), io), asked);
    print(io, options, items, () => agentTable(items));
  });
  leaf(agent, "show <name>", "one agent, by name or id: its credentials, instances and tokens", "tollgate agent show triage-bot").action(
    async (name: string, options: CommonOptions) => {
      const row = await adminClient(configOf(options, io), io).get<AgentJson>(`/agents/${encodeURIComponent(name)}`);
      print(io, options, row, () => agentText(row));
    },
  );
  registerAgentLife(agent, io);
  registerAgentImport(agent, io);
}

type Shown = AgentJson & {
  readonly credentials?: readonly Readonly<Record<string, string | null>>[];
  readonly instances?: readonly string[];
  readonly tokens?: readonly object[];
};

/** Lists are told below the rest: one line a credential, and how many tokens there are. */
function agentText({ credentials = [], instances = [], tokens = [], ...rest }: Shown): string {
  const counts = `instances    ${instances.join(", ") || "-"}\ntokens       ${tokens.length} issued and not ended`;
  const columns = ["id", "kind", "environment", "expires_at", "retired_at", "created_by"];
  const lines = credentials.map((each) => columns.map((column) => each[column]));
  const kept = table(
    columns.map((column) => column.toUpperCase().replace("_", " ")),
    lines,
  );
  return [memberTable(rest), counts, "", credentials.length === 0 ? "no credentials" : kept].join("\n");
}

export function agentTable(items: readonly AgentJson[]): string {
  return table(
    ["NAME", "ID", "STATE", "CUSTOMER", "TEAM", "OWNER", "PURPOSE"],
    items.map((row) => [row.name, row.id, row.state, row.customer, row.team, row.owner, row.purpose]),
  );
}

function listAgents(admin: AdminClient, filters: readonly [string, string][]): Promise<AgentJson[]> {
  return allPages<AgentJson>(admin, "/agents", filters);
}

async function createAgent(name: string, options: CreateOptions, io: Io): Promise<void> {
  const credential = credentialBody(options);
  const created = await adminClient(configOf(options, io), io).post<IssuedJson>("/agents", {
    name,
    owner: options.owner,
    purpose: options.purpose,
    team: options.team,
    customer: options.customer,
    workflow: options.workflow,
    kind: options.kind,
    risk_class: options.riskClass,
    credential,
  });
  print(io, options, created, () => issuedText(created));
}
