/** One client after another, each in a process of its own, with nothing but loopback and with an end. */
import { fork } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Target } from "./report.ts";
import type { Client } from "./roster.ts";
import type { Errand, Finding } from "./visitor.ts";

const HOME = import.meta.dirname;
const GUARD = join(HOME, "loopback-only.ts");
/** Twice what the slowest takes, which starts a process for every call. */
const VISIT_TIMEOUT_MS = 90_000;

export type Called = Finding & {
  /** Hosts beyond loopback that it tried. */
  readonly attempts: readonly string[];
  readonly output: string;
};

export async function callOn({ module, drive }: Client, target: Target): Promise<Called> {
  const folder = mkdtempSync(join(tmpdir(), "tollgate-interop-"));
  const attempts = join(folder, "attempts");
  const child = fork(join(HOME, "visitor.ts"), {
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    execArgv: [],
    // What a client remembers between runs it remembers here; what it reads from a user's home is not there.
    env: { ...quiet(process.env), HOME: folder, NODE_OPTIONS: `--import ${GUARD}`, TOLLGATE_INTEROP_ATTEMPTS: attempts },
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (bytes) => {
      output += bytes;
    });
  const finding = await new Promise<Finding>((resolve, reject) => {
    const timer = setTimeout(() => resolve({ fault: `nothing within ${VISIT_TIMEOUT_MS / 1000} s` }), VISIT_TIMEOUT_MS);
    child.once("message", (message) => resolve(message as Finding));
    child.once("exit", (code, signal) => resolve({ fault: `ended by ${signal ?? code}` }));
    child.once("error", reject);
    child.once("close", () => clearTimeout(timer));
    child.send({ module, drive, target } satisfies Errand);
  });
  child.kill("SIGKILL");
  const hosts = existsSync(attempts) ? new Set(readFileSync(attempts, "utf8").trim().split("\n")) : [];
  rmSync(folder, { recursive: true, force: true });
  return { ...finding, attempts: [...hosts], output };
}

/** No proxy between a client and loopback, and no key of the user's. */
function quiet(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => /^(PATH|LANG|LC_.*|TMPDIR|SystemRoot)$/i.test(name)));
}
