/** Pure. C2SP checkpoints: the size and the root of a log at one moment, signed by the key of that log. */
import { EMPTY_ROOT } from "./merkle.ts";
import { base64In, type Note, noteIn, signersOf, type Verifier, verifierIn } from "./signed-note.ts";

export type Checkpoint = {
  /** Which log: the name of its key. */
  readonly origin: string;
  /** Records in it. */
  readonly size: number;
  readonly root: Buffer;
  readonly note: Note;
  /** As it was signed, every byte of it. */
  readonly written: string;
};

/** A log of this gateway, as long as its books go on under this id. */
export function originOf(source: string): string {
  return `tollgate/${source}`;
}

export function checkpointText(origin: string, size: number, root: Uint8Array): string {
  return `${origin}\n${size}\n${Buffer.from(root).toString("base64")}\n`;
}

/** Null: not a checkpoint. Whether anybody has signed it is another question. */
export function checkpointIn(written: string): Checkpoint | null {
  const note = noteIn(written);
  if (note === null) return null;
  const [origin = "", sizeText = "", rootText = "", ...extensions] = note.text.slice(0, -1).split("\n");
  const size = /^(0|[1-9][0-9]{0,15})$/.test(sizeText) ? Number(sizeText) : -1;
  const root = base64In(rootText);
  if (origin === "" || !Number.isSafeInteger(size) || size < 0 || root?.length !== 32 || extensions.includes("")) return null;
  if (size === 0 && !root.equals(EMPTY_ROOT)) return null;
  return { origin, size, root, note, written };
}

/** What is wrong with it, or null: `verifier` has signed it. A checkpoint is its log's only where key and origin have one name. */
export function signatureProblem(checkpoint: Checkpoint, verifier: Verifier): string | null {
  if (checkpoint.origin !== verifier.name) return `it is of the log ${checkpoint.origin}, the key of ${verifier.name}`;
  const signers = signersOf(checkpoint.note, [verifier]);
  if (signers === null) return `its signature is not that of the key ${verifier.vkey}`;
  return signers.length === 0 ? `the key ${verifier.vkey} has not signed it` : null;
}

/** As `signatureProblem`, where the key is written out. */
export function isSignedBy(checkpoint: Checkpoint, vkey: string): boolean {
  const verifier = verifierIn(vkey);
  return verifier !== null && signatureProblem(checkpoint, verifier) === null;
}
