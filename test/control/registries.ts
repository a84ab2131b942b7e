/** Registries to test on: the same suite on SQLite and on PostgreSQL. */
import { afterAll, afterEach, beforeAll, describe } from "vitest";
import { openRegistry, type Registry } from "../../src/control/agents/registry.ts";
import { type ControlStore, openControlStore } from "../../src/control/store.ts";
import { type PostgresServer, startPostgres, withoutPostgres } from "../fixtures/postgres.ts";
import { type Act, newFolder } from "./plane.ts";

export const ISSUER = "http://127.0.0.1:8420";

export type Opened = {
  readonly registry: Registry;
  readonly store: ControlStore;
  readonly acts: Act[];
  readonly folder: string;
  readonly postgres: string | null;
  /** Every record fails from now on, or those of one kind; null: none. */
  refuse(fault: Error | null, kind?: string): void;
};

let tokens = 0;
/** A token as the authorization server records it. */
export async function tokenOf(registry: Registry, agentId: string, more: object = {}): Promise<string> {
  tokens += 1;
  const jti = `t${tokens}`;
  const times = { issued_ms: Date.now(), expires_ms: Date.now() + 600_000 };
  const none = { credential_id: null, parent_issuer: null, parent_jti: null, instance: null };
  const nobody = { parent_agent_id: null, actor_issuer: null, actor_jti: null };
  await registry.issuedToken({ jti, agent_id: agentId, audience: `${ISSUER}/mcp`, scope: "mcp", ...none, ...nobody, ...times, ...more });
  return jti;
}

const open: Registry[] = [];
afterEach(closeAll);

export async function closeAll(): Promise<void> {
  for (const registry of open.splice(0)) await registry.close();
}

/** Opens a registry of a place of its own, or again of the place of another. */
export type Open = (again?: Pick<Opened, "folder" | "postgres">, now?: () => number) => Promise<Opened>;

async function openAt(folder: string, postgres: string | null, now: () => number): Promise<Opened> {
  const store = await openControlStore(folder, postgres);
  const acts: Act[] = [];
  let fault: { error: Error; kind: string | null } | null = null;
  // Takes a turn of the event loop, as the journal does.
  const audit = async (kind: string, by: string, details: Act["details"]) => {
    await new Promise((resolve) => setImmediate(resolve));
    if (fault !== null && (fault.kind ?? kind) === kind) throw fault.error;
    acts.push({ kind, by, details });
  };
  const registry = await openRegistry({ store, audit, now, issuer: ISSUER });
  open.push(registry);
  const refuse = (error: Error | null, kind: string | null = null) => {
    fault = error && { error, kind };
  };
  return { registry, store, acts, folder, postgres, refuse };
}

export function onBoth(name: string, suite: (open: Open, kind: "sqlite" | "postgres") => void): void {
  describe(`${name}, on SQLite`, () => {
    suite((again, now = Date.now) => openAt(again?.folder ?? newFolder(), null, now), "sqlite");
  });
  describe.skipIf(withoutPostgres)(`${name}, on PostgreSQL`, () => {
    let server: PostgresServer;
    beforeAll(async () => {
      server = await startPostgres();
    }, 60_000);
    afterAll(async () => {
      await closeAll();
      await server?.close();
    });
    suite(
      async (again, now = Date.now) => openAt(again?.folder ?? newFolder(), again?.postgres ?? (await server.database()), now),
      "postgres",
    );
  });
}
