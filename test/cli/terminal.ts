/** The command line in this process: what it writes and how it ends, without a process of its own. */
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { run } from "../../src/cli/program.ts";

export type Ending = { readonly code: number; readonly out: string; readonly err: string };

export async function tollgate(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>> = {},
  input = "",
): Promise<Ending> {
  const written = { out: [] as string[], err: [] as string[] };
  const io = {
    out: (text: string) => written.out.push(text),
    err: (text: string) => written.err.push(text),
    input: async () => input,
    color: false,
    env,
  };
  const code = await run(["node", "tollgate", ...args], io);
  return { code, out: written.out.join("\n"), err: written.err.join("\n") };
}

/** A folder with these files; a folder name may stand before a file's. */
export function folderOf(files: Readonly<Record<string, string>> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), "tollgate-cli-"));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

export const POLICY = `apiVersion: tollgate/v1
agents:
  declared-bot: { team: support, owner: owner@example.com, purpose: testing }
entitlements:
  - { name: all, permit: ["up/*"] }
budgets:
  - { name: shared-calls, meter: calls, limit: 1000, period: month }
`;

/** A config on free ports, or on ports where nothing listens. */
export function configText(ports: readonly number[] = [1, 2, 3], more = ""): string {
  return `apiVersion: tollgate/v1
publicUrl: http://127.0.0.1:${ports[0]}
listen: { port: ${ports[0]} }
admin: { port: ${ports[1]} }
probes: { port: ${ports[2]} }
${more}
servers:
  up: { url: "http://127.0.0.1:9/mcp" }
`;
}
