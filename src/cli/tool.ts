/** `tool list|diff|approve`: the definitions of tools that count, what has changed in them, and a person's yes to it. */
import type { Command } from "commander";
import { didYouMean } from "../call/authorize/nearest.ts";
import type { Config } from "../config.ts";
import type { ServerName } from "../ids.ts";
import { type AdminClient, adminClient, allPages } from "./admin-client.ts";
import { branch, type CommonOptions, configOf, leaf, print } from "./command.ts";
import { differenceLines } from "./difference-lines.ts";
import { EXIT, Exit, type Io } from "./io.ts";
import { plain, table } from "./table.ts";

type ToolJson = {
  readonly server: string;
  readonly tool: string;
  readonly state: "pinned" | "changed" | "new";
  readonly sha256: string | null;
  readonly pinned_at: string | null;
  readonly pinned_by: string | null;
  readonly seen_sha256: string | null;
  readonly seen_at: string | null;
  readonly flags: readonly string[];
};
export type DetailJson = ToolJson & {
  readonly differences: readonly { readonly path: string; readonly was?: unknown; readonly is?: unknown }[];
};
type ApproveOptions = CommonOptions & { readonly all?: boolean; readonly reason?: string; readonly sha256?: string };

export function registerTool(program: Command, io: Io): void {
  const tool = branch(program, "tool", "tools of the servers, and which of their definitions count");
  leaf(tool, "list [server]", "which tools have been seen, and which wait for a yes", "tollgate tool list tickets --waiting")
    .option("--waiting", "only those whose definition waits for a yes")
    .action(async (server: string | undefined, options: CommonOptions & { waiting?: boolean }) => {
      const config = configOf(options, io);
      if (server !== undefined) known(server, config);
      const rows = await listOf(adminClient(config, io), server ?? null, options.waiting === true);
      print(io, options, rows, () => listText(rows));
    });
  leaf(
    tool,
    "diff <server[/tool]>",
    "what has changed in the definitions that wait for a yes; exit code 1 while there is one",
    "tollgate tool diff tickets/search",
  ).action(async (written: string, options: CommonOptions) => {
    const config = configOf(options, io);
    known(nameOf(written).server, config);
    const details = await waitingOf(adminClient(config, io), written);
    print(io, options, details, () => (details.length === 0 ? `nothing waits: ${plain(written)}` : details.map(detailText).join("\n\n")));
    if (details.length > 0) process.exitCode = EXIT.no;
  });
  leaf(
    tool,
    "approve <server[/tool]>",
    "let the definition that is shown count from now on; --all: those of every tool of the server that waits",
    'tollgate tool approve tickets/search --reason "limit is documented now"',
  )
    .option("--all", "every tool of the server that waits")
    .option("--sha256 <hex>", "only if it is this definition, as tool diff showed it")
    .option("--reason <text>", "why, for the record")
    .action((written: string, options: ApproveOptions) => approve(written, options, io));
}

async function approve(written: string, options: ApproveOptions, io: Io): Promise<void> {
  const { server, tool } = nameOf(written);
  if (tool === null && options.all !== true)
    throw new Exit(EXIT.usage, `name one tool (${server}/TOOL), or say --all for every tool of ${server} that waits`);
  if (tool !== null && options.all === true) throw new Exit(EXIT.usage, "--all is for a server: name no tool beside it");
  if (tool === null && options.sha256 !== undefined) throw new Exit(EXIT.usage, "--sha256 is for one tool");
  const config = configOf(options, io);
  known(server, config);
  const admin = adminClient(config, io);
  const details = await waitingOf(admin, written);
  if (details.length === 0) throw new Exit(EXIT.no, `nothing waits: ${plain(written)}`);
  // What is approved is what this terminal has shown: the gateway refuses where it is another by then.
  const tools = details.map((each) => ({ tool: each.tool, sha256: options.sha256 ?? each.seen_sha256 ?? "" }));
  const approved = await admin.post<{ items: ToolJson[] }>(`/tools/${encodeURIComponent(server)}/approve`, {
    tools,
    reason: options.reason,
  });
  print(io, options, approved.items, () =>
    [...details.map(detailText), approved.items.map((each) => `approved  ${plain(`${each.server}/${each.tool}`)}`).join("\n")].join("\n\n"),
  );
}

/** A slip in a name must not look like a server of which nothing waits. */
function known(server: string, { servers }: Config): void {
  if (servers.has(server as ServerName)) return;
  throw new Exit(EXIT.no, plain(`the config has no server ${server}${didYouMean(server, servers.keys())}`));
}

function nameOf(written: string): { readonly server: string; readonly tool: string | null } {
  const slash = written.indexOf("/");
  if (slash === -1) return { server: written, tool: null };
  const [server, tool] = [written.slice(0, slash), written.slice(slash + 1)];
  if (server === "" || tool === "") throw new Exit(EXIT.usage, `${plain(written)} is neither SERVER nor SERVER/TOOL`);
  return { server, tool };
}

function listOf(admin: AdminClient, server: string | null, waiting: boolean): Promise<ToolJson[]> {
  const path = server === null ? "/tools" : `/tools/${encodeURIComponent(server)}`;
  return allPages<ToolJson>(admin, path, waiting ? [["state", "waiting"]] : []);
}

async function waitingOf(admin: AdminClient, written: string): Promise<DetailJson[]> {
  const { server, tool } = nameOf(written);
  const names = tool === null ? (await listOf(admin, server, true)).map((row) => row.tool) : [tool];
  const details: DetailJson[] = [];
  for (const name of names) details.push(await admin.get<DetailJson>(`/tools/${encodeURIComponent(server)}/${encodeURIComponent(name)}`));
  return details.filter((each) => each.seen_sha256 !== null);
}

function listText(rows: readonly ToolJson[]): string {
  if (rows.length === 0) return "no tool has been seen yet: the gateway reads a server when an agent first lists or calls its tools";
  return table(
    ["TOOL", "STATE", "PINNED", "BY", "SEEN", "FLAGS"],
    rows.map((row) => [`${row.server}/${row.tool}`, row.state, row.pinned_at, row.pinned_by, row.seen_at, row.flags.join(" ")]),
  );
}

function detailText(detail: DetailJson): string {
  const head = `${detail.server}/${detail.tool}  ${detail.state}  sha256:${detail.seen_sha256}`;
  const flags = detail.flags.map((flag) => `  ! ${FLAG_WORDS[flag] ?? flag}`);
  return [plain(head), ...flags, ...differenceLines(detail.differences)].join("\n");
}

const FLAG_WORDS: Readonly<Record<string, string>> = {
  hidden: "it holds characters that do not show: below they stand as \\u....",
  bidi: "it holds characters that turn the order of reading around: below they stand as \\u....",
  oversized: "it is over 16 KiB",
};
