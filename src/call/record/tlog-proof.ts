/** Pure. C2SP tlog-proof: one file that shows, without the database, that a record is in a signed log. */
import type { StoredRecord } from "./books.ts";
import { type Checkpoint, checkpointIn } from "./checkpoint.ts";
import { digestOfText } from "./digest.ts";
import { eventLeaf, leafHash, verifyInclusion } from "./merkle.ts";
import { base64In } from "./signed-note.ts";

export type TlogProof = {
  /**
   * The record's bytes as they were hashed; behind a line feed, where one was asked for, the usage event whose digest stands in the record;
   * of a batch, whose record holds a root, behind one more its path: index, size and hashes in hex, with spaces between them.
   */
  readonly extra: string;
  readonly index: number;
  readonly path: readonly Buffer[];
  readonly checkpoint: Checkpoint;
};

const HEAD = "c2sp.org/tlog-proof@v1";
/** RFC 6962: a path has at most as many hashes as the size has bits. */
const PATH_MAX = 64;

/** `checkpoint`: as signed. */
export function proofText({ extra, index, path, checkpoint }: Omit<TlogProof, "checkpoint"> & { readonly checkpoint: string }): string {
  const hashes = path.map((hash) => `${hash.toString("base64")}\n`).join("");
  return `${HEAD}\nextra ${Buffer.from(extra).toString("base64")}\nindex ${index}\n${hashes}\n${checkpoint}`;
}

/** Null: not such a file. */
export function proofIn(written: string): TlogProof | null {
  const border = written.indexOf("\n\n");
  if (border === -1) return null;
  const [head, extraLine = "", indexLine = "", ...hashLines] = written.slice(0, border).split("\n");
  const extra = extraLine.startsWith("extra ") ? base64In(extraLine.slice("extra ".length)) : null;
  const index = /^index (0|[1-9][0-9]{0,15})$/.exec(indexLine)?.[1];
  const path = hashLines.map(base64In).filter((hash) => hash?.length === 32);
  const checkpoint = checkpointIn(written.slice(border + 2));
  if (head !== HEAD || extra === null || index === undefined || checkpoint === null) return null;
  if (path.length !== hashLines.length || path.length > PATH_MAX) return null;
  return { extra: extra.toString("utf8"), index: Number(index), path: path.filter((hash) => hash !== null), checkpoint };
}

/** What the proof shows: the record, and the usage event that is billed for it. A text: what is wrong with it. */
export function provenBy({ extra, index, path, checkpoint }: TlogProof): { record: StoredRecord; event: unknown } | string {
  const [body = "", event, batch, ...further] = extra.split("\n");
  if (further.length > 0) return "behind the record, its event and the path of a batch is more, which nothing proves";
  if (!verifyInclusion(leafHash(Buffer.from(body)), index, checkpoint.size, path, checkpoint.root))
    return `the record is not number ${index} of the log that the checkpoint is of`;
  const record = recordIn(body);
  if (record === null) return "what is in the log is no record";
  if (record.sequence !== index) return `the record says that it is number ${record.sequence}, not ${index}`;
  if (event === undefined) return { record, event: null };
  const isNamed = batch === undefined ? digestOfText(event) === record.usage_event : isInBatch(event, batch, record);
  return isNamed ? { record, event: JSON.parse(event) } : "the usage event is not the one that the record names";
}

export function batchLine({
  index,
  size,
  hashes,
}: {
  readonly index: number;
  readonly size: number;
  readonly hashes: readonly string[];
}): string {
  return [index, size, ...hashes].join(" ");
}

/** The record of a batch holds the root over the digests of its events, and how many there are. */
function isInBatch(event: string, written: string, { details }: StoredRecord): boolean {
  const [index, size, ...hashes] = written.split(" ");
  const root = String(details?.events_root);
  // One number has one way to be written: 1.0 and 0x1 are another proof's text.
  if (![index, size].every((number) => /^(0|[1-9][0-9]{0,15})$/.test(number ?? ""))) return false;
  if (Number(size) !== details?.events || hashes.length > PATH_MAX || ![...hashes, root].every((hash) => /^[0-9a-f]{64}$/.test(hash)))
    return false;
  const path = hashes.map((hash) => Buffer.from(hash, "hex"));
  return verifyInclusion(eventLeaf(digestOfText(event)), Number(index), Number(size), path, Buffer.from(root, "hex"));
}

function recordIn(body: string): StoredRecord | null {
  try {
    const value = JSON.parse(body) as StoredRecord | null;
    return typeof value?.sequence === "number" ? value : null;
  } catch {
    return null;
  }
}
