/** Two gateways of one registry: one PostgreSQL database, one folder of keys, one public URL, data folders of their own. */
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type PostgresServer, startPostgres } from "../fixtures/postgres.ts";
import { GatewayProcess, type Setup } from "./gateway-process.ts";

export type SharedRegistry = {
  readonly postgres: PostgresServer;
  /** The URL of its database. */
  readonly database: string;
  readonly first: GatewayProcess;
  readonly second: GatewayProcess;
  close(): Promise<void>;
};

/** `shared`: further members of it, each after a comma. */
export async function startSharedRegistry(setup: Setup, shared = ""): Promise<SharedRegistry> {
  const postgres = await startPostgres();
  const database = await postgres.database();
  const keys = mkdtempSync(join(tmpdir(), "tollgate-keys-"));
  const of = (id: string): Setup => ({
    ...setup,
    more: `gatewayId: ${id}\nkeys: file:${keys}\nshared: { postgres: env:REGISTRY, staleAfter: 2s${shared} }\n${setup.more ?? ""}`,
    env: { ...setup.env, REGISTRY: database },
  });
  const first = await GatewayProcess.start(of("gw-1"));
  const publicPort = Number(new URL(first.publicUrl).port);
  const second = await GatewayProcess.prepare({ ...of("gw-2"), publicPort });
  await second.serve();
  return {
    postgres,
    database,
    first,
    second,
    async close() {
      await Promise.all([first.stop(), second.stop()]);
      await postgres.close();
    },
  };
}

/** A request to a gateway's admin API with its first key. */
export function administer(gateway: GatewayProcess, method: string, path: string, body?: unknown): Promise<Response> {
  const key = readFileSync(join(gateway.folder, "data", "admin.key"), "utf8").trim();
  return fetch(`${gateway.adminUrl}/api/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}
