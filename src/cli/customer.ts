/** `customer create|list|show|suspend|reinstate|end`: whose account agents work for, and what it may have at most. */
import type { Command } from "commander";
import { adminClient, allPages } from "./admin-client.ts";
import { branch, type CommonOptions, configOf, leaf, print } from "./command.ts";
import { EXIT, Exit, type Io } from "./io.ts";
import { memberTable, table } from "./table.ts";

type CustomerJson = {
  readonly key: string;
  readonly state: string;
  readonly tools: readonly string[] | null;
  readonly scopes: readonly string[] | null;
  readonly agents_max: number | null;
  readonly owner: string | null;
};

type CreateOptions = CommonOptions & {
  readonly owner?: string;
  readonly tool?: string[];
  readonly scope?: string[];
  readonly agentsMax?: string;
};

const EVENTS = {
  suspend: ["refuse the calls of all its agents until it is reinstated", 'tollgate customer suspend acme --reason "unpaid"'],
  reinstate: ["let its agents call again", "tollgate customer reinstate acme"],
  end: ["end the contract for good: its agents stay stopped", 'tollgate customer end acme --reason "contract ended"'],
} as const;

export function registerCustomer(program: Command, io: Io): void {
  const customer = branch(program, "customer", "customers: whose account agents work for");
  leaf(
    customer,
    "create <key>",
    "describe a customer and what its agents may have at most",
    'tollgate customer create acme --owner ops@acme.example --tool "tickets/*" --agents-max 20',
  )
    .option("--owner <owner>", "who answers for its agents where nobody else is named")
    .option("--tool <patterns...>", "the only tools that policies can permit them: tickets/*")
    .option("--scope <scopes...>", "the only scopes that they can have")
    .option("--agents-max <count>", "how many agents it may have")
    .action(async (key: string, options: CreateOptions) => {
      const body = { key, owner: options.owner, tools: options.tool, scopes: options.scope, agents_max: countOf(options.agentsMax) };
      const made = await adminClient(configOf(options, io), io).post<CustomerJson>("/customers", body);
      print(io, options, made, () => memberTable(made));
    });
  leaf(customer, "list", "all customers", "tollgate customer list").action(async (options: CommonOptions) => {
    const items = await allPages<CustomerJson>(adminClient(configOf(options, io), io), "/customers", []);
    print(io, options, items, () =>
      table(
        ["KEY", "STATE", "OWNER", "AGENTS MAX", "TOOLS", "SCOPES"],
        items.map((row) => [row.key, row.state, row.owner, row.agents_max, row.tools?.join(" "), row.scopes?.join(" ")]),
      ),
    );
  });
  leaf(customer, "show <key>", "one customer, and how many agents it has", "tollgate customer show acme").action(
    async (key: string, options: CommonOptions) => {
      const row = await adminClient(configOf(options, io), io).get<CustomerJson>(`/customers/${encodeURIComponent(key)}`);
      print(io, options, row, () => memberTable(row));
    },
  );
  for (const [event, [what, example]] of Object.entries(EVENTS)) {
    leaf(customer, `${event} <key>`, what, example)
      .option("--reason <text>", "why, for the record")
      .action(async (key: string, options: CommonOptions & { reason?: string }) => {
        const admin = adminClient(configOf(options, io), io);
        const path = `/customers/${encodeURIComponent(key)}/${event}`;
        const row = await admin.post<CustomerJson & { agents: readonly { name: string }[] }>(path, { reason: options.reason });
        print(io, options, row, () => [`${row.key} is ${row.state}`, ...row.agents.map(({ name }) => `concerns  ${name}`)].join("\n"));
      });
  }
}

function countOf(written: string | undefined): number | undefined {
  if (written === undefined) return undefined;
  if (!/^[0-9]{1,7}$/.test(written)) throw new Exit(EXIT.usage, `--agents-max ${written}: a whole number from 0`);
  return Number(written);
}
