/** Reads the folder of policy files: either one compiled set with the agents it declares, or everything that is wrong, with its line. */
import { createHash } from "node:crypto";
import { readdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { type PolicySet, policySetOf } from "./call/authorize/candidates.ts";
import type { InspectorFacts } from "./call/authorize/guards.ts";
import { type Known, NOTHING_KNOWN } from "./call/authorize/known.ts";
import type { MeterFacts } from "./call/authorize/meter-facts.ts";
import { type DeclaredAgent, policyFileSchema, policyJsonSchema, readablePart } from "./call/authorize/policy-file.ts";
import { compilePolicies, type PolicyFault, type PolicySource, type ServerFacts } from "./call/authorize/policy-set.ts";
import { reviewPolicies } from "./call/authorize/review.ts";
import { codeOf, type Document, inWords, type Problem, readDocument, sortProblems } from "./document.ts";
import { problemAtKey, problemAtValue, problemsOf } from "./issues.ts";
import { guardFaults, unusedInspectors } from "./policy-guards.ts";

export type Policies = {
  readonly policySet: PolicySet;
  /** By name. The files own their attributes. */
  readonly agents: ReadonlyMap<string, DeclaredAgent>;
  /** What is allowed, and is hardly meant. */
  readonly warnings: readonly Problem[];
  /** What conditions ask of arguments and no known tool has: wrong at `check`; a gateway starts all the same. */
  readonly mismatches: readonly Problem[];
  /** What could not be looked at. */
  readonly notes: readonly Problem[];
};
export type PolicyProblems = Pick<Policies, "warnings" | "mismatches" | "notes"> & { readonly problems: readonly Problem[] };

/** What the policies are compared with. `inspectors` null: the config cannot be read, so that nothing is known of them. */
export type Beside = { readonly known?: Known; readonly inspectors?: InspectorFacts | null; readonly meters?: MeterFacts | null };

export function loadPolicies(
  folder: string,
  servers: ServerFacts,
  mode: PolicySet["mode"] = "enforce",
  { known = NOTHING_KNOWN, inspectors = null, meters = null }: Beside = {},
): Policies | PolicyProblems {
  const names = policyFilesIn(folder);
  if (typeof names === "string") return { problems: [atStart(folder, names)], warnings: [], mismatches: [], notes: [] };
  const documents = new Map(names.map((name) => [`${basename(folder)}/${name}`, readDocument(join(folder, name), "regular")]));
  const problems = [...documents.values()].flatMap((document) => document.problems);
  const tooMany = tooManyRules([...documents.values()]);
  if (tooMany !== null) return { problems: sortProblems([...problems, atStart(folder, tooMany)]), warnings: [], mismatches: [], notes: [] };
  const sources: PolicySource[] = [];
  for (const [file, document] of documents) {
    if (document.data === undefined) continue;
    const parsed = policyFileSchema.safeParse(document.data ?? {});
    if (!parsed.success) problems.push(...problemsOf(document, parsed.error.issues, policyJsonSchema()));
    const policy = parsed.success ? parsed.data : readablePart(document.data);
    sources.push({ file, policy, lineOf: (path) => document.locate(path).line });
  }
  const compiled = compilePolicies(sources, servers, versionOf(documents), inspectors ?? undefined, meters);
  const placed = (fault: PolicyFault): Problem[] => placeFault(documents.get(fault.file), fault);
  problems.push(...[...compiled.faults, ...guardFaults(sources, inspectors)].flatMap(placed));
  const review = reviewed(() => reviewPolicies(sources, compiled.rules, known, Date.now()));
  const [mismatches = [], noted = []] = [review.mismatches, review.notes].map((faults) => sortProblems(faults.flatMap(placed)));
  const notes =
    review.failed === null ? noted : [atStart(folder, `the policies could not be compared with the tools: ${review.failed}`), ...noted];
  const warnings = [...compiled.warnings, ...review.warnings].flatMap(placed);
  for (const name of unusedInspectors(compiled.rules.rules, inspectors))
    warnings.push(atStart(folder, `no entitlement is inspected by ${name}, so that it is never asked`));
  if (compiled.rules.rules.length === 0 && problems.length === 0)
    warnings.push(atStart(folder, "no entitlement here: nothing is permitted, every call will be refused"));
  const said = { warnings: sortProblems(warnings), mismatches, notes };
  if (problems.length > 0) return { problems: sortProblems(problems), ...said };
  return { policySet: policySetOf(compiled.rules, mode), agents: declaredAgents(sources), ...said };
}

/** It helps whoever writes policies. What servers say of their tools is in it, and must not keep a set from counting. */
function reviewed(review: () => ReturnType<typeof reviewPolicies>): ReturnType<typeof reviewPolicies> & { readonly failed: string | null } {
  try {
    return { ...review(), failed: null };
  } catch (fault) {
    return { mismatches: [], warnings: [], notes: [], failed: fault instanceof Error ? fault.message : String(fault) };
  }
}

/** 10,000 load within a second, and a gateway reads its policies anew at every change: this many take it several. */
const RULES_MAX = 100_000;

function tooManyRules(documents: readonly Document[]): string | null {
  const lists = documents.flatMap(({ data }) => (typeof data === "object" && data !== null ? Object.values(data) : []));
  const count = lists.reduce((sum: number, list: unknown) => sum + (Array.isArray(list) ? list.length : 0), 0);
  return count <= RULES_MAX
    ? null
    : `the files hold ${count} entitlements, limits and budgets; at most ${RULES_MAX} are read. Patterns and groups say more with less`;
}

/** What the files look like, without reading them: another appearance may be another set. */
export function appearanceOf(folder: string): string {
  try {
    return readdirSync(folder)
      .filter(isPolicyFile)
      .toSorted()
      .map((name) => {
        const { ino, mtimeMs, size } = statSync(join(folder, name));
        return `${name} ${ino} ${mtimeMs} ${size}`;
      })
      .join("\n");
  } catch {
    return "unreadable";
  }
}

export function isPolicyFile(name: string): boolean {
  return /\.ya?ml$/.test(name) && !/\.cases\.ya?ml$/.test(name) && !name.startsWith(".");
}

/** Names in order, or why the folder cannot be read. `*.cases.yaml` state expectations and permit nothing. */
function policyFilesIn(folder: string): string[] | string {
  try {
    return readdirSync(folder).filter(isPolicyFile).toSorted();
  } catch (fault) {
    return `the policies folder cannot be read: ${codeOf(fault)}${inWords(fault)}`;
  }
}

/** Names and bytes of all files, each with its length before it: no two folders share one by shifting text between files. */
function versionOf(documents: ReadonlyMap<string, Document>): string {
  const hash = createHash("sha256");
  for (const [file, { bytes }] of documents) hash.update(`${basename(file).length}:${basename(file)}${bytes.length}:`).update(bytes);
  return `sha256:${hash.digest("hex").slice(0, 16)}`;
}

function declaredAgents(sources: readonly PolicySource[]): ReadonlyMap<string, DeclaredAgent> {
  const agents = new Map<string, DeclaredAgent>();
  for (const { file, policy, lineOf } of sources) {
    for (const [name, agent] of Object.entries(policy.agents)) agents.set(name, { name, file, line: lineOf(["agents", name]), ...agent });
  }
  return agents;
}

function placeFault(document: Document | undefined, { path, offset, message }: PolicyFault): Problem[] {
  if (document === undefined) return [];
  const isKey = path.length === 2 && path[0] === "agents";
  const problem = isKey ? problemAtKey(document, path, message) : problemAtValue(document, path, message);
  return [offset === null ? problem : { ...problem, ...document.locateWithin(path, offset) }];
}

function atStart(file: string, message: string): Problem {
  return { file, line: 1, column: 1, message };
}
