/** `agent suspend|reinstate|revoke|rotate|offboard`: stopping agents, starting them again, and new credentials for old. */
import type { Command } from "commander";
import { adminClient } from "./admin-client.ts";
import type { AgentJson } from "./agent.ts";
import { registerAgentExport } from "./agent-export.ts";
import { type CommonOptions, configOf, leaf, print } from "./command.ts";
import { type CredentialOptions, credentialBody, type IssuedJson, issuedText, withCredentialOptions } from "./credential-options.ts";
import { EXIT, Exit, type Io } from "./io.ts";
import { plain } from "./table.ts";

type ActOptions = CommonOptions & { readonly reason?: string };
type RotateOptions = CommonOptions & CredentialOptions & { readonly overlap: string; readonly replaces?: string };
type CredentialJson = { readonly id: string; readonly kind: string; readonly retired_at: string | null };

const EVENTS = {
  suspend: ["refuse its calls until it is reinstated", 'tollgate agent suspend triage-bot --reason "loops at night"'],
  reinstate: ["let it call again, with the credentials that it had", "tollgate agent reinstate triage-bot"],
  revoke: ["end it for good, with every token that it obtained", 'tollgate agent revoke triage-bot --reason "replaced"'],
} as const;

export function registerAgentLife(agent: Command, io: Io): void {
  registerAgentExport(agent, io);
  for (const [event, [what, example]] of Object.entries(EVENTS)) {
    leaf(agent, `${event} <name>`, what, example)
      .option("--reason <text>", "why, for the record")
      .action(async (name: string, options: ActOptions) => {
        const admin = adminClient(configOf(options, io), io);
        const row = await admin.post<AgentJson>(`/agents/${encodeURIComponent(name)}/${event}`, { reason: options.reason });
        print(io, options, row, () => `${row.name} is ${row.state}`);
      });
  }
  const rotate = leaf(
    agent,
    "rotate <name>",
    "a new credential in the place of the old; both count for the overlap, which is 0 after a leak",
    "tollgate agent rotate triage-bot --overlap 10m",
  )
    .option("--overlap <time>", "how long the old one still counts: 0, 30s, 10m, 2h, 7d", "10m")
    .option("--replaces <credential>", "the one credential to replace (default: all of the same use)");
  withCredentialOptions(rotate).action((name: string, options: RotateOptions) => rotateCredential(name, options, io));
  leaf(
    agent,
    "offboard <owner>",
    "suspend every agent of an owner who leaves, and list them",
    'tollgate agent offboard sam@example.com --reason "left the company"',
  )
    .option("--reason <text>", "why, for the record")
    .action(async (owner: string, options: ActOptions) => {
      const admin = adminClient(configOf(options, io), io);
      const cut = await admin.post<{ suspended: AgentJson[] }>("/agents/offboard", { owner, reason: options.reason });
      print(io, options, cut, () => {
        const names = cut.suspended.map(({ name, id }) => `suspended  ${plain(name)}  ${id}`);
        return names.length === 0 ? `no active agent has the owner ${plain(owner)}` : names.join("\n");
      });
    });
}

async function rotateCredential(name: string, options: RotateOptions, io: Io): Promise<void> {
  const admin = adminClient(configOf(options, io), io);
  const path = `/agents/${encodeURIComponent(name)}/credentials`;
  const said = credentialBody(options);
  if (said === undefined || said.kind === "secret") {
    const { items } = await admin.get<{ items: CredentialJson[] }>(path);
    refuseOtherKind(
      name,
      items.filter((each) => each.retired_at === null && (options.replaces === undefined || each.id === options.replaces)),
    );
  }
  const made = await admin.post<IssuedJson>(path, { ...said, overlap: options.overlap, replaces: options.replaces });
  print(io, options, made, () => issuedText(made));
}

/** A secret never takes the place of a key that the agent holds itself unless that is what was asked for. */
function refuseOtherKind(name: string, standing: readonly CredentialJson[]): void {
  if (standing.some(({ kind }) => kind === "secret") || standing.length === 0) return;
  const flags: Record<string, string> = { jwks: "--jwks FILE", jwks_uri: "--jwks-uri URL", api_key: "--api-key live|test" };
  const kinds = [...new Set(standing.map(({ kind }) => kind))];
  throw new Exit(EXIT.usage, `${name} has ${kinds.join(" and ")}, no secret: say ${kinds.map((kind) => flags[kind]).join(" or ")}`);
}
