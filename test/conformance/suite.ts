/** The official suite as a program: installed when it is missing, run against one URL, its checks read back from its files. */
import { execFile, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { parse } from "yaml";
import type { Revision } from "./baseline.ts";
import type { Check, Run, Scenario } from "./compare.ts";

const HOME = import.meta.dirname;
const PACKAGE = join(HOME, "node_modules/@modelcontextprotocol/conformance");
/** A scenario of the suite takes two seconds at most; what a saboteur has broken would wait for half a minute each. */
const SCENARIO_TIMEOUT_MS = 10_000;
const RUN_TIMEOUT_MS = 300_000;

/** `say` hears of the download: it is the only slow part. */
export async function installSuite(say: (line: string) => void): Promise<void> {
  if (existsSync(join(PACKAGE, "dist/index.js"))) return;
  say("installing the official suite (once) ...");
  await promisify(execFile)("npm", ["ci", "--prefix", HOME, "--loglevel=error"]);
}

/** The scenarios that a revision requires, frozen at its release. */
function requiredScenarios(revision: Revision): string[] {
  const { server } = parse(readFileSync(join(PACKAGE, "requirements", `${revision}.yaml`), "utf8")) as { server: string[] };
  return server;
}

export async function runSuite(url: string, revision: Revision): Promise<Run> {
  const folder = mkdtempSync(join(tmpdir(), "tollgate-conformance-"));
  try {
    await finished(["server", "--url", url, "--requirements", revision, "--timeout", String(SCENARIO_TIMEOUT_MS), "-o", folder]);
    return { required: requiredScenarios(revision), scenarios: readdirSync(folder).map((name) => scenarioIn(folder, name)) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Its exit code says what the checks say again; without checks it is told by what is missing. */
function finished(args: readonly string[]): Promise<void> {
  const child = spawn(process.execPath, [join(PACKAGE, "dist/index.js"), ...args], { stdio: "ignore", timeout: RUN_TIMEOUT_MS });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (_, signal) => (signal === null ? resolve() : reject(new Error(`the suite was ended by ${signal}`))));
  });
}

/** The suite names a folder `server-<scenario>-<time>`. */
function scenarioIn(folder: string, name: string): Scenario {
  const checks = JSON.parse(readFileSync(join(folder, name, "checks.json"), "utf8")) as Check[];
  return { name: name.replace(/^server-/, "").replace(/-\d{4}-\d\d-\d\dT.*$/, ""), checks };
}
