/** `init`: a folder to begin with: a commented config, a first policy, an agent; it never overwrites. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { readClientFile } from "./client-file.ts";
import { EXIT, Exit, type Io } from "./io.ts";
import { plain } from "./table.ts";
import { casesTemplate, configTemplate, policyTemplate, type ServerLine } from "./templates.ts";

/** By which editors complete and check the files: the folder is the same from the sources and from what is built of them. */
const OWN_SCHEMAS = join(import.meta.dirname, "../../schema");
const SCHEMAS = ["config.schema.json", "policy.schema.json", "cases.schema.json"];

type InitOptions = { readonly from?: string; readonly json?: boolean };

export function registerInit(program: Command, io: Io): void {
  program
    .command("init [dir]")
    .description("write a commented config, a first policy and an agent; nothing is ever overwritten")
    .option("--from <file>", "take the servers of a client file: .mcp.json, Claude, Cursor or VS Code")
    .option("--json", "print JSON instead of text")
    .addHelpText("after", "\nExample:\n  $ tollgate init my-gateway --from .mcp.json")
    .action((dir: string | undefined, options: InitOptions) => init(dir ?? ".", options, io));
}

function init(dir: string, options: InitOptions, io: Io): void {
  const folder = resolve(dir);
  const { servers, notes } = options.from === undefined ? { servers: EXAMPLE_SERVERS, notes: [] } : serversOf(options.from);
  const files = new Map([
    [join(folder, "tollgate.yaml"), configTemplate(servers)],
    [join(folder, "policies", "first.yaml"), policyTemplate(servers.map((server) => server.name))],
    [join(folder, "policies", "first.cases.yaml"), casesTemplate(servers[0]?.name ?? "")],
  ]);
  const standing = [...files.keys()].filter((file) => existsSync(file));
  if (standing.length > 0) throw new Exit(EXIT.no, `${standing.join(", ")}: already there, nothing was written. Choose an empty folder.`);
  // What may well be there already, and is then left as it is.
  files.set(join(folder, ".gitignore"), "data/\n");
  for (const name of SCHEMAS) files.set(join(folder, "schema", name), readFileSync(join(OWN_SCHEMAS, name), "utf8"));
  const written = writeAll(folder, files);
  if (options.json === true) return io.out(JSON.stringify({ written, notes }));
  io.out([...written.map((file) => `wrote ${file}`), ...notes.map(plain), "", ...nextSteps(dir)].join("\n"));
}

function writeAll(folder: string, files: ReadonlyMap<string, string>): string[] {
  try {
    for (const each of ["policies", "schema"]) mkdirSync(join(folder, each), { recursive: true });
    return [...files].filter(([file, text]) => writeNew(file, text)).map(([file]) => file);
  } catch (fault) {
    throw new Exit(EXIT.no, `${folder} cannot be written: ${fault instanceof Error ? fault.message : String(fault)}`);
  }
}

/** False where the file has appeared meanwhile: `wx` never overwrites. */
function writeNew(file: string, text: string): boolean {
  try {
    writeFileSync(file, text, { flag: "wx" });
    return true;
  } catch (fault) {
    if (fault instanceof Error && "code" in fault && fault.code === "EEXIST") return false;
    throw fault;
  }
}

function serversOf(file: string): { servers: readonly ServerLine[]; notes: readonly string[] } {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch {
    throw new Exit(EXIT.usage, `${file} cannot be read`);
  }
  const found = readClientFile(text);
  if ("problem" in found) throw new Exit(EXIT.usage, `${file}: ${found.problem}`);
  return found;
}

function nextSteps(dir: string): string[] {
  const config = dir === "." ? "" : ` -c ${join(dir, "tollgate.yaml")}`;
  return [
    "Next:",
    `  tollgate check${config}`,
    `  tollgate policy test${config}`,
    `  tollgate serve${config}`,
    `  tollgate agent create first-agent${config}      # the agent is declared in policies/first.yaml; this issues its secret`,
  ];
}

const EXAMPLE_SERVERS: readonly ServerLine[] = [
  { name: "everything", yaml: '{ command: [npx, -y, "@modelcontextprotocol/server-everything", stdio] }' },
];
