/** `agent create|list|show`: the registry of a running gateway. */
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { type AdminClient, adminClient } from "./admin-client.ts";
import { branch, type CommonOptions, configOf, leaf, print } from "./command.ts";
import { EXIT, Exit, type Io } from "./io.ts";
import { table } from "./table.ts";

type AgentRow = {
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

type CreateOptions = CommonOptions & {
  readonly team?: string;
  readonly owner?: string;
  readonly purpose?: string;
  readonly customer?: string;
  readonly workflow?: string;
  readonly kind?: string;
  readonly risk?: string;
  readonly jwks?: string;
};

export function registerAgent(program: Command, io: Io): void {
  const agent = branch(program, "agent", "agents: who may call through this gateway");
  leaf(
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
    .option("--risk <class>", "minimal, limited, high or unclassified (default: unclassified)")
    .option("--jwks <file>", "register these public keys (a JWK Set) for private_key_jwt instead of a secret")
    .action((name: string, options: CreateOptions) => create(name, options, io));
  leaf(agent, "list", "all agents", "tollgate agent list").action(async (options: CommonOptions) => {
    const items = await allAgents(adminClient(configOf(options, io)));
    print(io, options, items, () =>
      table(
        ["NAME", "ID", "STATE", "TEAM", "OWNER", "PURPOSE"],
        items.map((row) => [row.name, row.id, row.state, row.team, row.owner, row.purpose]),
      ),
    );
  });
  leaf(agent, "show <name>", "one agent, by name or id", "tollgate agent show triage-bot").action(
    async (name: string, options: CommonOptions) => {
      const row = await adminClient(configOf(options, io)).get<AgentRow>(`/agents/${encodeURIComponent(name)}`);
      print(io, options, row, () =>
        table(
          ["", ""],
          Object.entries(row).map(([key, value]) => [key, value === null ? null : String(value)]),
        ).trim(),
      );
    },
  );
}

async function allAgents(admin: AdminClient): Promise<AgentRow[]> {
  const found: AgentRow[] = [];
  for (let after: string | null = ""; after !== null; ) {
    const path: string = `/agents?limit=1000${after === "" ? "" : `&after=${after}`}`;
    const page = await admin.get<{ items: AgentRow[]; next_cursor: string | null }>(path);
    found.push(...page.items);
    after = page.next_cursor;
  }
  return found;
}

async function create(name: string, options: CreateOptions, io: Io): Promise<void> {
  const admin = adminClient(configOf(options, io));
  const created = await admin.post<{ id: string; name: string; client_id: string; client_secret?: string }>("/agents", {
    name,
    owner: options.owner,
    purpose: options.purpose,
    team: options.team,
    customer: options.customer,
    workflow: options.workflow,
    kind: options.kind,
    risk_class: options.risk,
    jwks: options.jwks === undefined ? undefined : readJwks(options.jwks),
  });
  print(io, options, created, () => {
    const secret =
      created.client_secret === undefined ? "authenticates with its own key (private_key_jwt)" : `client_secret  ${created.client_secret}`;
    const note = created.client_secret === undefined ? "" : "\nThe secret is shown this once; only its hash is kept.";
    return `agent          ${created.name}\nclient_id      ${created.client_id}\n${secret}${note}`;
  });
}

function readJwks(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    // What the parser would say repeats a piece of the file, which may be a private key.
    throw new Exit(EXIT.usage, `${file} is not a readable JWK Set`);
  }
}
