/** Pure. The rules of the house over source texts: which file may know which, and what a file may look like. */

import { withoutComments } from "./source-text.ts";

export type Sources = ReadonlyMap<string, string>;
export type Violation = { readonly rule: string; readonly file: string; readonly what: string };

/** `eager`: loaded with the file that imports it. */
type Import = { readonly target: string; readonly value: boolean; readonly eager: boolean };

const STEPS = ["accept", "authenticate", "authorize", "budget", "exchange", "forward", "inspect", "record", "sync"];

/** Top-level files that any step may use by value: pure words and the strict scanner. */
const SHARED = ["src/ids.ts", "src/refusal.ts", "src/json.ts"];

/** One home a package: path prefixes where it may be imported. `node:` modules are free. */
export const HOMES: Readonly<Record<string, readonly string[]>> = {
  hono: ["src/call/accept/", "src/control/admin/", "src/control/oauth/"],
  "@hono/node-server": ["src/call/accept/", "src/control/admin/", "src/control/oauth/"],
  jose: ["src/call/authenticate/", "src/control/"],
  oauth4webapi: ["src/call/exchange/"],
  "oidc-provider": ["src/control/oauth/"],
  undici: ["src/call/forward/"],
  "better-sqlite3": ["src/call/record/store.ts", "src/control/store.ts"],
  kysely: ["src/control/"],
  // One home a plane: the registry that gateways share, and the ledger that they write to. Neither plane may know the other's.
  pg: ["src/control/postgres.ts", "src/call/sync/central"],
  "@redis/client": ["src/call/budget/redis-link.ts"],
  "lru-cache": ["src/call/", "src/control/"],
  "@marcbachmann/cel-js": ["src/call/authorize/"],
  "gpt-tokenizer": ["src/call/record/"],
  canonicalize: ["src/call/record/", "src/call/forward/"],
  "js-yaml": ["src/document.ts"],
  zod: ["src/config", "src/call/authorize/", "src/control/admin/"],
  pino: ["src/observe.ts"],
  "prom-client": ["src/observe.ts"],
  commander: ["src/cli/"],
  "@modelcontextprotocol/client": ["src/cli/demo"],
};

const BANNED_NAMES = /(^|[-/])(utils?|helpers?|common|managers?|services?|misc)(\.ts|-|\/)/;
const LINES_MAX = 300;
const CALL_LINES_MAX = 150;
const RUNTIME_DEPENDENCIES_MAX = 22;

export function violations(sources: Sources): Violation[] {
  const found: Violation[] = [];
  for (const [file, text] of sources) {
    const say = (rule: string, what: string) => found.push({ rule, file, what });
    shape(file, text, say);
    const imports = importsOf(file, text);
    for (const each of imports) direction(file, each, say);
    for (const each of imports) home(file, each, say);
    for (const each of imports) laziness(file, each, say);
    if (isPure(text)) purity(text, imports, say);
  }
  for (const file of impureNeighbours(sources)) found.push(file);
  for (const cycle of cycles(sources)) found.push({ rule: "cycle", file: cycle[0] ?? "", what: cycle.join(" -> ") });
  return found;
}

export function dependencyViolations(dependencies: readonly string[], page: string): Violation[] {
  const found: Violation[] = [];
  const say = (what: string) => found.push({ rule: "dependencies", file: "package.json", what });
  if (dependencies.length > RUNTIME_DEPENDENCIES_MAX)
    say(`${dependencies.length} runtime dependencies, at most ${RUNTIME_DEPENDENCIES_MAX}`);
  for (const name of dependencies) {
    if (!page.includes(`| \`${name}\` |`)) say(`${name} has no line in docs/dependencies.md`);
    if (!(name in HOMES)) say(`${name} has no home in the architecture test`);
  }
  return found;
}

export function importedPackages(sources: Sources): Set<string> {
  const targets = [...sources].flatMap(([file, text]) => importsOf(file, text).map(({ target }) => target));
  return new Set(targets.filter((target) => !target.startsWith("src/") && !target.startsWith("node:")).map(packageOf));
}

function packageOf(target: string): string {
  return target
    .split("/")
    .slice(0, target.startsWith("@") ? 2 : 1)
    .join("/");
}

type Say = (rule: string, what: string) => void;

