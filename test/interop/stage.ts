/** What the clients visit: a server of both eras and one with sessions, behind a gateway process for each way to say no. */
import { randomUUID } from "node:crypto";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { importJWK, type JWK, SignJWT } from "jose";
import type { AuditRecord } from "../../src/call/record/audit-record.ts";
import type { StoredRecord } from "../../src/call/record/books.ts";
import { GatewayProcess } from "../e2e/gateway-process.ts";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { startLegacyUpstream } from "../fixtures/legacy-upstream.ts";
import { COURSES, type Course, type Mode, POLICIES, type ServerName, VIEWS } from "./play.ts";
import type { Target } from "./report.ts";

/** A visit leaves some fifteen. */
const RECORDS_MAX = 200;
const TOKEN_SECONDS = 300;

export type Visit = {
  readonly target: Target;
  /** The tools that ran upstream since the visit began. */
  ran(): readonly string[];
  /** What the gateway recorded of it, oldest first. */
  records(): Promise<readonly AuditRecord[]>;
};

export type Stage = {
  /** One visit at a time: what is recorded and run from here on is the next client's. */
  expect(clientName: string, course: Course): Promise<Visit>;
  close(): Promise<void>;
};

export async function setStage(modes: readonly Mode[]): Promise<Stage> {
  const upstreams: Record<ServerName, Upstream> = { both: await startHttpUpstream(), sessions: await startLegacyUpstream() };
  const servers = Object.entries(upstreams).map(([name, { mcpUrl }]) => `  ${name}: { url: "${mcpUrl}" }`);
  const gateways = new Map<Mode, GatewayProcess>();
  for (const mode of modes)
    gateways.set(
      mode,
      await GatewayProcess.start({ policies: POLICIES, servers: servers.join("\n"), more: `refusals: ${mode}\n${VIEWS}` }),
    );
  return {
    async expect(clientName, course) {
      const { mode, server, route } = COURSES[course];
      const gateway = gateways.get(mode);
      if (gateway === undefined) throw new Error(`no gateway says no by ${mode}`);
      const accessToken =
        course === "stranger" ? await tokenOfNobody(gateway, route) : await tokenOf(gateway, `${clientName}-${course}`, route);
      const ranBefore = upstreams[server].executions.length;
      const recordedBefore = (await newest(gateway, 1))[0]?.sequence ?? -1;
      return {
        target: { url: `${gateway.publicUrl}/mcp/${route}`, accessToken },
        ran: () => upstreams[server].executions.slice(ranBefore).map(({ tool }) => tool),
        async records() {
          const recorded = (await newest(gateway, RECORDS_MAX)).filter(
            ({ sequence, request }) => sequence > recordedBefore && request !== null,
          );
          return recorded.sort((a, b) => a.time_start.localeCompare(b.time_start) || a.sequence - b.sequence);
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

function newest(gateway: GatewayProcess, limit: number): Promise<StoredRecord[]> {
  return gateway.json<StoredRecord[]>("audit", "tail", "--limit", String(limit));
}

async function tokenOf(gateway: GatewayProcess, agentName: string, route: string): Promise<string> {
  return gateway.accessToken(await gateway.createAgent(agentName), route);
}

/** As an issuer's token for a client that nobody registered here; signed with the gateway's own key, which this stage owns. */
async function tokenOfNobody({ folder, publicUrl }: GatewayProcess, route: string): Promise<string> {
  const { signing } = JSON.parse(readFileSync(join(folder, "data", "keys.json"), "utf8")) as { signing: JWK };
  const now = Math.floor(Date.now() / 1000);
  const nobody = { sub: "agt_nobody", client_id: "agt_nobody", scope: "mcp", jti: randomUUID() };
  return new SignJWT({ ...nobody, iss: publicUrl, aud: `${publicUrl}/mcp/${route}`, iat: now, exp: now + TOKEN_SECONDS })
    .setProtectedHeader({ alg: "ES256", kid: signing.kid ?? "", typ: "at+jwt" })
    .sign(await importJWK(signing, "ES256"));
}
