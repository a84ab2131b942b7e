/** Reads the folder of policy files: either one compiled set with the agents it declares, or everything that is wrong, with its line. */
import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { type PolicySet, policySetOf } from "./call/authorize/candidates.ts";
import type { InspectorFacts } from "./call/authorize/guards.ts";
import { type DeclaredAgent, policyFileSchema, policyJsonSchema, readablePart } from "./call/authorize/policy-file.ts";
import { compilePolicies, type PolicyFault, type PolicySource, type ServerFacts } from "./call/authorize/policy-set.ts";
import { codeOf, type Document, type Problem, readDocument, sortProblems } from "./document.ts";
import { problemAtKey, problemAtValue, problemsOf } from "./issues.ts";
import { guardFaults, unusedInspectors } from "./policy-guards.ts";

export type Policies = {
  readonly policySet: PolicySet;
  /** By name. The files own their attributes. */
  readonly agents: ReadonlyMap<string, DeclaredAgent>;
  /** What is allowed, and is hardly meant. */
  readonly warnings: readonly Problem[];
};

export function loadPolicies(
  folder: string,
  servers: ServerFacts,
  mode: PolicySet["mode"] = "enforce",
  inspectors: InspectorFacts | null = null,
): Policies | { problems: readonly Problem[]; warnings: readonly Problem[] } {
  const names = policyFilesIn(folder);
  if (typeof names === "string") return { problems: [atStart(folder, names)], warnings: [] };
  const documents = new Map(names.map((name) => [`${basename(folder)}/${name}`, readDocument(join(folder, name))]));
  const problems = [...documents.values()].flatMap((document) => document.problems);
  const sources: PolicySource[] = [];
  for (const [file, document] of documents) {
    if (document.data === undefined) continue;
    const parsed = policyFileSchema.safeParse(document.data ?? {});
    if (!parsed.success) problems.push(...problemsOf(document, parsed.error.issues, policyJsonSchema()));
    const policy = parsed.success ? parsed.data : readablePart(document.data);
    sources.push({ file, policy, lineOf: (path) => document.locate(path).line });
  }
  const compiled = compilePolicies(sources, servers, versionOf(documents), inspectors ?? undefined);
  const placed = (fault: PolicyFault): Problem[] => placeFault(documents.get(fault.file), fault);
  problems.push(...[...compiled.faults, ...guardFaults(sources, inspectors)].flatMap(placed));
  const warnings = compiled.warnings.flatMap(placed);
  for (const name of unusedInspectors(compiled.rules.rules, inspectors))
    warnings.push(atStart(folder, `no entitlement is inspected by ${name}, so that it is never asked`));
  if (compiled.rules.rules.length === 0)
    warnings.push(atStart(folder, "no entitlement here: nothing is permitted, every call will be refused"));
  if (problems.length > 0) return { problems: sortProblems(problems), warnings };
  return { policySet: policySetOf(compiled.rules, mode), agents: declaredAgents(sources), warnings: sortProblems(warnings) };
}

export function isPolicyFile(name: string): boolean {
  return /\.ya?ml$/.test(name) && !/\.cases\.ya?ml$/.test(name) && !name.startsWith(".");
}

/** Names in order, or why the folder cannot be read. `*.cases.yaml` state expectations and permit nothing. */
function policyFilesIn(folder: string): string[] | string {
  try {
    return readdirSync(folder).filter(isPolicyFile).toSorted();
  } catch (fault) {
    return `the policies folder cannot be read: ${codeOf(fault)}`;
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
