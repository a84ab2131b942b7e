/** Runs one stdio server in a process group of its own, and ends the whole group when the gateway's pipe closes. */
import { spawn } from "node:child_process";
import { writeSync } from "node:fs";
import { Socket } from "node:net";

// Started by the gateway as the leader of a new group. The server's input and output are the gateway's own pipes, passed on untouched.
// Descriptor 3 brings the order (one line of JSON), takes the word of the server's end, and closes when the gateway ends, however it ends.
const GATEWAY_FD = 3;
/** From the asking SIGTERM to the SIGKILL that nothing survives. */
const GRACE_MS = 2_000;

type Order = { readonly command: readonly [string, ...string[]]; readonly env: Record<string, string>; readonly cwd: string };

// The group's own SIGTERM must not end the one who has to follow it with SIGKILL.
process.on("SIGTERM", endGroup);
process.on("SIGINT", endGroup);
process.on("SIGHUP", endGroup);

let ending = false;
let heard: string | null = "";
const gateway = new Socket({ fd: GATEWAY_FD, readable: true, writable: false });
gateway.on("end", endGroup).on("close", endGroup).on("error", endGroup);
gateway.setEncoding("utf8").on("data", (text: string) => {
  if (heard === null) return;
  heard += text;
  if (!heard.endsWith("\n")) return;
  run(JSON.parse(heard) as Order);
  heard = null;
});

function run({ command, env, cwd }: Order): void {
  const [program, ...args] = command;
  const server = spawn(program, args, { stdio: ["inherit", "inherit", "inherit"], env, cwd, shell: false });
  server.on("error", (fault) => leave(`it cannot be started: ${fault.message}`));
  server.on("exit", (code, signal) => leave(`it ended (${signal ?? code})`));
}

/** What the server started and left behind goes with it, and so does this process. */
function leave(why: string): void {
  try {
    writeSync(GATEWAY_FD, why);
  } catch {
    // The gateway has gone before: nobody is left to be told.
  }
  process.kill(-process.pid, "SIGKILL");
}

function endGroup(): void {
  if (ending) return;
  ending = true;
  process.kill(-process.pid, "SIGTERM");
  setTimeout(() => process.kill(-process.pid, "SIGKILL"), GRACE_MS);
}
