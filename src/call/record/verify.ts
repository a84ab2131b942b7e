/** The offline verifier: recomputes the whole log from its bytes and compares the books with it. */
import canonicalize from "canonicalize";
import type { AuditRecord } from "./audit-record.ts";
import { leafHash, nodeHash, rootOf } from "./merkle.ts";
import { openReader, type Store } from "./store.ts";
import { FAN_OUT, treeReader } from "./tree.ts";

export type Verdict = {
  readonly ok: boolean;
  /** Records in the log. */
  readonly size: number;
  /** Hex root over the recomputed leaves. */
  readonly root: string;
  /** The first sequence that is missing, changed or out of place. */
  readonly first_bad?: number;
  /** What is wrong, in words; empty when ok. */
  readonly problems: readonly string[];
};

type Row = {
  readonly sequence: number;
  readonly kind: string;
  readonly call_id: string | null;
  readonly body: string;
  readonly leaf: Buffer;
};

/** More would only repeat the first. */
const PROBLEMS_MAX = 20;
/** Rows between two turns of the event loop, so that progress shows and signals are heard. */
const TURN = 5_000;

export async function verifyLog(file: string, progress: (done: number, size: number) => void = () => {}): Promise<Verdict> {
  const store = openReader(file);
  try {
    // One read transaction: a live journal grows meanwhile, and what is compared must be of one moment.
    store.exec("BEGIN");
    return await verify(store, progress);
  } finally {
    store.close();
  }
}

