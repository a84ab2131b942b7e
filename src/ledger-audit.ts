/** Checks a central ledger by itself: every leaf and every event anew from the bytes that it holds, and each checkpoint's root over them. */
import { createFrontier } from "./call/record/frontier.ts";
import { leafHash } from "./call/record/merkle.ts";
import { PURGED_BODY } from "./call/record/schema.ts";
import type { CentralCheckpoint, CentralReader, CentralRecord } from "./call/sync/central-read.ts";
import { type EventChecker, eventChecker, type Told } from "./ledger-events.ts";
import { type Lineage, lineageOf } from "./ledger-lineage.ts";

export type GatewayVerdict = {
  readonly gateway: string;
  readonly ok: boolean;
  /** Of its log, which begins with those of the parent. */
  readonly records: number;
  readonly events: number;
  readonly checkpoints: number;
  /** Records that a checkpoint covers; beyond it nothing is signed yet. */
  readonly covered: number;
  /** Hex, over the records that are there. */
  readonly root: string;
  /** Whose log it continues since a backup was restored, and how many records of it. */
  readonly parent: { readonly gateway: string; readonly records: number } | null;
  /** The first `PROBLEMS_MAX`. */
  readonly problems: readonly string[];
};

const PROBLEMS_MAX = 20;
const PAGE = 1_000;

export async function auditLedger(ledger: CentralReader, only: string | null): Promise<GatewayVerdict[]> {
  const gateways = only === null ? await ledger.gateways() : [only];
  const lineage = lineageOf(await ledger.acts(["log.restored", "records.purged"]));
  const verdicts: GatewayVerdict[] = [];
  for (const gateway of gateways) verdicts.push(await auditGateway(ledger, gateway, lineage));
  return verdicts;
}

async function auditGateway(ledger: CentralReader, gateway: string, lineage: Lineage): Promise<GatewayVerdict> {
  const problems: string[] = [];
  let bad = 0;
  const complain = (what: string) => {
    bad += 1;
    if (problems.length < PROBLEMS_MAX) problems.push(what);
  };
  const checkpoints = await ledger.checkpoints(gateway);
  for (const checkpoint of checkpoints) checkNote(checkpoint, complain);
  const waiting = [...checkpoints];
  const frontier = createFrontier();
  const parent = lineage.parentOf(gateway);
  let size = 0;
  if (parent !== null) {
    size = parent.size;
    const missing = await eachLeaf(ledger, gateway, lineage, (leaf) => frontier.add(leaf));
    for (const range of missing) complain(range);
    if (missing.length === 0 && frontier.root().toString("hex") !== parent.root)
      complain(`record ${size}: the log of ${parent.gateway}, which it continues, does not come to the root that it names`);
  }
  const events = eventChecker(ledger, gateway, await firstEventOf(ledger, gateway, lineage), complain);
  const meet = () => {
    for (let next = waiting[0]; next !== undefined && next.size <= size; next = waiting[0]) {
      waiting.shift();
      if (next.size < size || frontier.root().toString("hex") !== next.root)
        complain(`checkpoint ${next.size}: the records do not come to its root: the log was rewritten after it was signed`);
    }
  };
  meet();
  for await (const record of recordsFrom(ledger, gateway, -1)) {
    const { sequence } = record;
    if (sequence < size) complain(`record ${sequence}: that number is not this gateway's`);
    else if (sequence !== size) complain(`records ${size} to ${sequence - 1} are missing`);
    frontier.add(await checkRecord(record, gateway, lineage, events, complain));
    size = sequence + 1;
    meet();
  }
  for (const { size: wanted } of waiting) complain(`checkpoint ${wanted}: only ${size} records are there`);
  return {
    events: await events.end(size),
    ...{ gateway, ok: bad === 0, records: size, checkpoints: checkpoints.length, covered: checkpoints.at(-1)?.size ?? 0 },
    ...{ root: frontier.root().toString("hex"), parent: parent && { gateway: parent.gateway, records: parent.size }, problems },
  };
}

