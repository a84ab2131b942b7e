/** What a server says of its tools, written down: pinned where it is the first word, kept for a person's yes where it differs. */

import { createHash } from "node:crypto";
import type { Reading } from "../../call/forward/catalogue.ts";
import { type DefinitionText, type Flag, flagsOf, needsEyes } from "../../call/forward/definition.ts";
import { iso } from "../agents/profiles.ts";
import type { ToolPinRow } from "../tables.ts";
import type { Writing } from "../writing.ts";
import { pathsOf } from "./definition-diff.ts";

export type PinMode = "firstUse" | "strict" | "off";

export type PinAudit = (
  kind: "tool.pinned" | "tool.changed" | "tool.approved",
  by: string,
  details: Readonly<Record<string, string | number | null>>,
) => Promise<void>;

/** A definition that somebody has to look at. `was` null: the tool is new. */
export type Waiting = {
  readonly server: string;
  readonly tool: string;
  readonly sha256: string;
  readonly was: string | null;
  readonly flags: readonly Flag[];
};

export type WriteParts = {
  readonly audit: PinAudit;
  readonly now: () => number;
  readonly mode: PinMode;
  /** False: of the server's list only a part, which is never the first word. */
  readonly whole: boolean;
};

type Row = ToolPinRow;

/** Tools of one server that were never approved and are kept for it: a server that invents names fills no database. */
const NEW_MAX = 1_000;
/** Rows in one statement: SQLite binds 32,766 values. */
const ROWS_A_STATEMENT = 500;
const BY = "first use";

/** Returns what waits since now. */
export async function writeReading(parts: WriteParts, writing: Writing, server: string, reading: Reading): Promise<readonly Waiting[]> {
  const { db } = writing;
  const first = (await db.selectFrom("pinned_server").select("server").where("server", "=", server).executeTakeFirst()) === undefined;
  if (first && !parts.whole) return [];
  const rows = await db.selectFrom("tool_pin").selectAll().where("server", "=", server).execute();
  const known = new Map(rows.map((row) => [row.tool, row]));
  const at = iso(parts.now());
  let room = NEW_MAX - rows.filter(({ sha256 }) => sha256 === null).length;
  const changed: Row[] = [];
  const waiting: Waiting[] = [];
  for (const definition of reading.definitions) {
    const row = known.get(definition.name) ?? emptyRow(server, definition.name);
    const flags = flagsOf(definition.text);
    const pins = first && parts.mode === "firstUse" && row.sha256 === null && !needsEyes(flags);
    const next = pins ? pinned(row, definition, at) : compared(row, definition, at);
    if (next === row) continue;
    const isNew = !known.has(definition.name) && next.sha256 === null;
    if (isNew && room-- <= 0) continue;
    changed.push(next);
    if (next.seen_sha256 !== null) waiting.push({ server, tool: next.tool, sha256: definition.sha256, was: next.sha256, flags });
  }
  if (!first && changed.length === 0) return [];
  await record(parts, server, reading.version, first, changed, waiting, known, reading);
  if (first) await db.insertInto("pinned_server").values({ server, version: reading.version, pinned_at: at }).execute();
  await keep(writing, changed);
  await writing.changed("tool_pin", server);
  return waiting;
}

function emptyRow(server: string, tool: string): Row {
  const pin = { sha256: null, definition: null, pinned_at: null, pinned_by: null };
  return { server, tool, ...pin, seen_sha256: null, seen_definition: null, seen_at: null };
}

const UNSEEN = { seen_sha256: null, seen_definition: null, seen_at: null } as const;

function pinned(row: Row, { sha256, text }: DefinitionText, at: string): Row {
  return { ...row, sha256, definition: text, pinned_at: at, pinned_by: BY, ...UNSEEN };
}

/** What comes back as it was pinned waits no longer. */
function compared(row: Row, { sha256, text }: DefinitionText, at: string): Row {
  if (row.sha256 === sha256) return row.seen_sha256 === null ? row : { ...row, ...UNSEEN };
  return row.seen_sha256 === sha256 ? row : { ...row, seen_sha256: sha256, seen_definition: text, seen_at: at };
}

/** Before it takes effect. The digest over all pins of a server makes one record stand for each of them. */
async function record(
  { audit, mode }: WriteParts,
  server: string,
  version: string | null,
  first: boolean,
  changed: readonly Row[],
  waiting: readonly Waiting[],
  known: ReadonlyMap<string, Row>,
  { definitions }: Reading,
): Promise<void> {
  if (first) {
    const pins = changed.filter(({ sha256, seen_sha256 }) => sha256 !== null && seen_sha256 === null);
    const lines = pins.map(({ tool, sha256 }) => `${tool} ${sha256}\n`).toSorted();
    const digest = createHash("sha256").update(lines.join("")).digest("hex");
    await audit("tool.pinned", BY, { server, version, mode, pinned: pins.length, waiting: waiting.length, pins: `sha256:${digest}` });
  }
  // Under strict nothing counts at first: that is no change.
  if (first && mode === "strict") return;
  const texts = new Map(definitions.map(({ name, text }) => [name, text]));
  for (const { tool, sha256, was, flags } of waiting) {
    const before = known.get(tool)?.definition ?? null;
    const differs = before === null ? null : pathsOf(before, texts.get(tool) ?? "{}");
    await audit("tool.changed", server, {
      ...{ server, tool, definition: `sha256:${sha256}`, was: was === null ? null : `sha256:${was}` },
      ...{ differs, flags: flags.length === 0 ? null : flags.join(" ") },
    });
  }
}

async function keep({ db }: Writing, rows: readonly Row[]): Promise<void> {
  for (let from = 0; from < rows.length; from += ROWS_A_STATEMENT) {
    await db
      .insertInto("tool_pin")
      .values(rows.slice(from, from + ROWS_A_STATEMENT))
      .onConflict((conflict) =>
        conflict.columns(["server", "tool"]).doUpdateSet(({ ref }) => ({
          sha256: ref("excluded.sha256"),
          definition: ref("excluded.definition"),
          pinned_at: ref("excluded.pinned_at"),
          pinned_by: ref("excluded.pinned_by"),
          seen_sha256: ref("excluded.seen_sha256"),
          seen_definition: ref("excluded.seen_definition"),
          seen_at: ref("excluded.seen_at"),
        })),
      )
      .execute();
  }
}