function shape(file: string, text: string, say: Say): void {
  const lines = text.split("\n").length - 1;
  const max = file === "src/call/call.ts" ? CALL_LINES_MAX : LINES_MAX;
  if (lines > max) say("length", `${lines} lines, at most ${max}`);
  if (!/^(#!.*\n)?\/\*\* [A-Z`][^\n]*[.:]/.test(text)) say("header", "the file does not begin with a sentence of what it promises");
  if (BANNED_NAMES.test(file)) say("name", "a file is named for a noun or a verb");
  const code = withoutComments(text);
  // A declaration file tells the shape of somebody else's module.
  if (!file.endsWith(".d.ts") && /^\s*export default\b|\bas default\b/m.test(code)) say("default-export", "exports have names");
  if (/^export (\*|\{[^}]*\}) from /m.test(code)) say("barrel", "a file exports what it defines");
  if (/\bas any\b|: any\b|<any>|\bany\[\]/.test(code)) say("any", "no any");
  if (/@ts-(ignore|nocheck|expect-error)/.test(text)) say("any", "the type checker is not silenced");
  if (/\bconsole\./.test(code)) say("console", "logs go through observe, and the command line speaks through one place");
}

function direction(file: string, { target, value }: Import, say: Say): void {
  if (!target.startsWith("src/")) return;
  if (target.startsWith("src/cli/") && !file.startsWith("src/cli/") && file !== "src/main.ts")
    say("direction", `${target}: the command line is used by nobody`);
  if (target === "src/gateway.ts" && !file.startsWith("src/cli/")) say("direction", `${target}: only the command line starts a gateway`);
  if (!file.startsWith("src/call/")) return;
  if (target.startsWith("src/control/")) say("direction", `${target}: call/ never imports control/`);
  const from = stepOf(file);
  if (from === null) return;
  const to = stepOf(target);
  if (to === null) {
    if (value && !SHARED.includes(target)) say("direction", `${target}: a step takes values only from ids, refusal and json`);
    return;
  }
  if (to > from) say("direction", `${target}: a later step`);
  if (to < from && value) say("direction", `${target}: a value of another step`);
}

/** What a command needs is loaded when it is typed, and what only a gateway needs when one starts. */
function laziness(file: string, { target, eager }: Import, say: Say): void {
  if (!eager || !file.startsWith("src/cli/")) return;
  if (file === "src/cli/program.ts" && target.startsWith("src/") && !EVERY_COMMAND_NEEDS.includes(target))
    say("lazy", `${target}: loaded with the command that needs it, by import()`);
  if (LOADED_LATE.includes(target)) say("lazy", `${target}: loaded where it is used, by import()`);
}

const EVERY_COMMAND_NEEDS = ["src/cli/io.ts", "src/cli/version.ts"];
const LOADED_LATE = ["src/gateway.ts", "src/observe.ts", "src/cli/demo-play.ts"];

function home(file: string, { target }: Import, say: Say): void {
  if (target.startsWith("src/") || target.startsWith("node:")) return;
  const name = packageOf(target);
  if (name === COMPUTED) return say("home", "an import is written out");
  const homes = HOMES[name];
  if (homes === undefined) say("home", `${name} has no home`);
  else if (!homes.some((prefix) => file.startsWith(prefix))) say("home", `${name} lives in ${homes.join(", ")}`);
}

const COMPUTED = "(computed)";

const IMPURE =
  /\bDate\.now\b|\bnew Date\(\)|\bMath\.random\b|\bprocess\.|\bperformance\.|\bset(Timeout|Interval|Immediate)\b|\bqueueMicrotask\b|\bDate\(\)|\bAbortSignal\.timeout\b|\bfetch\(|\bnew Promise\b|\bPromise\.|\basync\b|\bawait\b|\brandom(Bytes|UUID|Int|FillSync)\b|\bgetRandomValues\b/;
const PURE_NODE_MODULES = new Set(["node:crypto", "node:buffer", "node:net"]);

function purity(text: string, imports: readonly Import[], say: Say): void {
  const impure = IMPURE.exec(withoutComments(text));
  if (impure !== null) say("pure", `${impure[0]} in a file that says it is pure`);
  for (const { target, value } of imports) {
    if (value && target.startsWith("node:") && !PURE_NODE_MODULES.has(target)) say("pure", `${target} in a file that says it is pure`);
  }
}

function isPure(text: string): boolean {
  return text.startsWith("/** Pure.");
}

/** What is pure takes no values from what is not, whatever that says of itself. */
function impureNeighbours(sources: Sources): Violation[] {
  const found: Violation[] = [];
  for (const [file, text] of sources) {
    if (!isPure(text)) continue;
    for (const { target, value } of importsOf(file, text)) {
      const neighbour = value ? (sources.get(target) ?? "") : "";
      purity(neighbour, importsOf(target, neighbour), (_, what) => found.push({ rule: "pure", file, what: `${target}: ${what}` }));
    }
  }
  return found;
}

function stepOf(file: string): number | null {
  const step = STEPS.indexOf(/^src\/call\/([a-z]+)\//.exec(file)?.[1] ?? "");
  return step === -1 ? null : step;
}

function importsOf(file: string, text: string): Import[] {
  const code = withoutComments(text);
  const found: Import[] = [];
  for (const match of code.matchAll(/^(?:import|export)\s+(type\s+)?([^"';]*?)\s*from\s+"([^"]+)"/gms)) {
    const value = match[1] === undefined && carriesValue(match[2] ?? "");
    found.push({ target: resolve(file, match[3] ?? ""), value, eager: value });
  }
  for (const match of code.matchAll(/^import\s+"([^"]+)"|\bimport\(\s*(?:"([^"]+)"\s*\)|[^"\s])|\b(?:createRequire|require)\(/gm))
    found.push({ target: resolve(file, match[1] ?? match[2] ?? COMPUTED), value: true, eager: match[1] !== undefined });
  return found;
}

/** `{ type A, b }` carries b; `{ type A }` carries nothing. */
function carriesValue(clause: string): boolean {
  const braces = /\{([^}]*)\}/s.exec(clause);
  if (
    braces === null ||
    clause
      .replace(/\{[^}]*\}/s, "")
      .replace(",", "")
      .trim() !== ""
  )
    return true;
  return (braces[1] ?? "").split(",").some((name) => name.trim() !== "" && !name.trim().startsWith("type "));
}

function resolve(file: string, target: string): string {
  if (!target.startsWith(".")) return target;
  const parts = file.split("/").slice(0, -1);
  for (const part of target.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== ".") parts.push(part);
  }
  return parts.join("/");
}

/** Cycles of value imports, each once, by depth-first search. */
function cycles(sources: Sources): string[][] {
  const found: string[][] = [];
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): void => {
    const at = path.indexOf(file);
    if (at !== -1) found.push([...path.slice(at), file]);
    if (at !== -1 || done.has(file)) return;
    for (const { target, value } of importsOf(file, sources.get(file) ?? ""))
      if (value && sources.has(target)) visit(target, [...path, file]);
    done.add(file);
  };
  for (const file of sources.keys()) visit(file, []);
  return found;
}
