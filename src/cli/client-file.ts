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
    document = JSON.parse(withoutComments(text.replace(/^\ufeff/, "")));
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
    const yaml = yamlOf(name, typeof entry === "object" && entry !== null ? entry : {}, notes);
    if (yaml === null) {
      taken.delete(name);
      notes.push(`left out ${key}: it has neither a command nor an http url`);
    } else servers.push({ name, yaml });
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
  const written = typeof entry.url === "string" ? entry.url : entry.serverUrl;
  const url = typeof written === "string" ? urlOf(name, written, notes) : null;
  if (url !== null) return `{ url: ${JSON.stringify(url)}${headerOf(name, entry.headers, notes)} }`;
  if (typeof entry.command !== "string") return null;
  const command = [entry.command, ...(Array.isArray(entry.args) ? entry.args.map(String) : [])].map((part) => JSON.stringify(part));
  return `{ command: [${command.join(", ")}]${envOf(name, entry.env, notes)} }`;
}

/** Keys are often put into the query; which part is one cannot be told, so none of it is copied. */
function urlOf(name: string, written: string, notes: string[]): string | null {
  const url = URL.canParse(written) ? new URL(written) : null;
  if (url === null || !/^https?:$/.test(url.protocol)) return null;
  if (url.username === "" && url.password === "" && url.search === "") return written;
  notes.push(`${name}: its url held a password or a query, which is not copied: give the secret as a credential, and add the rest by hand`);
  url.username = "";
  url.password = "";
  url.search = "";
  return url.href;
}

/** A server here has one credential: further headers are for the reader of the notes to judge. */
function headerOf(name: string, headers: unknown, notes: string[]): string {
  const entries = Object.entries(typeof headers === "object" && headers !== null ? headers : {});
  const [first = null, ...others] = entries.toSorted(([a], [b]) => Number(isAuthorization(b)) - Number(isAuthorization(a)));
  if (first === null) return "";
  const [header, value] = first;
  const variable = variableName(name, header);
  for (const [other] of others) notes.push(`left out the ${other} header of ${name}: a server has one credential`);
  if (isAuthorization(header) && /^bearer /i.test(String(value))) {
    notes.push(`set ${variable} to what ${name} expects in its ${header} header, without the word Bearer`);
    return `, credential: { bearer: "env:${variable}" }`;
  }
  notes.push(`set ${variable} to what ${name} expects in its ${header} header`);
  return `, credential: { header: { name: ${JSON.stringify(header)}, value: "env:${variable}" } }`;
}

function isAuthorization(header: string): boolean {
  return header.toLowerCase() === "authorization";
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

const NAME_CHARS_MAX = 32;

/** Server names are `[a-z0-9-]{1,32}`; two that fold onto one get a number. */
function uniqueName(key: string, taken: Set<string>): string {
  const base =
    key
      .toLowerCase()
      .replace(/[^a-z0-9-]+/g, "-")
      .slice(0, NAME_CHARS_MAX) || "server";
  let name = base;
  for (let i = 2; taken.has(name); i++) name = `${base.slice(0, NAME_CHARS_MAX - `-${i}`.length)}-${i}`;
  taken.add(name);
  return name;
}

/** VS Code files may carry comments and trailing commas; strings stay as they are. */
function withoutComments(text: string): string {
  const bare = text.replace(/("(?:\\.|[^"\\])*")|\/\/[^\n]*|\/\*[\s\S]*?\*\//g, (_, string?: string) => string ?? "");
  return bare.replace(/("(?:\\.|[^"\\])*")|,(?=\s*[}\]])/g, (_, string?: string) => string ?? "");
}
