/** The inspector's command line: a process and a connection for every request, and what it prints is what its user sees. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import type { Report, Target } from "../report.ts";
import { bearer, type Session, shown, visit } from "./visit.ts";

const PROGRAM = join(import.meta.dirname, "../node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js");

export function drive(target: Target): Promise<Report> {
  return visit(target, (each) => commands(each, []));
}

export function auto(target: Target): Promise<Report> {
  return visit(target, (each) => commands(each, ["--protocol-era", "auto"]));
}

async function commands(target: Target, more: readonly string[]): Promise<Session> {
  const header = `Authorization: ${bearer(target).Authorization}`;
  const ask = (...args: string[]) =>
    printed(["--cli", target.url, "--transport", "http", "--header", header, "--format", "json", "--quiet", ...more, ...args]);
  return {
    tools: async () => ((await ask("--method", "tools/list")) as { tools: { name: string }[] }).tools.map(({ name }) => name),
    call: async (tool, args) => shown(await ask("--method", "tools/call", "--tool-name", tool, "--tool-args-json", JSON.stringify(args))),
    close: async () => {},
  };
}

/** `result` on stdout, also one that says it is an error; else `error` on stderr. */
function printed(args: readonly string[]): Promise<unknown> {
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [PROGRAM, ...args], (_, stdout, stderr) => {
      if (stdout.trim() !== "") return resolve((JSON.parse(stdout) as { result: unknown }).result);
      reject(printedError(stderr));
    });
  });
}

function printedError(stderr: string): Error {
  const line = stderr.split("\n").find((each) => each.startsWith('{"error":'));
  if (line === undefined) return new Error(stderr.trim() || "printed nothing");
  const { error } = JSON.parse(line) as { error: { message: string } };
  return Object.assign(new Error(error.message), error);
}
