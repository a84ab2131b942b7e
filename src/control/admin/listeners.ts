/** The two listeners on loopback beside the public one: administration, and probes without names or secrets. */
import { createServer, type Server } from "node:http";
import { getRequestListener } from "@hono/node-server";
import { Hono } from "hono";
import type { createAdminApi } from "./api.ts";

const HEADER_BYTES_MAX = 16_384;
const TIMEOUT_MS = 30_000;

export function createAdminListener(api: ReturnType<typeof createAdminApi>): Server {
  return createServer(
    { maxHeaderSize: HEADER_BYTES_MAX, headersTimeout: TIMEOUT_MS, requestTimeout: TIMEOUT_MS },
    getRequestListener(api.fetch, { overrideGlobalObjects: false }),
  );
}

/** Null: ready. Otherwise a word for why not; never a name of a server, agent or file. */
/** `advisory`: shown, and no reason to send calls elsewhere. */
export type Readiness = () => readonly { readonly check: string; readonly ok: boolean; readonly advisory?: boolean }[];

export function createProbeListener(readiness: Readiness, metrics: () => Promise<string>): Server {
  const probes = new Hono();
  probes.get("/healthz", (c) => c.text("ok\n"));
  probes.get("/readyz", (c) => {
    const checks = readiness();
    const ready = checks.every((each) => each.ok || each.advisory === true);
    return c.json({ ready, checks: Object.fromEntries(checks.map((each) => [each.check, each.ok])) }, ready ? 200 : 503);
  });
  probes.get("/metrics", async (c) => c.text(await metrics(), 200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" }));
  return createServer(
    { maxHeaderSize: HEADER_BYTES_MAX, headersTimeout: TIMEOUT_MS, requestTimeout: TIMEOUT_MS },
    getRequestListener(probes.fetch, { overrideGlobalObjects: false }),
  );
}
