/** What somebody with the file and all of its rules can do, short of the key: the log that is left agrees with itself in every number and hash. */
import Database from "better-sqlite3";
import { leafHash, rootOf } from "../../src/call/record/merkle.ts";
import { FAN_OUT } from "../../src/call/record/tree.ts";
import type { Random } from "../fixtures/seeded-random.ts";

type Row = { readonly was: number; readonly kind: string; readonly call_id: string | null; readonly body: string };

export const FORGERIES = ["change", "delete", "insert", "swap", "truncate"] as const;
export type Forgery = (typeof FORGERIES)[number];

/** The first sequence number from which on the log is another one. */
export function forge(file: string, forgery: Forgery, random: Random): number {
  const raw = new Database(file);
  try {
    raw.pragma("foreign_keys = OFF");
    raw.pragma("synchronous = OFF");
    for (const name of raw.prepare("SELECT name FROM sqlite_master WHERE type = 'trigger'").pluck().all())
      raw.exec(`DROP TRIGGER ${String(name)}`);
    const rows = raw.prepare("SELECT sequence AS was, kind, call_id, body FROM audit_record ORDER BY sequence").all() as Row[];
    const acts = rows.filter(({ kind }) => kind !== "call");
    const pick = () => acts[1 + Math.floor(random() * (acts.length - 2))] ?? (acts[0] as Row);
    const { left, first } = alter(rows, forgery, pick(), pick(), random);
    raw.transaction(() => rewrite(raw, left, first))();
    return first;
  } finally {
    raw.close();
  }
}

function alter(rows: readonly Row[], forgery: Forgery, one: Row, other: Row, random: Random): { left: readonly Row[]; first: number } {
  const changed = { ...one, body: one.body.replace('"administrator":"first"', '"administrator":"ghost"') };
  if (forgery === "change") return { left: rows.map((row) => (row === one ? changed : row)), first: one.was };
  if (forgery === "delete") return { left: rows.filter((row) => row !== one), first: one.was };
  if (forgery === "insert") return { left: rows.flatMap((row) => (row === one ? [{ ...changed, was: -1 }, row] : [row])), first: one.was };
  if (forgery === "swap") {
    const second = other === one ? (rows.find(({ kind, was }) => kind !== "call" && was !== one.was) as Row) : other;
    const swapped = rows.map((row) => (row === one ? { ...row, body: second.body } : row === second ? { ...row, body: one.body } : row));
    return { left: swapped, first: Math.min(one.was, second.was) };
  }
  const size = Math.floor(rows.length * (0.2 + 0.7 * random()));
  return { left: rows.slice(0, size), first: size };
}

/** Numbers, leaves and roots as they must be; usage, lines and balances follow the records; checkpoints that would tell are gone. */
function rewrite(raw: Database.Database, rows: readonly Row[], first: number): void {
  const moved = new Map(rows.flatMap(({ was }, i) => (was === -1 ? [] : [[was, i] as const])));
  raw.exec("DELETE FROM audit_record; DELETE FROM merkle_node");
  const insert = raw.prepare("INSERT INTO audit_record (sequence, kind, call_id, leaf, body) VALUES (?, ?, ?, ?, ?)");
  const leaves = rows.map(({ kind, call_id, body }, i) => {
    const numbered = body.replace(/"sequence":[0-9]+,"server":/, `"sequence":${i},"server":`);
    const leaf = leafHash(Buffer.from(numbered));
    insert.run(i, kind, call_id, leaf, numbered);
    return leaf;
  });
  const node = raw.prepare("INSERT INTO merkle_node (level, number, hash) VALUES (?, ?, ?)");
  for (let level = 1, below: readonly Buffer[] = leaves; below.length >= FAN_OUT; level++) {
    const roots: Buffer[] = [];
    for (let at = 0; at + FAN_OUT <= below.length; at += FAN_OUT) roots.push(rootOf(below.slice(at, at + FAN_OUT)));
    for (const [number, hash] of roots.entries()) node.run(level, number, hash);
    below = roots;
  }
  raw.prepare("DELETE FROM cosignature WHERE size > ?").run(first);
  raw.prepare("DELETE FROM checkpoint WHERE size > ?").run(first);
  follow(raw, moved);
}

function follow(raw: Database.Database, moved: ReadonlyMap<number, number>): void {
  raw.exec("CREATE TEMP TABLE moved (was INTEGER PRIMARY KEY, now INTEGER NOT NULL)");
  const insert = raw.prepare("INSERT INTO moved (was, now) VALUES (?, ?)");
  for (const pair of moved) insert.run(...pair);
  for (const table of ["usage_event", "posted_line"]) {
    raw.exec(`DELETE FROM ${table} WHERE record NOT IN (SELECT was FROM moved)`);
    // Through negative numbers, so that no two rows meet on the way.
    raw.exec(`UPDATE ${table} SET record = -1 - (SELECT now FROM moved WHERE was = record)`);
    raw.exec(`UPDATE ${table} SET record = -1 - record`);
  }
  raw.exec(`UPDATE balance SET committed = (SELECT coalesce(sum(posted), 0) FROM posted_line WHERE balance = balance.id),
    debt = (SELECT coalesce(sum(debt), 0) FROM posted_line WHERE balance = balance.id)`);
}
