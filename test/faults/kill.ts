/** Kills a writing process at a random instant, again and again, and joins what it said with what the journal holds. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";

export type Joined = {
  readonly settled: number;
  readonly permitted: number;
  /** Calls that were acknowledged as settled and are not on disk exactly once, as posted. */
  readonly lost: string[];
  /** Calls whose permit was acknowledged and which have not exactly one record and one usage event. */
  readonly open: string[];
  readonly doubled: number;
};

export async function killOnce(dataDir: string, logFile: string, afterMs: number): Promise<void> {
  const child = fork(join(import.meta.dirname, "journal-child.ts"), [dataDir, logFile, "16"], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  await once(child, "message");
  await new Promise((resolve) => setTimeout(resolve, afterMs));
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
}

/** A last run that ends by itself, so that the journal has recovered from the last kill. */
export async function endCalmly(dataDir: string, logFile: string): Promise<void> {
  const child = fork(join(import.meta.dirname, "journal-child.ts"), [dataDir, logFile, "4", "20"], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const [code] = await once(child, "exit");
  if (code !== 0) throw new Error(`the last run ended with ${code}`);
}

export function joinLogs(journalFile: string, logFile: string): Joined {
  return joinSaid(journalFile, existsSync(logFile) ? readFileSync(logFile, "utf8") : "");
}

/** Call id to the last that was acknowledged of it: `permitted` or `settled`. */
export function callsIn(log: string): Map<string, string> {
  const said = new Map<string, string>();
  for (const line of log.split("\n")) {
    const [what, callId] = line.split(" ");
    if (callId !== undefined && (what === "settled" || what === "permitted")) said.set(callId, what);
  }
  return said;
}

export function joinSaid(journalFile: string, log: string): Joined {
  const said = callsIn(log);
  const raw = new Database(journalFile, { readonly: true });
  const held = new Map<string, string>();
  let doubled = 0;
  const rows = raw
    .prepare(
      `SELECT r.call_id AS callId, r.body ->> '$.settlement' AS settlement, count(e.sequence) AS events
       FROM audit_record AS r LEFT JOIN usage_event AS e ON e.record = r.sequence WHERE r.kind = 'call' GROUP BY r.sequence`,
    )
    .all() as { callId: string; settlement: string; events: number }[];
  for (const { callId, settlement, events } of rows) {
    if (held.has(callId) || events !== 1) doubled += 1;
    held.set(callId, settlement);
  }
  raw.close();
  const all = [...said];
  const settled = all.filter(([, what]) => what === "settled");
  return {
    settled: settled.length,
    permitted: all.length,
    lost: settled.filter(([callId]) => held.get(callId) !== "posted").map(([callId]) => callId),
    open: all.filter(([callId]) => !held.has(callId)).map(([callId]) => callId),
    doubled,
  };
}
