/** Load from a process of its own: wrk where it is installed, undici otherwise. */
import { execFile, execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Target } from "./target.ts";

const run = promisify(execFile);

export type Load = {
  readonly calls: number;
  readonly seconds: number;
  readonly failed: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
};

export type Generator = {
  readonly name: string;
  /** `clients` connections that each send the next call when the last is answered. */
  drive(target: Target, clients: number, seconds: number): Promise<Load>;
};

export function generatorFor(folder: string): Generator {
  return hasWrk()
    ? { name: "wrk (1 thread)", drive: (target, clients, seconds) => driveWrk(folder, target, clients, seconds) }
    : { name: "undici", drive: driveUndici };
}

function hasWrk(): boolean {
  try {
    execFileSync("sh", ["-c", "command -v wrk"]);
    return true;
  } catch {
    return false;
  }
}

async function driveWrk(folder: string, target: Target, clients: number, seconds: number): Promise<Load> {
  const file = join(folder, "target.txt");
  const head = Object.entries(target.headers).map(([name, value]) => `${name}: ${value}\n`);
  writeFileSync(file, `${head.join("")}\n${target.body}`, { mode: 0o600 });
  const args = ["-t1", `-c${clients}`, `-d${seconds}s`, "--timeout", "10s", "-s", join(import.meta.dirname, "call.lua"), target.url];
  const { stdout } = await run("wrk", args, { env: { ...process.env, TARGET: file } });
  return loadIn(stdout);
}

async function driveUndici(target: Target, clients: number, seconds: number): Promise<Load> {
  const script = join(import.meta.dirname, "load-undici.ts");
  const { stdout } = await run(process.execPath, [script, JSON.stringify(target), String(clients), String(seconds)]);
  return loadIn(stdout);
}

function loadIn(stdout: string): Load {
  const line = stdout.split("\n").find((text) => text.startsWith("{"));
  if (line === undefined) throw new Error(`the load generator says nothing: ${stdout}`);
  return JSON.parse(line) as Load;
}
