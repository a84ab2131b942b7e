/** Pure. The MCP servers that a client's own file names: `.mcp.json`, Claude, Cursor (`mcpServers`) and VS Code (`servers`). */
import type { ServerLine } from "./templates.ts";

type Entry = {
  readonly command?: unknown;
  readonly args?: unknown;
  readonly env?: unknown;
  readonly url?: unknown;
  readonly serverUrl?: unknown;
  readonly headers?: unknown;
};

export type ClientServers = { readonly servers: readonly ServerLine[]; readonly notes: readonly string[] };

/** Secrets are not copied: they become `env:` references, and a note says which variables to set. */
export function readClientFile(text: string): ClientServers | { problem: string } {
  let document: unknown;
  try {
    document = JSON.parse(withoutComments(text));
  } catch {
    return { problem: "not JSON" };
  }
  const entries = entriesOf(document);
  if (entries === null || Object.keys(entries).length === 0) return { problem: "it names no servers (mcpServers, or servers in VS Code)" };
  const servers: ServerLine[] = [];
  const notes: string[] = [];
  const taken = new Set<string>();
  for (const [key, entry] of Object.entries(entries)) {
    const name = uniqueName(key, taken);
    const yaml = yamlOf(name, entry, notes);
    if (yaml === null) notes.push(`left out ${key}: it has neither a command nor a url`);
    else servers.push({ name, yaml });
  }
  return servers.length === 0 ? { problem: "none of its servers has a command or a url" } : { servers, notes };
}

function entriesOf(document: unknown): Record<string, Entry> | null {
  if (typeof document !== "object" || document === null) return null;
  const holder = document as { mcpServers?: unknown; servers?: unknown; mcp?: { servers?: unknown } };
  const found = holder.mcpServers ?? holder.servers ?? holder.mcp?.servers;
  return typeof found === "object" && found !== null ? (found as Record<string, Entry>) : null;
}

function yamlOf(name: string, entry: Entry, notes: string[]): string | null {
  const url = typeof entry.url === "string" ? entry.url : typeof entry.serverUrl === "string" ? entry.serverUrl : null;
  if (url !== null) return `{ url: ${JSON.stringify(url)}${headerOf(name, entry.headers, notes)} }`;
  if (typeof entry.command !== "string") return null;
  const command = [entry.command, ...(Array.isArray(entry.args) ? entry.args.map(String) : [])].map((part) => JSON.stringify(part));
  return `{ command: [${command.join(", ")}]${envOf(name, entry.env, notes)} }`;
}

function headerOf(name: string, headers: unknown, notes: string[]): string {
  const first = Object.entries(typeof headers === "object" && headers !== null ? headers : {})[0];
  if (first === undefined) return "";
  const variable = variableName(name, first[0]);
  notes.push(`set ${variable} to what ${name} expects in its ${first[0]} header`);
  return `, credential: { header: { name: ${JSON.stringify(first[0])}, value: "env:${variable}" } }`;
}

function envOf(name: string, env: unknown, notes: string[]): string {
  const names = Object.keys(typeof env === "object" && env !== null ? env : {});
  if (names.length === 0) return "";
  const pairs = names.map((each) => `${JSON.stringify(each)}: "env:${variableName(name, each)}"`);
  notes.push(`set ${names.map((each) => variableName(name, each)).join(", ")} for ${name}`);
  return `, env: { ${pairs.join(", ")} }`;
}

function variableName(server: string, key: string): string {
  return `${server}_${key}`
    .toUpperCase()
    .replace(/[^A-Z0-9_]/g, "_")
    .replace(/^(?=[0-9])/, "_");
}

/** Server names are `[a-z0-9-]{1,32}`; two that fold onto one get a number. */
function uniqueName(key: string, taken: Set<string>): string {
  const base =
    key
      .toLowerCase()
      .replace(/[^a-z0-9-]+/g, "-")
      .slice(0, 28) || "server";
  let name = base;
  for (let i = 2; taken.has(name); i++) name = `${base}-${i}`;
  taken.add(name);
  return name;
}

/** VS Code files may carry comments and trailing commas; strings stay as they are. */
function withoutComments(text: string): string {
  const bare = text.replace(/("(?:\\.|[^"\\])*")|\/\/[^\n]*|\/\*[\s\S]*?\*\//g, (_, string?: string) => string ?? "");
  return bare.replace(/("(?:\\.|[^"\\])*")|,(?=\s*[}\]])/g, (_, string?: string) => string ?? "");
}
