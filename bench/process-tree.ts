/** CPU time and resident memory of a process and all its descendants, from Linux's /proc; null elsewhere. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";

export type Cost = { readonly cpuMs: number; readonly rssMegabytes: number };

export function costOf(rootPid: number): Cost | null {
  if (!existsSync("/proc/self/stat")) return null;
  const parents = new Map<number, number>();
  const rows = new Map<number, readonly string[]>();
  for (const name of readdirSync("/proc")) {
    if (!/^[0-9]+$/.test(name)) continue;
    const fields = statOf(name);
    if (fields === null) continue;
    rows.set(Number(name), fields);
    parents.set(Number(name), Number(fields[1]));
  }
  let ticks = 0;
  let pages = 0;
  for (const [pid, fields] of rows) {
    if (!descendsFrom(pid, rootPid, parents)) continue;
    // proc(5): utime, stime, then those of children that have been waited for; rss.
    for (const i of [11, 12, 13, 14]) ticks += Number(fields[i]);
    pages += Number(fields[21]);
  }
  return { cpuMs: (ticks * 1000) / CLOCK_TICKS, rssMegabytes: (pages * PAGE_BYTES) / 1_048_576 };
}

const CLOCK_TICKS = configured("CLK_TCK", 100);
const PAGE_BYTES = configured("PAGESIZE", 4096);

function configured(name: string, otherwise: number): number {
  try {
    return Number(execFileSync("getconf", [name], { encoding: "utf8" })) || otherwise;
  } catch {
    return otherwise;
  }
}

/** The fields behind the command's name, which may itself hold spaces and parentheses. Null: the process has ended. */
function statOf(pid: string): readonly string[] | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return null;
  }
}

function descendsFrom(pid: number, root: number, parents: ReadonlyMap<number, number>): boolean {
  for (let at: number | undefined = pid; at !== undefined && at > 0; at = parents.get(at)) if (at === root) return true;
  return false;
}
