/** One gateway process of one refusals mode, real servers behind it, and everything that an attack must not get at. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { AuditRecord } from "../../src/call/record/audit-record.ts";
import { openReader } from "../../src/call/record/store.ts";
import { type Credentials, GatewayProcess } from "../e2e/gateway-process.ts";
import { startHttpUpstream } from "../fixtures/http-upstream.ts";
import { startLegacyUpstream } from "../fixtures/legacy-upstream.ts";
import type { Door, Received } from "../fixtures/listener.ts";
import type { Mode } from "./contract.ts";
import { forged, type PublicJwk } from "./forged.ts";
import { type HostileScript, startHostileUpstream } from "./hostile.ts";

const UPSTREAM_SECRET = "canary-upstream-credential-5d1c";

/** Rule names and the figure of a condition are canaries: a policy's inside is nobody's business. */
const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - name: canary-rule-most
    who: { team: corpus }
    permit: ["modern/*", "legacy/*", "twin/*", "stdio/*", "hostile/*", "resource:modern/fixture://readme", "prompt:modern/greet", "resource:legacy/fixture://readme"]
  - { name: canary-rule-private, who: { agent: other-agent }, permit: ["private/*"] }
  - { name: canary-rule-delete, forbid: ["*/delete_*"] }
  - { name: canary-rule-limit, forbid: ["*/search"], when: args.limit > 739117 }
