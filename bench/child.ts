/** Child processes of a measurement: started from a file, heard through lines of JSON, stopped by their id. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";

export type Child = { readonly process: ChildProcess; readonly pid: number; stop(): Promise<void> };

/** `errors` is the file that takes what it says on stderr; default: it is said here. */
export function startChild(command: string, args: readonly string[], errors: number | "inherit" = "inherit"): Child {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", errors] });
  if (child.pid === undefined) throw new Error(`${command} does not start`);
  return {
    process: child,
    pid: child.pid,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, "exit");
      child.kill("SIGTERM");
      // A server that drains gets 10 s; a measurement does not wait longer for one that hangs.
      const impatient = setTimeout(() => child.kill("SIGKILL"), 10_000);
      await exited;
      clearTimeout(impatient);
    },
  };
}

/** A file beside this one, run by the same Node. */
export function startScript(file: string, args: readonly string[]): Child {
  return startChild(process.execPath, [join(import.meta.dirname, file), ...args]);
}

/** The first line of JSON that the child prints. */
export async function firstLine<T>(child: Child): Promise<T> {
  const { stdout } = child.process;
  if (stdout === null) throw new Error("the child has no output");
  for await (const line of createInterface({ input: stdout })) return JSON.parse(line) as T;
  throw new Error("the child ended without a word");
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no free port");
  return address.port;
}
