/** The official suite as a program: installed when it is missing, run in either mode, its checks read back from its files. */
import { execFile, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { load } from "js-yaml";
import type { Mode, Revision } from "./baseline.ts";
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

type Requirements = Readonly<Record<Mode, readonly string[]>> & {
  readonly not_scored: readonly { readonly scenario: string; readonly leg: Mode }[];
};

/** The scenarios that a revision requires, frozen at its release, and what the suite runs besides without scoring. */
export function requirementsOf(revision: Revision): Requirements {
  return load(readFileSync(join(PACKAGE, "requirements", `${revision}.yaml`), "utf8")) as Requirements;
}

/** The suite as a client of the server at `url`. */
export async function runServerSuite(url: string, revision: Revision): Promise<Run> {
  const options = ["--url", url, "--requirements", revision, "--timeout", String(SCENARIO_TIMEOUT_MS)];
  // The checks say what the exit code says; without any it is told by what is missing.
  const { scenarios } = await runSuite(["server", ...options]);
  return { required: requirementsOf(revision).server, scenarios };
}

/** The suite as the server of one scenario, for the client that `command` starts. Without a scenario it has run nothing. */
export async function runClientScenario(command: string, scenario: string, revision: Revision): Promise<readonly Scenario[]> {
  // A scenario of an extension belongs to no revision: the suite plays it only when it must.
  const { exitCode, scenarios } = await runSuite([
    "client",
    ...["--command", command, "--scenario", scenario, "--spec-version", revision, "--force"],
  ]);
  // The checks do not say whether the client came to its end.
  const verdict: Check = { id: "overall", name: "Overall", status: exitCode === 0 ? "SUCCESS" : "FAILURE" };
  return scenarios.map(({ name, checks }) => ({ name, checks: [...checks, verdict] }));
}

type Ended = { readonly exitCode: number | null; readonly scenarios: readonly Scenario[] };

async function runSuite(args: readonly string[]): Promise<Ended> {
  const folder = mkdtempSync(join(tmpdir(), "tollgate-conformance-"));
  try {
    const exitCode = await exited([...args, "-o", folder]);
    return { exitCode, scenarios: readdirSync(folder).map((name) => scenarioIn(folder, name)) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function exited(args: readonly string[]): Promise<number | null> {
  const child = spawn(process.execPath, [join(PACKAGE, "dist/index.js"), ...args], { stdio: "ignore", timeout: RUN_TIMEOUT_MS });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => (signal === null ? resolve(code) : reject(new Error(`the suite was ended by ${signal}`))));
  });
}

/** The suite names a folder `server-<scenario>-<time>`, or without the first part. */
function scenarioIn(folder: string, name: string): Scenario {
  const checks = JSON.parse(readFileSync(join(folder, name, "checks.json"), "utf8")) as Check[];
  return { name: name.replace(/^server-/, "").replace(/-\d{4}-\d\d-\d\dT.*$/, ""), checks };
}