async function verify(store: Store, progress: (done: number, size: number) => void): Promise<Verdict> {
  const problems: string[] = [];
  let firstBad: number | undefined;
  const bad = (sequence: number | null, what: string) => {
    if (sequence !== null) firstBad = Math.min(firstBad ?? sequence, sequence);
    if (problems.length < PROBLEMS_MAX) problems.push(what);
  };
  const quick = store.pragma("quick_check(1)", { simple: true });
  if (quick !== "ok") bad(null, `the database file is damaged: ${String(quick)}`);
  const size = treeReader(store).size();
  const source = store.prepare("SELECT value FROM meta WHERE name = 'source'").pluck().get();
  const frontier = createFrontier();
  let expected = 0;
  const settled = new SettledCalls();
  for (const row of store
    .prepare("SELECT sequence, kind, call_id, body, leaf FROM audit_record ORDER BY sequence")
    .iterate() as Iterable<Row>) {
    if (row.sequence !== expected) bad(expected, `sequence ${expected} is missing; the next one is ${row.sequence}`);
    expected = row.sequence + 1;
    const leaf = leafHash(Buffer.from(row.body));
    if (Buffer.compare(leaf, row.leaf) !== 0) bad(row.sequence, `record ${row.sequence} is not what its leaf says`);
    const fault = faultOf(row, source);
    if (fault !== null) bad(row.sequence, `record ${row.sequence}: ${fault}`);
    else settled.note(row.body);
    frontier.add(leaf);
    if (expected % TURN === 0) {
      progress(expected, size);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  checkNodes(store, bad);
  checkUsage(store, settled, bad);
  return {
    ok: problems.length === 0,
    size,
    root: frontier.root().toString("hex"),
    ...(firstBad === undefined ? {} : { first_bad: firstBad }),
    problems,
  };
}

function faultOf(row: Row, source: unknown): string | null {
  let record: AuditRecord & { sequence: number; source: string };
  try {
    record = JSON.parse(row.body);
  } catch {
    return "its body is not JSON";
  }
  if (canonicalize(record) !== row.body) return "its body is not in canonical form";
  if (record.sequence !== row.sequence) return `its body says sequence ${record.sequence}`;
  if (record.source !== source) return "its body names another gateway";
  if (record.kind !== row.kind || record.call_id !== row.call_id) return "its columns differ from its body";
  return null;
}

/** Stored roots must be those of the leaves below them; proofs are computed from them. */
function checkNodes(store: Store, bad: (sequence: number | null, what: string) => void): void {
  const leaves = store.prepare("SELECT leaf FROM audit_record WHERE sequence >= ? AND sequence < ? ORDER BY sequence").pluck();
  const below = store.prepare("SELECT hash FROM merkle_node WHERE level = ? AND number >= ? AND number < ? ORDER BY number").pluck();
  const size = treeReader(store).size();
  let due = 0;
  for (let unit = FAN_OUT; unit <= size; unit *= FAN_OUT) due += Math.floor(size / unit);
  let seen = 0;
  for (const node of store.prepare("SELECT level, number, hash FROM merkle_node").iterate() as Iterable<{
    level: number;
    number: number;
    hash: Buffer;
  }>) {
    seen += 1;
    const start = node.number * FAN_OUT;
    const hashes = node.level === 1 ? leaves.all(start, start + FAN_OUT) : below.all(node.level - 1, start, start + FAN_OUT);
    const first = node.number * FAN_OUT ** node.level;
    if (Buffer.compare(rootOf(hashes as Buffer[]), node.hash) !== 0)
      bad(first, `the stored root of level ${node.level}, number ${node.number} is wrong`);
  }
  if (seen !== due) bad(null, `${seen} stored roots, ${due} are due`);
}

/** Calls that the records say were charged, and what each was charged. */
class SettledCalls {
  readonly charges = new Map<string, string>();
  note(body: string): void {
    const record = JSON.parse(body) as AuditRecord;
    if (record.kind !== "call" || record.call_id === null) return;
    if (record.settlement === "posted" || record.settlement === "unknown") this.charges.set(record.call_id, chargeOf(record));
  }
}

/** The record of a call of unknown fate holds no measured usage; its event carries the held amount. */
function chargeOf(record: AuditRecord): string {
  return record.usage === null ? "provisional" : `${record.usage.calls} ${record.usage.tool_tokens}`;
}

function checkUsage(store: Store, settled: SettledCalls, bad: (sequence: number | null, what: string) => void): void {
  let expected = 1;
  let matched = 0;
  for (const row of store.prepare("SELECT sequence, call_id, data FROM usage_event ORDER BY sequence").iterate() as Iterable<{
    sequence: number;
    call_id: string;
    data: string;
  }>) {
    if (row.sequence !== expected) bad(null, `usage event ${expected} is missing; the next one is ${row.sequence}`);
    expected = row.sequence + 1;
    const charge = settled.charges.get(row.call_id);
    if (charge === undefined) {
      bad(null, `usage event ${row.sequence} has no settled call`);
      continue;
    }
    matched += 1;
    const data = JSON.parse(row.data) as { call_id: string; provisional: boolean; quantity: { calls: number; tool_tokens: number } };
    const said = data.provisional ? "provisional" : `${data.quantity.calls} ${data.quantity.tool_tokens}`;
    if (data.call_id !== row.call_id || (charge !== said && charge !== "provisional"))
      bad(null, `usage event ${row.sequence} differs from the record of ${row.call_id}`);
  }
  if (matched !== settled.charges.size) bad(null, `${settled.charges.size - matched} settled calls have no usage event`);
}

/** The root of a growing log from one hash per set bit of its size: nothing is kept but the right edge. */
function createFrontier() {
  const edge: { hash: Buffer; width: number }[] = [];
  return {
    add(leaf: Buffer): void {
      let hash = leaf;
      let width = 1;
      for (let last = edge.at(-1); last !== undefined && last.width === width; last = edge.at(-1)) {
        edge.pop();
        hash = nodeHash(last.hash, hash);
        width *= 2;
      }
      edge.push({ hash, width });
    },
    root(): Buffer {
      let root: Buffer | null = null;
      for (const { hash } of edge.toReversed()) root = root === null ? hash : nodeHash(hash, root);
      return root ?? rootOf([]);
    },
  };
}
