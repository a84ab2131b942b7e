/** Cuts the power under a journal that calls are written to, at any operation, and looks what the disk then holds of what was acknowledged. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { checkHighWater } from "../../src/call/record/high-water.ts";
import { recover } from "../../src/call/record/recover.ts";
import { openStore, sourceOf } from "../../src/call/record/store.ts";
import { checkTail } from "../../src/call/record/tail-check.ts";
import { verifyLog } from "../../src/call/record/verify.ts";
import { createWriter } from "../../src/call/record/writer.ts";
import { makeImage, readRecording } from "./crash-image.ts";
import { callsIn, type Joined, joinSaid } from "./kill.ts";

export type PowerLossReport = {
  readonly synchronous: "FULL" | "NORMAL";
  readonly images: number;
  readonly operations: number;
  /** Acknowledged permits and settlements at the moment of each cut, summed over the images. */
  readonly acknowledged: number;
  /** Images that lack something that was acknowledged, and the most that one lacks. */
  readonly imagesWithLoss: number;
  readonly mostLost: number;
  /** Images that a start refuses, or that do not verify after it. */
  readonly damaged: number;
};

/** Calls at once and calls in all, of each recording: alone, in groups, and enough of them for the log to be written back into the file. */
const WORKLOADS = [
  [1, 150],
  [4, 300],
  [16, 600],
  [64, 1_200],
  [16, 6_000],
] as const;
const SOURCE = "gw_01k9x3v7m2q8r5t1w4y6z0abcd";

/** Null where no C compiler is there to build the recorder. */
export function buildRecorder(): string | null {
  const library = join(mkdtempSync(join(tmpdir(), "tollgate-rec-")), "rec.so");
  try {
    execFileSync("gcc", ["-shared", "-fPIC", "-O2", "-o", library, join(import.meta.dirname, "rec.c"), "-ldl", "-lpthread"], {
      stdio: "pipe",
    });
    return library;
  } catch {
    return null;
  }
}

export async function losePower(options: {
  readonly recorder: string;
  readonly synchronous: "FULL" | "NORMAL";
  readonly images: number;
  readonly random: () => number;
  readonly progress?: () => void;
  /** Of `WORKLOADS`, how many of the first; default: all. */
  readonly workloads?: number;
}): Promise<PowerLossReport> {
  const { images, random, synchronous } = options;
  const folder = mkdtempSync(join(tmpdir(), "tollgate-power-"));
  const sum = { operations: 0, acknowledged: 0, imagesWithLoss: 0, mostLost: 0, damaged: 0 };
  const workloads = WORKLOADS.slice(0, options.workloads);
  for (const [i, [lanes, calls]] of workloads.entries()) {
    const base = join(folder, `base-${i}`);
    mkdirSync(base);
    const recording = await record(join(folder, `run-${i}`), base, options, lanes, calls);
    const operations = readRecording(recording);
    sum.operations += operations.length;
    const share = Math.floor((images * (i + 1)) / workloads.length) - Math.floor((images * i) / workloads.length);
    for (let image = 0; image < share; image++) {
      const cut = Math.floor(random() * operations.length);
      const dataDir = join(folder, "image");
      const said = makeImage(operations, cut, random, base, dataDir, "said.log");
      const found = await start(dataDir, said);
      const lost = found === null ? 0 : found.lost.length + found.open.length;
      sum.acknowledged += callsIn(said).size;
      if (found === null || found.doubled > 0) sum.damaged += 1;
      if (lost > 0) sum.imagesWithLoss += 1;
      sum.mostLost = Math.max(sum.mostLost, lost);
      options.progress?.();
    }
    rmSync(recording);
  }
  rmSync(folder, { recursive: true, force: true });
  return { synchronous, images, ...sum };
}

/** Writes calls under the recorder, and ends by itself; `base` gets the journal as it was before. */
async function record(
  run: string,
  base: string,
  { recorder, synchronous }: { recorder: string; synchronous: string },
  lanes: number,
  calls: number,
) {
  mkdirSync(run, { mode: 0o700 });
  openStore(run, true).close();
  copyFileSync(join(run, "journal.db"), join(base, "journal.db"));
  const recording = `${run}.rec`;
  const preload = synchronous === "FULL" ? [] : ["--import", pathToFileURL(join(import.meta.dirname, "normal-sync.ts")).href];
  const child = spawn(
    process.execPath,
    [...preload, join(import.meta.dirname, "journal-child.ts"), run, join(run, "said.log"), String(lanes), String(calls)],
    { stdio: ["ignore", "ignore", "inherit"], env: { ...process.env, LD_PRELOAD: recorder, REC: recording, RECMATCH: run } },
  );
  const [code] = await once(child, "exit");
  if (code !== 0) throw new Error(`the writer ended with ${code}`);
  return recording;
}

/** A start on what the disk holds: as the journal's thread does it. Null: refused, or what it made does not verify. */
async function start(dataDir: string, said: string): Promise<Joined | null> {
  try {
    const store = openStore(dataDir, false);
    try {
      checkTail(store);
      checkHighWater(store, dataDir);
      recover(store, createWriter(store), sourceOf(store, SOURCE), Date.now());
    } finally {
      store.close();
    }
    const file = join(dataDir, "journal.db");
    const { ok } = await verifyLog(file);
    return ok ? joinSaid(file, said) : null;
  } catch {
    return null;
  }
}
