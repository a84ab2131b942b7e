/** `token`: an access token for curl and tests, minted through the admin API and recorded under its key's name. */
import type { Command } from "commander";
import { adminClient } from "./admin-client.ts";
import { type CommonOptions, configOf, leaf, print } from "./command.ts";
import type { Io } from "./io.ts";

type TokenOptions = CommonOptions & { readonly agent: string; readonly server?: string; readonly scope?: string[] };

export function registerToken(program: Command, io: Io): void {
  leaf(
    program,
    "token",
    "an access token for one agent and one server, a view, or all of them",
    "tollgate token --agent triage-bot --server tickets",
  )
    .requiredOption("--agent <name>", "the agent, by name or id")
    .option("--server <server>", "the server or view it is for (default: the only server; with several, /mcp)")
    .option("--scope <scopes...>", "scopes beside mcp")
    .action(async (options: TokenOptions) => {
      const config = configOf(options, io);
      const servers = [...config.servers.keys()];
      const server = options.server ?? (servers.length === 1 ? servers[0] : undefined);
      const answer = await adminClient(config, io).post<{ access_token: string }>(`/agents/${encodeURIComponent(options.agent)}/tokens`, {
        server,
        scope: options.scope?.join(" "),
      });
      print(io, options, answer, () => answer.access_token);
    });
}
