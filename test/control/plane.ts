/** The control plane put together as the gateway does it: real store, registry, keys and listeners; the audit is a list that a test reads. */
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createPublicListener } from "../../src/call/accept/listener.ts";
import { createPages } from "../../src/call/accept/pages.ts";
import { createAuthenticator } from "../../src/call/authenticate/authenticate.ts";
import type { Fetch, TrustedIssuer } from "../../src/call/authenticate/trusted-issuer.ts";
import type { Reader } from "../../src/call/record/reader.ts";
import { openAdminKeys } from "../../src/control/admin/admin-keys.ts";
import { createAdminApi } from "../../src/control/admin/api.ts";
import { createAdminListener } from "../../src/control/admin/listeners.ts";
import { adminRoutes } from "../../src/control/admin/routes.ts";
import type { Issued } from "../../src/control/agents/agent-life.ts";
import { openRegistry, type Registry, type RegistryFault } from "../../src/control/agents/registry.ts";
import { openKeys } from "../../src/control/keys.ts";
import { createAuthorizationServer } from "../../src/control/oauth/authorization-server.ts";
import { openControlStore } from "../../src/control/store.ts";
import { listen } from "../../src/listen.ts";
import { freePorts } from "../e2e/gateway-process.ts";

export type Act = { readonly kind: string; readonly by: string; readonly details: Readonly<Record<string, unknown>> };

export type PlaneOptions = {
  readonly dataDir?: string;
  readonly scopes?: readonly string[];
  readonly accessTokenTtlMs?: number;
  readonly reader?: Partial<Reader>;
  readonly authorizationServer?: boolean;
  readonly issuers?: readonly TrustedIssuer[];
  readonly fetchFromOutside?: Fetch;
};

export type Plane = Awaited<ReturnType<typeof startPlane>>;

export const newFolder = (): string => join(mkdtempSync(join(tmpdir(), "tollgate-control-")), "data");

/** `world.auditFault` makes every record fail from then on. */
export async function startPlane(options: PlaneOptions = {}) {
  const dataDir = options.dataDir ?? newFolder();
  const [publicPort = 0, adminPort = 0] = await freePorts(2);
  const publicUrl = `http://127.0.0.1:${publicPort}`;
  const adminUrl = `http://127.0.0.1:${adminPort}`;
  const world = { nowMs: Date.now(), auditFault: null as Error | null };
  const acts: Act[] = [];
  const faults: unknown[] = [];
  const now = () => world.nowMs;
  const fault = (thrown: unknown) => void faults.push(thrown);
  const act = async (kind: string, by: string, details: Act["details"]): Promise<void> => {
    await new Promise((resolve) => setImmediate(resolve));
    if (world.auditFault !== null) throw world.auditFault;
    acts.push({ kind, by, details });
  };

  const store = await openControlStore(dataDir);
  const { signingKey } = await openKeys(dataDir);
  const registry = await openRegistry({ store, audit: act, now, issuer: publicUrl });
  const own: TrustedIssuer = {
    ...{ issuer: publicUrl, kind: "own", audience: null, agentClaim: ["sub"] },
    jwks: { kind: "local", keys: () => signingKey.publicKeys },
  };
  const authenticator = createAuthenticator({ publicUrl, issuers: [own, ...(options.issuers ?? [])], directory: registry, fetch });
  const authorizationServer = createAuthorizationServer({
    publicUrl,
    accessTokenTtlMs: options.accessTokenTtlMs ?? 600_000,
    store,
    registry,
    signingKey,
    scopesFor: () => options.scopes ?? [],
    issued: ({ by, ...facts }) => act("token.issued", by, facts),
    verify: authenticator.verify,
    audiences: () => ["", "/tickets", "/crm"].map((name) => `${publicUrl}/mcp${name}`),
    lend: { meters: new Set(["calls"]), take: () => Promise.reject(new Error("there is no ledger here")) },
    fetchFromOutside: options.fetchFromOutside ?? (() => Promise.reject(new Error("nothing outside"))),
    now,
    fault,
  });
  const listener = createPublicListener({
    hosts: new Set([new URL(publicUrl).host]),
    origins: new Set(),
    trustedProxies: null,
    mode: "jsonrpc",
    publicUrl,
    now,
    mono: () => performance.now(),
    pages: createPages({ publicUrl, authorizationServers: [publicUrl] }),
    oauth: authorizationServer.handle,
    live: (_, answer) => answer.fault(),
    refused: (_, refusal, answer) => answer.refuse(refusal),
    parserRefusal: () => {},
    fault,
  });
  const keys = await openAdminKeys({ store, dataDir, gatewayId: "gw", audit: act, now });
  const reader = { ask: () => Promise.resolve(null), close: async () => {}, ...options.reader } as Reader;
  const api = createAdminApi({
    keys,
    store,
    gatewayId: "gw",
    routes: adminRoutes({
      keys,
      registry,
      authorizationServer: options.authorizationServer === false ? null : authorizationServer,
      publicUrl,
      issuers: new Set((options.issuers ?? []).map(({ issuer }) => issuer)),
      routeNames: ["tickets", "crm"],
      reader,
      store,
      now,
    }),
    hosts: () => new Set(["localhost", "127.0.0.1", "[::1]"].map((name) => `${name}:${adminPort}`)),
    now,
    fault,
  });
  const closePublic = await listen(listener.server, { host: "127.0.0.1", port: publicPort }, "listen");
  const closeAdmin = await listen(createAdminListener(api), { host: "127.0.0.1", port: adminPort }, "admin");
  const adminKey = readFileSync(join(dataDir, "admin.key"), "utf8").trim();

  return {
    dataDir,
    publicUrl,
    adminUrl,
    adminPort,
    adminKey,
    world,
    acts,
    faults,
    store,
    registry,
    signingKey,
    authenticator,
    api,
    /** Asks the admin API as an administrator; a null header is left out. */
    admin(method: string, path: string, body?: unknown, headers: Record<string, string | null> = {}): Promise<Response> {
      const all = { authorization: `Bearer ${adminKey}`, "content-type": body === undefined ? null : "application/json", ...headers };
      const sent = Object.entries(all).filter((pair): pair is [string, string] => pair[1] !== null);
      return fetch(`${adminUrl}${path}`, {
        method,
        headers: Object.fromEntries(sent),
        body: body === undefined ? null : typeof body === "string" ? body : JSON.stringify(body),
      });
    },
    /** Asks the token endpoint; an array of pairs may repeat a parameter. */
    token(parameters: Record<string, string> | [string, string][], authorization?: string): Promise<Response> {
      return fetch(`${publicUrl}/oauth/token`, {
        method: "POST",
        headers: authorization === undefined ? {} : { authorization },
        body: new URLSearchParams(parameters),
      });
    },
    async close(): Promise<void> {
      await closePublic();
      await closeAdmin();
      await registry.close();
    },
  };
}

export const basic = (id: string, secret: string): string => `Basic ${Buffer.from(`${id}:${secret}`).toString("base64")}`;

/** An agent that must come into being. */
export async function createAgent(registry: Registry, name: string, jwks?: { keys: object[] }): Promise<{ id: string; secret: string }> {
  const made = issued(
    await registry.create(
      { name, owner: "owner@example.com", purpose: "testing", team: "support", credential: jwks && { kind: "jwks", jwks } },
      "test",
    ),
  );
  return { id: made.profile.id, secret: made.secret ?? "" };
}

export function issued(answer: Issued | RegistryFault): Issued {
  if ("fault" in answer) throw new Error(`${answer.fault}: ${answer.detail}`);
  return answer;
}
