/** The bridge by which hosts that know only stdio reach a gateway; the SDK v1 stands for the host. */
import { writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import type { Report, Target } from "../report.ts";
import { over } from "./sdk-v1.ts";
import { bearer, type Session, visit } from "./visit.ts";

const PROXY = join(import.meta.dirname, "../node_modules/mcp-remote/dist/proxy.js");

export function drive(target: Target): Promise<Report> {
  return visit(target, (each) => bridged(each, []));
}

/** Asks the server for its era; the host behind it stays in its own. */
export function auto(target: Target): Promise<Report> {
  return visit(target, (each) => bridged(each, ["--protocol", "auto"]));
}

/** In a file, as its manual advises: every user of a machine can read the arguments of a process. */
function bridged(target: Target, more: readonly string[]): Promise<Session> {
  const headers = join(homedir(), "headers.txt");
  writeFileSync(headers, `Authorization: ${bearer(target).Authorization}\n`, { mode: 0o600 });
  const args = [PROXY, target.url, "--header-file", headers, ...more];
  return over(new StdioClientTransport({ command: process.execPath, args, env: process.env as Record<string, string>, stderr: "inherit" }));
}
