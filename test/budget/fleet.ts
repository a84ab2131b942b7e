/** Gateways that are killed and come back, alone or on one shared ledger, and what their agents hear. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GatewayProcess, modernRequest, type Setup, sleep } from "../e2e/gateway-process.ts";
import { startPostgres } from "../fixtures/postgres.ts";
import { startRedis } from "../fixtures/redis.ts";

export type Fleet = { readonly members: readonly GatewayProcess[]; isReady(member: GatewayProcess): Promise<void>; close(): Promise<void> };

/** `count` 1: one process that counts alone; more: on one Redis and one registry. */
export function startFleet(setup: Setup, count: number): Promise<Fleet> {
  return count === 1 ? alone(setup) : together(setup, count);
}

async function alone(setup: Setup): Promise<Fleet> {
  const gateway = await GatewayProcess.start(setup);
  return {
    members: [gateway],
    isReady: async () => {},
    async close() {
      await gateway.stop();
      rmSync(gateway.folder, { recursive: true, force: true });
    },
  };
}

async function together(setup: Setup, count: number): Promise<Fleet> {
  const [redis, postgres] = [await startRedis(), await startPostgres()];
  const registry = await postgres.database();
  const keys = mkdtempSync(join(tmpdir(), "tollgate-keys-"));
  const members: GatewayProcess[] = [];
  for (let i = 1; i <= count; i++) {
    const shared = `shared: { postgres: env:REGISTRY, staleAfter: 2s, redis: "${redis.url}", lapse: 90s }`;
    const more = `gatewayId: gw-${i}\nkeys: file:${keys}\n${shared}\n${setup.more ?? ""}`;
    const publicPort = members[0] === undefined ? {} : { publicPort: Number(new URL(members[0].publicUrl).port) };
    const member = await GatewayProcess.prepare({ ...setup, more, env: { REGISTRY: registry }, ...publicPort });
    await member.serve();
    members.push(member);
  }
  const isReady = (member: GatewayProcess) =>
    until(async () => {
      const { stdout } = await member.command("budget", "shared", "status", "--json");
      return (JSON.parse(stdout || "{}") as { open?: boolean }).open === true;
    });
  await Promise.all(members.map(isReady));
  return {
    members,
    isReady,
    async close() {
      await Promise.all(members.map((member) => member.stop()));
      await redis.close();
      await postgres.close();
      for (const folder of [keys, ...members.map((member) => member.folder)]) rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** `ran`, `cut` where the connection broke, or the reason of the refusal. */
export async function reasonOf(gateway: GatewayProcess, accessToken: string, tool: string, args: object): Promise<string> {
  try {
    const answer = await modernRequest(`${gateway.listenUrl}/mcp/up`, accessToken, "tools/call", { name: tool, arguments: args });
    const body = (await answer.json()) as { error?: { data: { reason: string } }; reason?: string };
    return body.error?.data.reason ?? body.reason ?? "ran";
  } catch {
    return "cut";
  }
}

/** An agent that every member of the fleet knows. */
export async function agentOf({ members }: Fleet, name: string, team: string): Promise<string> {
  const [first] = members;
  if (first === undefined) throw new Error("no gateway");
  const accessToken = await first.accessToken(await first.createAgent(name, team), "up");
  // The others hear of a new agent within a second.
  await Promise.all(
    members.map((member) => until(async () => (await reasonOf(member, accessToken, "no_such_tool", {})) === "tool_unknown")),
  );
  return accessToken;
}

const STUCK_MS = 60_000;

async function until(holds: () => Promise<boolean>): Promise<void> {
  const endMs = Date.now() + STUCK_MS;
  while (!(await holds().catch(() => false))) {
    if (Date.now() > endMs) throw new Error("a gateway does not become ready");
    await sleep(100);
  }
}
