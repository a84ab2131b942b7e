/** The pipes to one running server: lines out, lines in, its end. The supervisor between sees none of them. */
import { type ChildProcess, spawn } from "node:child_process";
import type { Duplex } from "node:stream";
import { fileURLToPath } from "node:url";
import { passedOn } from "./environment.ts";
import { createLineSplitter, type Line } from "./line-splitter.ts";

export type LinkOptions = {
  readonly command: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly lineBytesMax: number;
  readonly onLine: (line: Line) => void;
  /** Once, after the last line. */
  readonly onEnd: (why: string) => void;
  readonly onStderr: (line: Line) => void;
};

export type Link = {
  /** One message as one line, its line break included. False: the pipe is gone, or the server has long stopped reading. */
  write(line: Buffer): boolean;
  /** Ends the input; after `graceMs` asks the whole process group to end, and two seconds later makes it. Resolves when it is gone. */
  end(graceMs: number): Promise<void>;
};

const STDERR_LINE_BYTES_MAX = 8_192;
/** What waits for a server that does not read: a few of the largest requests. */
const UNREAD_BYTES_MAX = 16_777_216;
/** A process that left the group may hold the server's output open for ever; what is in the pipe is read in far less. */
const DRAIN_MS = 1_000;

export function openLink(options: LinkOptions): Link {
  const child = spawn(process.execPath, [supervisorPath()], {
    env: passedOn(process.env, process.platform),
    stdio: ["pipe", "pipe", "pipe", "pipe"],
    detached: true,
  });
  const gone = untilGone(child, options.onEnd);
  forEachLine(child.stdout, options.lineBytesMax, options.onLine);
  forEachLine(child.stderr, STDERR_LINE_BYTES_MAX, options.onStderr);
  // Not in the arguments, which every user of the machine can read, nor in the supervisor's own environment.
  const order = { command: options.command, env: { ...passedOn(process.env, process.platform), ...options.env }, cwd: options.cwd };
  gatewayEnd(child)?.write(`${JSON.stringify(order)}\n`);
  return {
    write(line) {
      const { stdin } = child;
      if (stdin === null || !stdin.writable || stdin.writableLength > UNREAD_BYTES_MAX) return false;
      stdin.write(line);
      return true;
    },
    async end(graceMs) {
      child.stdin?.end();
      const forced = setTimeout(() => gatewayEnd(child)?.destroy(), graceMs);
      await gone;
      clearTimeout(forced);
    },
  };
}

function supervisorPath(): string {
  return fileURLToPath(new URL(`./supervisor.${import.meta.url.endsWith(".ts") ? "ts" : "js"}`, import.meta.url));
}

/** The gateway's end of the supervisor's descriptor 3. */
function gatewayEnd(child: ChildProcess): Duplex | null {
  return (child.stdio[3] as Duplex | null | undefined) ?? null;
}

function untilGone(child: ChildProcess, onEnd: (why: string) => void): Promise<void> {
  let why = "";
  gatewayEnd(child)
    ?.setEncoding("utf8")
    .on("data", (text: string) => {
      why += text;
    });
  // A pipe that breaks is noticed by the process's end; its own error would be a second word for the same.
  for (const stream of child.stdio) stream?.on("error", () => {});
  return new Promise((resolve) => {
    const end = (word: string) => {
      onEnd(word);
      resolve();
    };
    child.once("error", (fault) => end(`its supervisor cannot be started: ${fault.message}`));
    child.once("exit", () => {
      if (why === "") killGroup(child.pid);
      const drained = setTimeout(() => child.stdio.forEach((stream) => void stream?.destroy()), DRAIN_MS);
      child.once("close", () => {
        clearTimeout(drained);
        end(why === "" ? "it was ended" : why);
      });
    });
  });
}

/** A supervisor that was itself killed has left its group behind. */
function killGroup(leader: number | undefined): void {
  if (leader === undefined) return;
  try {
    process.kill(-leader, "SIGKILL");
  } catch {
    // The group is empty: there is nothing to end.
  }
}

function forEachLine(stream: NodeJS.ReadableStream | null, lineBytesMax: number, onLine: (line: Line) => void): void {
  const splitter = createLineSplitter(lineBytesMax);
  stream?.on("data", (chunk: Buffer) => {
    for (const line of splitter.push(chunk)) onLine(line);
  });
}
