/** What a disk may hold after a power loss: all that was synced, and of the rest any part, in any order, torn or not at all. */
import { closeSync, copyFileSync, existsSync, ftruncateSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { basename, join } from "node:path";

export type Operation = { readonly kind: "W" | "T" | "S"; readonly file: string; readonly offset: number; readonly data: Buffer };

/** As rec.c wrote them. */
export function readRecording(file: string): Operation[] {
  const bytes = readFileSync(file);
  const operations: Operation[] = [];
  for (let at = 0; at < bytes.length; ) {
    const kind = String.fromCharCode(bytes.readUInt8(at)) as Operation["kind"];
    const pathEnd = at + 3 + bytes.readUInt16LE(at + 1);
    const path = bytes.toString("utf8", at + 3, pathEnd);
    const [offset, length] = [Number(bytes.readBigUInt64LE(pathEnd)), Number(bytes.readBigUInt64LE(pathEnd + 8))];
    const dataAt = pathEnd + 16;
    operations.push({ kind, file: basename(path), offset, data: bytes.subarray(dataAt, dataAt + length) });
    at = dataAt + length;
  }
  return operations;
}

/** The power goes before operation `cut`. `base` holds the files as they lay before the recording; returns what was acknowledged in `ackFile` by then. */
export function makeImage(
  operations: readonly Operation[],
  cut: number,
  random: () => number,
  base: string,
  folder: string,
  ackFile: string,
): string {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  copyFileSync(join(base, "journal.db"), join(folder, "journal.db"));
  const before = operations.slice(0, cut);
  const lastSync = new Map<string, number>();
  for (const [i, { kind, file }] of before.entries()) if (kind === "S") lastSync.set(file, i);
  const lossRate = random();
  const open = new Map<string, number>();
  let acknowledged = "";
  for (const [i, { kind, file, offset, data }] of before.entries()) {
    if (file === ackFile) {
      acknowledged += data.toString("utf8");
      continue;
    }
    if (kind === "S" || file.endsWith("-shm")) continue;
    const durable = i <= (lastSync.get(file) ?? -1);
    if (!durable && random() < lossRate) continue;
    const descriptor = open.get(file) ?? openSync(join(folder, file), existsSync(join(folder, file)) ? "r+" : "w+", 0o600);
    open.set(file, descriptor);
    if (kind === "T") ftruncateSync(descriptor, offset);
    else writeSync(descriptor, durable || random() >= TORN_RATE ? data : torn(data), 0, undefined, offset);
  }
  for (const descriptor of open.values()) closeSync(descriptor);
  return acknowledged;
}

/** Of the writes that were under way, how many reached the disk by half. */
const TORN_RATE = 0.2;
const SECTOR_BYTES = 512;

function torn(data: Buffer): Buffer {
  return data.subarray(0, Math.max(1, Math.floor(data.length / 2 / SECTOR_BYTES) * SECTOR_BYTES));
}
