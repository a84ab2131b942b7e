/** Where the signing and sealing keys are: this gateway's data folder, or a folder that several gateways share. */
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Config } from "./config.ts";
import { codeOf, type Problem } from "./document.ts";

/** `written`: `data`, or `file:` and a folder, relative to the one of the config file. */
export function keysFolder(written: string, dataDir: string, configFolder: string): string {
  return written === "data" ? dataDir : resolve(configFolder, written.slice("file:".length));
}

/** Null: it can be used. A shared folder is never made: where a mount is missing, keys of its own would part a gateway from the others. */
export function keysFolderProblem(written: string, configFolder: string): string | null {
  if (written === "data") return null;
  const name = written.slice("file:".length);
  const folder = resolve(configFolder, name);
  try {
    const found = statSync(folder);
    if (!found.isDirectory()) return `${name} is not a folder: several gateways share the keys.json in it`;
    if ((found.mode & 0o022) !== 0) return `${name} can be written by others than its owner: chmod 700 ${name}`;
    if (!existsSync(join(folder, "keys.json"))) accessSync(folder, constants.W_OK);
    return null;
  } catch (fault) {
    if (codeOf(fault) === "ENOENT") return `${name} does not exist: make the folder (mode 0700), or mount it`;
    return `${name} holds no keys.json and none can be made in it: ${codeOf(fault)}`;
  }
}

/** One gateway may have its registry in PostgreSQL and its keys to itself; of several none then knows what the others were asked. Null: they are shared. */
export function keysApart({ file, data, keys, shared }: Pick<Config, "file" | "data" | "keys" | "shared">): Problem | null {
  if (shared.postgres === null || keys !== data) return null;
  const what = "several gateways on one registry need one keys.json: without it a retry that reaches another gateway runs a second time";
  return { file, line: 1, column: 1, message: `shared.postgres: ${what}; write keys: file:FOLDER, the same in all of them` };
}
