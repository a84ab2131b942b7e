/** The gateway as shipped (synchronous=FULL, nothing switched off) before the same upstream, with one agent, a rule on arguments and two hard budgets. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Child, freePort, startChild } from "./child.ts";

const MAIN = join(import.meta.dirname, "../src/main.ts");
const run = promisify(execFile);

export type Gateway = {
  readonly child: Child;
  readonly url: string;
  /** From spawn to the first 200 of /readyz, by when all listeners are open. */
  readonly startMs: number;
  command<T>(...args: readonly string[]): Promise<T>;
};

/** `nodeFlags` are the process's own; `timeout` is how long one call may take. */
export type Setup = { readonly nodeFlags?: readonly string[]; readonly timeout?: string };

export async function startGateway(
  folder: string,
  upstreamPort: number,
  { nodeFlags = [], timeout = "60s" }: Setup = {},
): Promise<Gateway> {
  const home = mkdtempSync(join(folder, "gateway-"));
  const [port, adminPort, probesPort] = [await freePort(), await freePort(), await freePort()];
  const file = join(home, "tollgate.yaml");
  mkdirSync(join(home, "policies"));
  writeFileSync(join(home, "policies", "bench.yaml"), POLICIES);
  writeFileSync(file, configuration({ port, adminPort, probesPort, upstreamPort, timeout }));
  const spawnedAt = performance.now();
  const logFile = join(home, "gateway.log");
  const child = startChild(process.execPath, [...nodeFlags, MAIN, "serve", "-c", file], openSync(logFile, "a"));
  // The log must flow, or a full pipe would stop the process.
  child.process.stdout?.resume();
  await ready(`http://127.0.0.1:${probesPort}/readyz`, child).catch(async (fault) => {
    await child.stop();
    throw new Error(readFileSync(logFile, "utf8"), { cause: fault });
  });
  return {
    child,
    url: `http://127.0.0.1:${port}/mcp/bench`,
    startMs: performance.now() - spawnedAt,
    async command<T>(...args: readonly string[]): Promise<T> {
      const { stdout } = await run(process.execPath, [MAIN, ...args, "-c", file, "--json"]);
      return JSON.parse(stdout) as T;
    },
  };
}

/** Registers the agent and gives its access token. */
export async function admit(gateway: Gateway): Promise<string> {
  await gateway.command("agent", "create", "bench", "--team", "bench", "--owner", "bench@example.com", "--purpose", "measuring");
  const answer = await gateway.command<{ access_token: string }>("token", "--agent", "bench", "--server", "bench");
  return answer.access_token;
}

async function ready(url: string, child: Child): Promise<void> {
  const until = performance.now() + 30_000;
  while (performance.now() < until) {
    if (child.process.exitCode !== null) throw new Error(`serve exited with ${child.process.exitCode}`);
    const answer = await fetch(url).catch(() => null);
    await answer?.arrayBuffer();
    if (answer?.status === 200) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error("the gateway is not ready after 30 s");
}

const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - name: bench-echoes
    who: { team: bench }
    permit: [bench/echo]
    when: args.limit <= 100
  - name: bench-streams
    who: { team: bench }
    permit: [bench/wait, bench/ticks, bench/flood]
budgets:
  - { name: calls-a-day, who: { team: bench }, each: agent, meter: calls, limit: 1000000000000, period: day, hard: true }
  - { name: tokens-a-month, who: { team: bench }, each: team, meter: tool_tokens, limit: 1000000000000, period: month, hard: true }
`;

type Settings = Readonly<Record<"port" | "adminPort" | "probesPort" | "upstreamPort", number>> & { readonly timeout: string };

function configuration({ port, adminPort, probesPort, upstreamPort, timeout }: Settings): string {
  return `apiVersion: tollgate/v1
publicUrl: http://127.0.0.1:${port}
listen: { port: ${port} }
admin: { port: ${adminPort} }
probes: { port: ${probesPort} }
data: ./data
policies: ./policies
authorizationServer: { accessTokenTtl: 1h }
servers:
  bench: { url: "http://127.0.0.1:${upstreamPort}/gateway", timeout: ${timeout} }
`;
}
