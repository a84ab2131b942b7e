/** Where the key of the log is: in this gateway's data folder, or a file elsewhere, which a copy of the data folder does not roll back. */
import { statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { LOG_KEY_FILE } from "./call/record/log-key.ts";

/** `written`: `data`, or `file:` and a file, relative to the folder of the config file. */
export function logKeyFile(written: string, dataDir: string, configFolder: string): string {
  return written === "data" ? join(dataDir, LOG_KEY_FILE) : resolve(configFolder, written.slice("file:".length));
}

/** Null: it can be used. The folder is never made: where a mount is missing, a key of its own would begin another log. */
export function logKeyProblem(written: string, configFolder: string): string | null {
  if (written === "data") return null;
  const folder = dirname(resolve(configFolder, written.slice("file:".length)));
  const found = statSync(folder, { throwIfNoEntry: false });
  if (found?.isDirectory() !== true)
    return `${dirname(written.slice("file:".length))} does not exist: make the folder (mode 0700), or mount it`;
  return null;
}