`;
const POLICY_CANARIES = ["canary-rule", "739117"];

export type Stage = {
  readonly mode: Mode;
  readonly gateway: GatewayProcess;
  readonly port: number;
  readonly host: string;
  accessToken(who: string, server: string): string;
  forged(name: string, token: string): string;
  readonly client: { readonly id: string; readonly secret: string };
  /** Every message that a server behind has heard since the start, as text. */
  heard(): readonly string[];
  /** Bytes that have arrived at the servers over HTTP since the start. */
  bytesBehind(): number;
  arm(mark: string, script: HostileScript): void;
  /** Every record of a request since the start. */
  records(): readonly AuditRecord[];
  metrics(): Promise<string>;
  /** What must show nowhere but in its own place, by name. */
  readonly secrets: ReadonlyMap<string, string>;
  readonly policyCanaries: readonly string[];
  /** Ids of the sessions that clients have opened. */
  readonly sessions: Set<string>;
  close(): Promise<void>;
};

export const UPSTREAM_AUTHORIZATION = `Bearer ${UPSTREAM_SECRET}`;

export async function openStage(mode: Mode): Promise<Stage> {
  const requireBearer = (accessToken: string) => accessToken === UPSTREAM_SECRET;
  const [modern, legacy, hostile] = await Promise.all([
    startHttpUpstream({ requireBearer }),
    startLegacyUpstream({ requireBearer }),
    startHostileUpstream({ requireBearer }),
  ]);
  const gateway = await GatewayProcess.prepare({
    policies: POLICIES,
    more: `refusals: ${mode}`,
    servers: serversOf(modern.mcpUrl, legacy.mcpUrl, hostile.url),
    env: { UPSTREAM_SECRET },
  });
  await gateway.serve();
  const adminKey = readFileSync(join(gateway.folder, "data", "admin.key"), "utf8").trim();
  const agents = await registerAgents(gateway, adminKey);
  const accessTokens = await issueTokens(gateway, agents);
  const published = (await (await fetch(`${gateway.publicUrl}/oauth/jwks`)).json()) as { keys: PublicJwk[] };
  const [jwk] = published.keys;
  if (jwk === undefined) throw new Error("the gateway publishes no key");
  const secrets = new Map([
    ["the upstream credential", UPSTREAM_SECRET],
    ["the admin key", adminKey],
  ]);
  for (const [name, { client_secret }] of agents) secrets.set(`the client secret of ${name}`, client_secret);
  // The header alone is in every token.
  for (const [name, accessToken] of accessTokens) {
    const [, claims = accessToken, signature = accessToken] = accessToken.split(".");
    secrets.set(`the claims of the access token ${name}`, claims).set(`the signature of the access token ${name}`, signature);
  }
  const journal = openReader(join(gateway.folder, "data", "journal.db"));
  const next = journal.prepare("SELECT sequence, body FROM audit_record WHERE sequence > ? ORDER BY sequence");
  const records: AuditRecord[] = [];
  let sequence = -1;
  const doors = [modern, legacy, hostile];
  const hearing = hearingOf(doors, () => stdioLines(gateway));
  return {
    mode,
    gateway,
    port: Number(new URL(gateway.publicUrl).port),
    host: new URL(gateway.publicUrl).host,
    accessToken(who, server) {
      const accessToken = accessTokens.get(`${who}@${server}`);
      if (accessToken === undefined) throw new Error(`there is no token of ${who} for ${server}`);
      return accessToken;
    },
    forged: (name, token) => forged(name, token, jwk),
    client: { id: agents.get("agent")?.client_id ?? "", secret: agents.get("agent")?.client_secret ?? "" },
    heard: () => hearing(),
    bytesBehind: () => doors.reduce((bytes, door) => bytes + door.bytesReceived(), 0),
    arm: hostile.arm,
    records() {
      for (const row of next.all(sequence) as { sequence: number; body: string }[]) {
        sequence = row.sequence;
        records.push(JSON.parse(row.body) as AuditRecord);
      }
      return records;
    },
    metrics: async () => (await fetch(`${gateway.probesUrl}/metrics`)).text(),
    secrets,
    policyCanaries: POLICY_CANARIES,
    sessions: new Set(),
    async close() {
      journal.close();
      await gateway.stop();
      await Promise.all(doors.map((door) => door.close()));
    },
  };
}

const STDIO_LOG = "stdio.log";

function serversOf(modernUrl: string, legacyUrl: string, hostileUrl: string): string {
  const credential = "credential: { bearer: env:UPSTREAM_SECRET }";
  const fixture = join(import.meta.dirname, "../fixtures/stdio-upstream.ts");
  return `  private: { url: "${modernUrl}", ${credential} }
  modern: { url: "${modernUrl}", ${credential} }
  legacy: { url: "${legacyUrl}", ${credential} }
  twin: { url: "${legacyUrl}", ${credential} }
  hostile: { url: "${hostileUrl}/mcp", timeout: 2s, ${credential} }
  stdio: { command: [sh, -c, 'tee -a ${STDIO_LOG} | exec "$1" "$2"', sh, "${process.execPath}", "${fixture}"], cwd: . }`;
}

/** Each message becomes a text once; the list only grows. */
function hearingOf(doors: readonly Door[], lines: () => readonly string[]): () => readonly string[] {
  const texts: string[] = [];
  const told = new Map<Door | null, number>();
  const add = (source: Door | null, whole: readonly string[]) => {
    texts.push(...whole);
    told.set(source, (told.get(source) ?? 0) + whole.length);
  };
  return () => {
    for (const door of doors) add(door, door.received.slice(told.get(door) ?? 0).map(textOf));
    add(null, lines().slice(told.get(null) ?? 0));
    return texts;
  };
}

/** What each stdio child was given, line by line, before it read it. */
function stdioLines(gateway: GatewayProcess): string[] {
  try {
    return readFileSync(join(gateway.folder, STDIO_LOG), "utf8").split("\n").filter(Boolean);
  } catch {
    return [];
  }
}

function textOf({ method, url, rawHeaders, body }: Received): string {
  return `${method} ${url}\n${rawHeaders.join("\n")}\n\n${body.toString("latin1")}`;
}

async function registerAgents(gateway: GatewayProcess, adminKey: string): Promise<Map<string, Credentials>> {
  const teams = { agent: "corpus", "other-agent": "corpus", stranger: "nowhere" };
  const made = Object.entries(teams).map(async ([name, team]): Promise<[string, Credentials]> => {
    const answer = await fetch(`${gateway.adminUrl}/api/v1/agents`, {
      method: "POST",
      headers: { authorization: `Bearer ${adminKey}`, "content-type": "application/json" },
      body: JSON.stringify({ name, team, owner: "owner@example.com", purpose: "attacks" }),
    });
    if (answer.status !== 201) throw new Error(`no agent: ${answer.status} ${await answer.text()}`);
    return [name, (await answer.json()) as Credentials];
  });
  return new Map(await Promise.all(made));
}

/** `all` is for /mcp. For names that are no servers too: whoever holds a token of ours may have one for any route. */
async function issueTokens(gateway: GatewayProcess, agents: ReadonlyMap<string, Credentials>): Promise<Map<string, string>> {
  const servers = ["modern", "legacy", "twin", "stdio", "hostile", "private", "constructor", "all"];
  const wanted = servers.flatMap((server) => [...agents].map(([name, credentials]) => ({ server, name, credentials })));
  const issued = wanted.map(async ({ server, name, credentials }): Promise<[string, string]> => {
    return [`${name}@${server}`, await gateway.accessToken(credentials, server === "all" ? "" : server)];
  });
  return new Map(await Promise.all(issued));
}
