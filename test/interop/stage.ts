/** What the clients visit: a server of both eras and one with sessions, behind a gateway process for each way to say no. */
import { rmSync } from "node:fs";
import type { AuditRecord } from "../../src/call/record/audit-record.ts";
import { GatewayProcess } from "../e2e/gateway-process.ts";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { startLegacyUpstream } from "../fixtures/legacy-upstream.ts";
import type { Target } from "./report.ts";
import type { Mode } from "./roster.ts";

export type ServerName = "both" | "sessions";

/** `search` is refused by its arguments, the second `add` by a budget of its own for every agent and server; `delete_everything` is hidden. */
const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: clients-use-tools, permit: ["*/echo", "*/add", "*/slow"] }
  - { name: clients-search-a-little, permit: ["*/search"], when: args.limit <= 100 }
budgets:
  - { name: one-addition, tools: ["*/add"], each: [agent, server], meter: calls, limit: 1, period: total }
`;
export const VISIBLE_TOOLS: readonly string[] = ["add", "echo", "search", "slow"];

/** More than all the clients leave on one gateway. */
const RECORDS_MAX = 1000;

export type Visit = {
  readonly target: Target;
  /** The tools that ran upstream since the visit began. */
  ran(): readonly string[];
  /** What the gateway recorded of it, oldest first. */
  records(): Promise<readonly AuditRecord[]>;
};

export type Stage = {
  expect(agentName: string, mode: Mode, server: ServerName): Promise<Visit>;
  close(): Promise<void>;
};

export async function setStage(modes: readonly Mode[]): Promise<Stage> {
  const upstreams: Record<ServerName, Upstream> = { both: await startHttpUpstream(), sessions: await startLegacyUpstream() };
  const servers = Object.entries(upstreams).map(([name, { mcpUrl }]) => `  ${name}: { url: "${mcpUrl}" }`);
  const gateways = new Map<Mode, GatewayProcess>();
  for (const mode of modes)
    gateways.set(mode, await GatewayProcess.start({ policies: POLICIES, servers: servers.join("\n"), more: `refusals: ${mode}` }));
  return {
    async expect(agentName, mode, server) {
      const gateway = gateways.get(mode);
      if (gateway === undefined) throw new Error(`no gateway says no by ${mode}`);
      const agent = await gateway.createAgent(`${agentName}-${server}`);
      const before = upstreams[server].executions.length;
      return {
        target: { url: `${gateway.publicUrl}/mcp/${server}`, accessToken: await gateway.accessToken(agent, server) },
        ran: () => upstreams[server].executions.slice(before).map(({ tool }) => tool),
        async records() {
          const tail = await gateway.json<AuditRecord[]>("audit", "tail", "--limit", String(RECORDS_MAX));
          return tail
            .filter(({ agent: caller, request }) => caller?.name === agent.name && request !== null)
            .sort((a, b) => a.time_start.localeCompare(b.time_start));
        },
      };
    },
    async close() {
      for (const gateway of gateways.values()) {
        await gateway.stop();
        rmSync(gateway.folder, { recursive: true, force: true });
      }
      await Promise.all(Object.values(upstreams).map((upstream) => upstream.close()));
    },
  };
}
