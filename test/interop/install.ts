/** The clients' packages: installed when they are missing, their versions read back. */
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

const HOME = import.meta.dirname;

/** `say` hears of the download: it is the only slow part. */
export async function installClients(say: (line: string) => void): Promise<void> {
  // npm writes it last.
  if (existsSync(join(HOME, "node_modules/.package-lock.json"))) return;
  say("installing the clients (once, some 400 MB) ...");
  await promisify(execFile)("npm", ["ci", "--prefix", HOME, "--ignore-scripts", "--loglevel=error"]);
}

export function versionOf(path: string): string {
  return (JSON.parse(readFileSync(join(HOME, "node_modules", path, "package.json"), "utf8")) as { version: string }).version;
}
