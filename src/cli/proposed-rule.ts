/** A proposed rule becomes a policy file of its own: never in the place of another, and never one that breaks the set. */
import { copyFileSync, existsSync, linkSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { Config } from "../config.ts";
import type { Problem } from "../document.ts";
import { isPolicyFile, loadPolicies } from "../policy-load.ts";
import { problemLines } from "./command.ts";
import { EXIT, Exit, type Io } from "./io.ts";

export type PolicyPlace = { readonly folder: string; readonly name: string };

export function placeFor({ policies: folder }: Pick<Config, "policies">, name: string): PolicyPlace {
  if (basename(name) !== name || !isPolicyFile(name)) {
    throw new Exit(EXIT.usage, `${name} is no name of a policy file: it has no folder, ends in .yaml, and not in .cases.yaml`);
  }
  if (existsSync(join(folder, name))) throw new Exit(EXIT.no, `${join(folder, name)} is there already; nothing was decided or written`);
  return { folder, name };
}

/** YAML of one entitlement as a whole file. */
export function policyText(entitlement: string): string {
  return `apiVersion: tollgate/v1\nentitlements:\n${entitlement
    .split("\n")
    .map((line) => (line === "" ? line : `  ${line}`))
    .join("\n")}`;
}

/** The whole folder with the new file beside the others, before it is put there: exit 78 with every problem. */
export function checkWith({ folder, name }: PolicyPlace, text: string, servers: Config["servers"], io: Io): void {
  const draft = mkdtempSync(join(tmpdir(), "tollgate-draft-"));
  try {
    const copy = join(draft, basename(folder));
    mkdirSync(copy);
    for (const each of readdirSync(folder).filter(isPolicyFile)) copyFileSync(join(folder, each), join(copy, each));
    writeFileSync(join(copy, name), text, { flag: "wx" });
    const loaded = loadPolicies(copy, servers);
    // Told where they would be: the copy is gone by then.
    const placed = (problem: Problem) => ({ ...problem, file: problem.file.replace(copy, folder) });
    if ("problems" in loaded) throw new Exit(EXIT.config, problemLines(loaded.problems.map(placed)));
    for (const warning of loaded.warnings) if (warning.file.endsWith(`/${name}`)) io.err(problemLines([placed(warning)]));
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}

/** Whole or not at all: a gateway that looks meanwhile sees no half of it. Unlike a rename, a link never takes another's place. */
export function putInPlace({ folder, name }: PolicyPlace, text: string): string {
  const draft = join(folder, `.${name}.${process.pid}.new`);
  const file = join(folder, name);
  try {
    writeFileSync(draft, text, { flag: "wx", flush: true });
    linkSync(draft, file);
    return file;
  } catch (fault) {
    throw new Exit(EXIT.no, `${file} was not written (${fault instanceof Error ? fault.message : String(fault)}). The rule:\n${text}`);
  } finally {
    rmSync(draft, { force: true });
  }
}
