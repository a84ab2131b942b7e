/** Signs what the log holds, after it was held against everything that was signed before: two logs are never signed with one key. */
import { type Checkpoint, checkpointIn, checkpointText, isSignedBy, originOf } from "./checkpoint.ts";
import type { Desk } from "./journal-tasks.ts";
import { lastSigned, openLogKey, rememberSigned } from "./log-key.ts";
import type { Store } from "./store.ts";
import { treeReader } from "./tree.ts";

export type SigningOrder = { readonly keyFile: string; readonly nowMs: number };

/** `refused`: the store is not the log that was signed before, or the key cannot be used; nothing was signed. */
export type Signing =
  | { readonly kind: "signed" | "unchanged"; readonly size: number; readonly note: string; readonly key: string }
  | { readonly kind: "refused"; readonly why: string };

/** Outside of any transaction: all that it reads is committed. */
export function signLog({ store, source }: Pick<Desk, "store" | "source">, { keyFile, nowMs }: SigningOrder): Signing {
  let last: Checkpoint | null;
  let signer: ReturnType<typeof openLogKey>;
  const origin = originOf(source);
  try {
    signer = openLogKey(keyFile, origin);
    last = lastSigned(keyFile);
  } catch (fault) {
    return refused(fault instanceof Error ? fault.message : String(fault));
  }
  if (signer.name !== origin)
    return refused(`the key in ${keyFile} is that of the log ${signer.name}, this log is ${origin}: logKey must name another file`);
  const tree = treeReader(store);
  const size = tree.size();
  for (const known of [last, newestIn(store)]) {
    const fork = known === null ? null : forkFrom(known, size, tree.rootAt);
    if (fork !== null) return refused(fork);
  }
  if (last === null && hasSigned(store, signer.vkey))
    return refused(
      `${keyFile}.checkpoint is missing, and this key has signed checkpoints of this journal: put the file back beside the key`,
    );
  if (last !== null && last.origin !== origin) return refused(`${keyFile}.checkpoint is of the log ${last.origin}, not of ${origin}`);
  // Also where a crash came between the two.
  if (last !== null && isSignedBy(last, signer.vkey)) keep(store, last, signer.vkey, nowMs);
  if (last?.size === size && isSignedBy(last, signer.vkey)) return { kind: "unchanged", size, note: last.written, key: signer.vkey };
  const note = signer.sign(checkpointText(origin, size, tree.rootAt(size)));
  rememberSigned(keyFile, note);
  const signed = checkpointIn(note);
  if (signed === null) throw new Error("a checkpoint that cannot be read was signed");
  keep(store, signed, signer.vkey, nowMs);
  return { kind: "signed", size, note, key: signer.vkey };
}

function hasSigned(store: Store, vkey: string): boolean {
  return store.prepare("SELECT 1 FROM checkpoint WHERE key = ? LIMIT 1").get(vkey) !== undefined;
}

function refused(why: string): Signing {
  return { kind: "refused", why };
}

/** Null: the log of that checkpoint is the beginning of this one. */
function forkFrom(known: Checkpoint, size: number, rootAt: (size: number) => Buffer): string | null {
  if (known.size > size) return `a checkpoint over ${known.size} records was signed, and there are ${size}: the journal is an older copy`;
  if (!rootAt(known.size).equals(known.root)) return `the first ${known.size} records are not the ones over which a checkpoint was signed`;
  return null;
}

function newestIn(store: Store): Checkpoint | null {
  const note = store.prepare("SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1").pluck().get() as string | undefined;
  return note === undefined ? null : checkpointIn(note);
}

function keep(store: Store, { size, root, written }: Checkpoint, key: string, nowMs: number): void {
  store
    .prepare("INSERT OR IGNORE INTO checkpoint (size, at_ms, root, key, note) VALUES (?, ?, ?, ?, ?)")
    .run(size, nowMs, root, key, written);
}

/** What a witness has signed below a checkpoint: kept beside it, each witness once. */
export type Cosigned = { readonly size: number; readonly witness: string; readonly line: string };

export function keepCosignature({ store }: Pick<Desk, "store">, { size, witness, line }: Cosigned): void {
  store.prepare("INSERT OR IGNORE INTO cosignature (size, witness, line) VALUES (?, ?, ?)").run(size, witness, line);
}
