/** The key that signs the log, in a file of its gateway alone; beside it lies the last checkpoint that was signed with it. */
import { randomBytes } from "node:crypto";
import { closeSync, fsyncSync, linkSync, lstatSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { type Checkpoint, checkpointIn } from "./checkpoint.ts";
import { type Signer, signerIn, signingKeyText } from "./signed-note.ts";

export const LOG_KEY_FILE = "log.key";
const SEED_BYTES = 32;

export function checkpointFileOf(keyFile: string): string {
  return `${keyFile}.checkpoint`;
}

/** Made where there is none; `name` is the log's. Throws where the file holds no key, or others can read it. */
export function openLogKey(keyFile: string, name: string): Signer {
  return readLogKey(keyFile) ?? makeLogKey(keyFile, name);
}

/** Null: there is none. */
export function readLogKey(keyFile: string): Signer | null {
  const found = lstatSync(keyFile, { throwIfNoEntry: false });
  if (found === undefined) return null;
  if (!found.isFile()) throw new Error(`${keyFile} is not a regular file`);
  if ((found.mode & 0o077) !== 0) throw new Error(`${keyFile} can be read by others: chmod 600 ${keyFile}`);
  const signer = signerIn(readFileSync(keyFile, "utf8"));
  if (signer === null) throw new Error(`${keyFile} holds no key: restore it, or move it away to have a new one made`);
  return signer;
}

function makeLogKey(keyFile: string, name: string): Signer {
  const draft = `${keyFile}.${randomBytes(6).toString("hex")}.new`;
  writeDurably(draft, signingKeyText(name, randomBytes(SEED_BYTES)));
  try {
    // Unlike a rename, a link never takes another's place.
    linkSync(draft, keyFile);
  } finally {
    rmSync(draft, { force: true });
  }
  syncFolderOf(keyFile);
  const made = readLogKey(keyFile);
  if (made === null) throw new Error(`${keyFile} is gone again`);
  return made;
}

/** Null: nothing has been signed. Throws where the file is no checkpoint: what was signed is then not known. */
export function lastSigned(keyFile: string): Checkpoint | null {
  const file = checkpointFileOf(keyFile);
  const found = lstatSync(file, { throwIfNoEntry: false });
  if (found === undefined) return null;
  const checkpoint = found.isFile() ? checkpointIn(readFileSync(file, "utf8")) : null;
  if (checkpoint === null) throw new Error(`${file} is no checkpoint: what this key has signed is not known`);
  return checkpoint;
}

/** On disk before anybody is shown the signature: what was signed must never be forgotten. */
export function rememberSigned(keyFile: string, note: string): void {
  const file = checkpointFileOf(keyFile);
  const draft = `${file}.new`;
  rmSync(draft, { force: true });
  writeDurably(draft, note);
  renameSync(draft, file);
  syncFolderOf(file);
}

function writeDurably(file: string, text: string): void {
  writeFileSync(file, text, { mode: 0o600, flag: "wx", flush: true });
}

function syncFolderOf(file: string): void {
  const folder = openSync(dirname(file), "r");
  fsyncSync(folder);
  closeSync(folder);
}
