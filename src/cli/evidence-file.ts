/** Files that come from outside to verify by: checkpoints, keys, proofs; a bad one is named with what it should be. */
import { readFileSync } from "node:fs";
import { type Checkpoint, checkpointIn } from "../call/record/checkpoint.ts";
import { type Verifier, verifierIn } from "../call/record/signed-note.ts";
import { EXIT, Exit } from "./io.ts";

/** Proofs and checkpoints have a few kilobytes. */
const BYTES_MAX = 1_048_576;

export function readEvidence(file: string): string {
  try {
    const bytes = readFileSync(file);
    if (bytes.length > BYTES_MAX) throw new Exit(EXIT.usage, `${file} has ${bytes.length} bytes: no checkpoint or proof has so many`);
    return bytes.toString("utf8");
  } catch (fault) {
    if (fault instanceof Exit) throw fault;
    throw new Exit(EXIT.usage, `${file} cannot be read: ${fault instanceof Error ? fault.message : String(fault)}`);
  }
}

export function readCheckpoint(file: string): Checkpoint {
  const checkpoint = checkpointIn(readEvidence(file));
  if (checkpoint !== null) return checkpoint;
  throw new Exit(EXIT.no, `${file} is no checkpoint (c2sp.org/tlog-checkpoint), or not a byte for byte copy of one`);
}

export function keyOf(vkey: string | undefined): Verifier | null {
  if (vkey === undefined) return null;
  const verifier = verifierIn(vkey.trim());
  if (verifier?.type === 1) return verifier;
  throw new Exit(EXIT.usage, `--key ${vkey}: write the verifier key that tollgate audit key prints, name+hash+base64, in quotes`);
}
