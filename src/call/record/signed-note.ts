/** Pure. C2SP signed notes: a text, and lines below it that say who signed it. */
import { createPrivateKey, createPublicKey, hash, type KeyObject, sign, verify } from "node:crypto";

/** c2sp.org/signed-note: 1 is Ed25519 over the text; 4 (c2sp.org/tlog-cosignature) is Ed25519 over the time and the text. */
export type SignatureType = 1 | 4;

/** Who signs: `vkey` is what a verifier needs, `name+hash+base64`. */
export type Verifier = {
  readonly name: string;
  /** 8 hex digits. */
  readonly id: string;
  readonly type: SignatureType;
  readonly publicKey: KeyObject;
  readonly vkey: string;
};

export type NoteSignature = { readonly name: string; readonly id: string; readonly signature: Buffer; readonly line: string };

/** `text` ends with a line feed. */
export type Note = { readonly text: string; readonly signatures: readonly NoteSignature[] };

/** A log, some witnesses, and keys that are being replaced. */
const SIGNATURES_MAX = 64;
/** A checkpoint has 200 bytes and 150 a signature; the largest kind of signature (ML-DSA) has 3.3 kB. */
export const NOTE_CHARACTERS_MAX = 262_144;
const SEED_BYTES = 32;
const SPKI_ED25519 = Buffer.from("302a300506032b6570032100", "hex");
const PKCS8_ED25519 = Buffer.from("302e020100300506032b657004220420", "hex");
const TIME_BYTES = 8;

/** Null: not a note, or not written as one is. Every byte of it counts: no two texts are the same note. */
export function noteIn(written: string): Note | null {
  const border = written.lastIndexOf("\n\n");
  if (border === -1 || written.length > NOTE_CHARACTERS_MAX || !written.endsWith("\n") || !isPlain(written)) return null;
  const lines = written.slice(border + 2, -1).split("\n");
  if (lines.length > SIGNATURES_MAX) return null;
  const signatures: NoteSignature[] = [];
  for (const line of lines) {
    const signature = signatureIn(line);
    if (signature === null) return null;
    signatures.push(signature);
  }
  return { text: written.slice(0, border + 1), signatures };
}

/** Null: not a signature line. */
export function signatureIn(line: string): NoteSignature | null {
  const [, name, encoded] = /^— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})$/u.exec(line) ?? [];
  const bytes = encoded === undefined ? null : base64In(encoded);
  if (name === undefined || bytes === null || bytes.length < 5) return null;
  return { name, id: bytes.toString("hex", 0, 4), signature: bytes.subarray(4), line };
}

/** Those of `verifiers` that signed it. Null: a signature that names one of them is not its. */
export function signersOf(note: Note, verifiers: readonly Verifier[]): readonly Verifier[] | null {
  const found: Verifier[] = [];
  for (const { name, id, signature } of note.signatures) {
    const verifier = verifiers.find((each) => each.name === name && each.id === id);
    if (verifier === undefined) continue;
    if (!isSigned(note.text, signature, verifier)) return null;
    found.push(verifier);
  }
  return found;
}

function isSigned(text: string, signature: Buffer, { type, publicKey }: Verifier): boolean {
  if (type === 1) return verify(null, Buffer.from(text), publicKey, signature);
  if (signature.length <= TIME_BYTES) return false;
  const message = cosignedText(text, signature.readBigUInt64BE());
  return verify(null, Buffer.from(message), publicKey, signature.subarray(TIME_BYTES));
}

/** What a witness signs: seconds since the epoch before the text. */
export function cosignedText(text: string, seconds: bigint): string {
  return `cosignature/v1\ntime ${seconds}\n${text}`;
}

/** Null: not a verifier key of Ed25519, or its hash is of another one. */
export function verifierIn(vkey: string): Verifier | null {
  const [, name, id, encoded] = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})$/u.exec(vkey) ?? [];
  const bytes = encoded === undefined ? null : base64In(encoded);
  if (name === undefined || id === undefined || bytes === null || bytes.length !== 1 + SEED_BYTES) return null;
  const type = bytes[0];
  if ((type !== 1 && type !== 4) || keyId(name, bytes) !== id) return null;
  const publicKey = createPublicKey({ key: Buffer.concat([SPKI_ED25519, bytes.subarray(1)]), format: "der", type: "spki" });
  return { name, id, type, publicKey, vkey };
}

export type Signer = Verifier & {
  /** The whole note: the text, and the line of this key below it. */
  sign(text: string): string;
};

/** `seed`: 32 random bytes. */
export function signerOf(name: string, seed: Uint8Array): Signer {
  const privateKey = createPrivateKey({ key: Buffer.concat([PKCS8_ED25519, seed]), format: "der", type: "pkcs8" });
  const publicKey = createPublicKey(privateKey);
  const raw = publicKey.export({ format: "der", type: "spki" }).subarray(SPKI_ED25519.length);
  const typed = Buffer.concat([Buffer.from([1]), raw]);
  const id = keyId(name, typed);
  return {
    name,
    id,
    type: 1,
    publicKey,
    vkey: `${name}+${id}+${typed.toString("base64")}`,
    sign: (text) => `${text}\n${signatureLine(name, id, sign(null, Buffer.from(text), privateKey))}`,
  };
}

export function signatureLine(name: string, id: string, signature: Uint8Array): string {
  return `— ${name} ${Buffer.concat([Buffer.from(id, "hex"), signature]).toString("base64")}\n`;
}

/** `typed`: the byte of the type, then the public key. */
function keyId(name: string, typed: Uint8Array): string {
  return hash("sha256", Buffer.concat([Buffer.from(`${name}\n`), typed])).slice(0, 8);
}

/** The form in which golang.org/x/mod/sumdb/note keeps a signing key. */
export function signingKeyText(name: string, seed: Uint8Array): string {
  const { id } = signerOf(name, seed);
  return `PRIVATE+KEY+${name}+${id}+${Buffer.concat([Buffer.from([1]), seed]).toString("base64")}\n`;
}

/** Null: not one. */
export function signerIn(written: string): Signer | null {
  const [, name, id, encoded] = /^PRIVATE\+KEY\+([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})\n?$/u.exec(written) ?? [];
  const bytes = encoded === undefined ? null : base64In(encoded);
  if (name === undefined || bytes === null || bytes.length !== 1 + SEED_BYTES || bytes[0] !== 1) return null;
  const signer = signerOf(name, bytes.subarray(1));
  return signer.id === id ? signer : null;
}

/** Null: not what an encoder writes. Spare bits at the end would be a second spelling of the same bytes. */
export function base64In(encoded: string): Buffer | null {
  const bytes = Buffer.from(encoded, "base64");
  return bytes.toString("base64") === encoded ? bytes : null;
}

/** No control characters but the line feed, and nothing that had no meaning in UTF-8. */
function isPlain(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if ((code < 0x20 && code !== 0x0a) || code === 0xfffd) return false;
  }
  return text.isWellFormed();
}
