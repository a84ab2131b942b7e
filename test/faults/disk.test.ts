import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { joinLogs } from "./kill.ts";

const mayMount = spawnSync("unshare", ["-rm", "mount", "-t", "tmpfs", "-o", "size=1m", "none", "/mnt"]).status === 0;
const mayTrace = spawnSync("strace", ["-f", "-e", "trace=fdatasync", "true"]).status === 0;
const child = join(import.meta.dirname, "journal-child.ts");

async function run(command: string, args: readonly string[]): Promise<number | null> {
  const started = spawn(command, args, { stdio: ["ignore", "inherit", "ignore"] });
  const [code] = await once(started, "exit");
  return code;
}

const countOf = (log: string, what: string) => log.split("\n").filter((line) => line.startsWith(what)).length;

test.skipIf(!mayMount)(
  "a full disk refuses calls, and when space returns every acknowledged and every withheld settlement is there (needs unshare -rm)",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "tollgate-full-"));
    // The disk is filled while calls run, and freed a while later; the books are copied out of the mount at the end.
    const script = `
    mount -t tmpfs -o size=6m none /mnt || exit 9
    ("${process.execPath}" "${child}" /mnt/data "${folder}/said.log" 4 600) & writer=$!
    while ! grep -q -m1 settled "${folder}/said.log" 2>/dev/null; do sleep 0.05; done
    cat /dev/zero > /mnt/filler 2>/dev/null
    while ! grep -q -m1 "state down" "${folder}/said.log"; do sleep 0.05; kill -0 $writer || exit 8; done
    sleep 0.3; rm /mnt/filler; mount -o remount,size=64m /mnt
    wait $writer || exit 7
    cp /mnt/data/journal.db "${folder}/journal.db"`;
    expect(await run("unshare", ["-rm", "bash", "-c", script])).toBe(0);
    const log = readFileSync(join(folder, "said.log"), "utf8");
    expect(countOf(log, "state down")).toBeGreaterThan(0);
    expect(countOf(log, "state up")).toBe(countOf(log, "state down"));
    expect(countOf(log, "refused")).toBeGreaterThan(0);
    expect(countOf(log, "closed")).toBe(1);
    expect(joinLogs(join(folder, "journal.db"), join(folder, "said.log"))).toMatchObject({ lost: [], open: [], doubled: 0 });
  },
);

test.skipIf(!mayTrace)(
  "an fsync that fails once refuses its batch, and the journal goes on with a new connection (needs strace)",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "tollgate-eio-"));
    const dataDir = join(folder, "data");
    const code = await run("strace", [
      ...["-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync"],
      // Counted per thread: the first of the journal's thread make the schema, the 30th is a commit of calls.
      ...["-e", "inject=fdatasync,fsync:error=EIO:when=30", process.execPath, child, dataDir, join(folder, "said.log"), "4", "120"],
    ]);
    expect(code).toBe(0);
    const log = readFileSync(join(folder, "said.log"), "utf8");
    expect(countOf(log, "state down")).toBe(1);
    expect(countOf(log, "state up")).toBe(1);
    expect(countOf(log, "refused")).toBeGreaterThan(0);
    expect(existsSync(join(dataDir, "journal.db"))).toBe(true);
    expect(joinLogs(join(dataDir, "journal.db"), join(folder, "said.log"))).toMatchObject({ lost: [], open: [], doubled: 0 });
  },
);