type Complain = (what: string) => void;

async function* recordsFrom(ledger: CentralReader, gateway: string, after: number): AsyncGenerator<CentralRecord> {
  for (let last = after; ; ) {
    const page = await ledger.recordsAfter(gateway, last, PAGE);
    yield* page;
    last = page.at(-1)?.sequence ?? last;
    if (page.length < PAGE) return;
  }
}

/** The leaves before a restored gateway's own, which stand under the ids before. Returns what is missing. */
async function eachLeaf(ledger: CentralReader, gateway: string, lineage: Lineage, add: (leaf: Buffer) => void): Promise<string[]> {
  const parent = lineage.parentOf(gateway);
  if (parent === null) return [];
  const missing = await eachLeaf(ledger, parent.gateway, lineage, add);
  let size = lineage.parentOf(parent.gateway)?.size ?? 0;
  const tell = (end: number) => missing.push(`records ${size} to ${end - 1} of ${parent.gateway}, which it continues, are missing`);
  for await (const record of recordsFrom(ledger, parent.gateway, size - 1)) {
    if (record.sequence >= parent.size) break;
    if (record.sequence !== size) tell(record.sequence);
    add(leafOf(record));
    size = record.sequence + 1;
  }
  if (size < parent.size) tell(parent.size);
  return missing;
}

/** Events are numbered on where the backup had come to. */
async function firstEventOf(ledger: CentralReader, gateway: string, lineage: Lineage): Promise<number> {
  const parent = lineage.parentOf(gateway);
  if (parent === null) return 1;
  const last = await ledger.lastEventBefore(parent.gateway, parent.size);
  return last === null ? firstEventOf(ledger, parent.gateway, lineage) : last + 1;
}

/** Of what is purged the leaf is all that is left; the roots say whether it is the right one. */
function leafOf({ body, leaf }: CentralRecord): Buffer {
  return body === PURGED_BODY ? Buffer.from(leaf, "hex") : leafHash(Buffer.from(body));
}

async function checkRecord(
  record: CentralRecord,
  gateway: string,
  lineage: Lineage,
  events: EventChecker,
  complain: Complain,
): Promise<Buffer> {
  const { sequence, leaf, body } = record;
  const hash = leafOf(record);
  if (body === PURGED_BODY) {
    if (!lineage.isPurged(gateway, sequence)) complain(`record ${sequence} is empty, and no record here tells of a purge of it`);
    await events.belongs(sequence, null);
    return hash;
  }
  if (hash.toString("hex") !== leaf) complain(`record ${sequence} is not what its leaf says`);
  const told = toldBy(recordOf(body, sequence, gateway, complain));
  if (told !== null) await events.belongs(sequence, told);
  return hash;
}

type Body = {
  readonly sequence: unknown;
  readonly source: unknown;
  readonly kind?: unknown;
  readonly usage_event?: unknown;
  readonly details?: Readonly<Record<string, unknown>> | null;
};

function toldBy(record: Body | null): Told {
  if (record?.kind === "usage.reported")
    return { count: Number(record.details?.events ?? 0), root: String(record.details?.events_root ?? "") };
  return typeof record?.usage_event === "string" ? { digest: record.usage_event } : null;
}

/** A record of the ledger, or null where it is not what it says of itself. */
function recordOf(body: string, sequence: number, gateway: string, complain: Complain): Body | null {
  try {
    const record = JSON.parse(body) as Body;
    if (record.sequence === sequence && record.source === gateway) return record;
  } catch {
    // Told below.
  }
  complain(`record ${sequence} is not a record of ${gateway} with that number`);
  return null;
}

/** C2SP tlog-checkpoint: origin, size and root are the first three lines of the note. */
function checkNote({ size, root, note }: CentralCheckpoint, complain: Complain): void {
  const [, sizeText, rootText = ""] = note.split("\n");
  if (sizeText !== String(size) || Buffer.from(rootText, "base64").toString("hex") !== root)
    complain(`checkpoint ${size}: its note tells of another log`);
}
