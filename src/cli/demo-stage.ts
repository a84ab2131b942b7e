/** What the demo needs around the gateway: a folder with config and policies, and a second real MCP server over HTTP. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const EVERYTHING = join(import.meta.dirname, "../../node_modules/@modelcontextprotocol/server-everything/dist/index.js");

export type Stage = {
  readonly configFile: string;
  readonly dataFolder: string;
  readonly publicUrl: string;
  readonly adminUrl: string;
  readonly toolboxUrl: string;
  end(): Promise<void>;
};

/** Without the development dependencies (an installed package) there is nothing to put the gateway in front of. */
export function stageIsPossible(): boolean {
  return existsSync(EVERYTHING);
}

export async function setStage(): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), "tollgate-demo-"));
  const [publicPort = 0, adminPort = 0, probePort = 0, toolboxPort = 0] = await pickPorts([8420, 8421, 8422, 8430]);
  const publicUrl = `http://127.0.0.1:${publicPort}`;
  const toolboxUrl = `http://127.0.0.1:${toolboxPort}/mcp`;
  mkdirSync(join(folder, "policies"));
  writeFileSync(join(folder, "tollgate.yaml"), configText(publicUrl, publicPort, adminPort, probePort, toolboxUrl));
  writeFileSync(join(folder, "policies", "demo.yaml"), POLICY);
  const toolbox = await startToolbox(toolboxPort);
  return {
    configFile: join(folder, "tollgate.yaml"),
    dataFolder: join(folder, "data"),
    publicUrl,
    adminUrl: `http://127.0.0.1:${adminPort}`,
    toolboxUrl,
    async end() {
      toolbox.kill("SIGTERM");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function configText(publicUrl: string, publicPort: number, adminPort: number, probePort: number, toolboxUrl: string): string {
  return `apiVersion: tollgate/v1
publicUrl: ${publicUrl}
listen: { port: ${publicPort} }
admin: { port: ${adminPort} }
probes: { port: ${probePort} }
servers:
  everything: { command: [${JSON.stringify(process.execPath)}, ${JSON.stringify(EVERYTHING)}, stdio] }
  toolbox: { url: "${toolboxUrl}" }
`;
}

const POLICY = `apiVersion: tollgate/v1
entitlements:
  - name: demo-team-uses-both-servers
    who: { team: demo }
    permit: ["everything/*", "toolbox/*"]
  - name: visitors-look-around
    who: { team: visitors }
    permit: ["everything/*"]
  - name: nobody-reads-the-environment
    forbid: ["*/get-env"]
  - name: sums-stay-small
    forbid: ["*/get-sum"]
    when: args.a > 1000 || args.b > 1000
budgets:
  - { name: demo-calls, who: { team: demo }, each: agent, meter: calls, limit: 2, period: day }
  - { name: demo-tokens, who: { team: demo }, meter: tool_tokens, limit: 100_000, period: month }
`;

/** server-everything again, but as a server of its own over Streamable HTTP. */
async function startToolbox(port: number): Promise<ChildProcess> {
  const child = spawn(process.execPath, [EVERYTHING, "streamableHttp"], {
    env: { PATH: process.env.PATH, PORT: String(port) },
    stdio: "ignore",
  });
  for (let tries = 0; tries < 200; tries++) {
    if (child.exitCode !== null) throw new Error(`the demo's HTTP server ended with ${child.exitCode}`);
    // Any answer will do: the server says 4xx to a GET without a session, which shows that it listens.
    if (
      await fetch(`http://127.0.0.1:${port}/mcp`).then(
        () => true,
        () => false,
      )
    )
      return child;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  child.kill("SIGKILL");
  throw new Error("the demo's HTTP server does not listen");
}

/** The usual ports where they are free, others where they are not. */
async function pickPorts(wanted: readonly number[]): Promise<number[]> {
  const ports: number[] = [];
  for (const port of wanted) ports.push((await freePort(port)) ?? (await freePort(0)) ?? port);
  return ports;
}

function freePort(port: number): Promise<number | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(null));
    server.listen(port, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : null));
    });
  });
}
