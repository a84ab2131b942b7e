/** Two gateways of one registry: one PostgreSQL database, one folder of keys, one public URL, data folders of their own. */
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type PostgresServer, startPostgres } from "../fixtures/postgres.ts";
import { GatewayProcess, type Setup } from "./gateway-process.ts";

export type SharedRegistry = {
  readonly postgres: PostgresServer;
  readonly first: GatewayProcess;
  readonly second: GatewayProcess;
  close(): Promise<void>;
};

/** `ledger`: where they count together, by the variable that its URL stands in. */
export async function startSharedRegistry(setup: Setup, ledger: { readonly REDIS?: string } = {}): Promise<SharedRegistry> {
  const postgres = await startPostgres();
  const database = await postgres.database();
  const keys = mkdtempSync(join(tmpdir(), "tollgate-keys-"));
  const redis = ledger.REDIS === undefined ? "" : ", redis: env:REDIS";
  const of = (id: string): Setup => ({
    ...setup,
    more: `gatewayId: ${id}\nkeys: file:${keys}\nshared: { postgres: env:REGISTRY, staleAfter: 2s${redis} }\n${setup.more ?? ""}`,
    env: { ...setup.env, REGISTRY: database, ...ledger },
  });
  const first = await GatewayProcess.start(of("gw-1"));
  const publicPort = Number(new URL(first.publicUrl).port);
  const second = await GatewayProcess.prepare({ ...of("gw-2"), publicPort });
  await second.serve();
  return {
    postgres,
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
