/** Reservations and decisions on a real ledger, journal and registry, with a clock that a test moves; routes are asked as the admin API asks them. */

import { policySetOf } from "../../src/call/authorize/candidates.ts";
import { createLedger } from "../../src/call/budget/memory-ledger.ts";
import type { Scribe } from "../../src/call/record/compose.ts";
import { openReaderThread } from "../../src/call/record/reader.ts";
import { accessRequestRoutes } from "../../src/control/admin/access-request-routes.ts";
import { authorizeRoutes } from "../../src/control/admin/authorize-routes.ts";
import { reservationRoutes } from "../../src/control/admin/reservation-routes.ts";
import type { Answer, Caller } from "../../src/control/admin/route.ts";
import { openRegistry } from "../../src/control/agents/registry.ts";
import { openAccessRequests } from "../../src/control/me/access-requests.ts";
import { createReservations } from "../../src/control/me/reservations.ts";
import { openControlStore } from "../../src/control/store.ts";
import { policies } from "../authorize/fixture.ts";
import { open as openJournalIn } from "../record/journal-fixture.ts";
import { issued, newFolder } from "./plane.ts";

export const ADMIN: Caller = { name: "root", role: "admin", customer: null };
export const ACME: Caller = { name: "acme-key", role: "operator", customer: "acme" };
export const GLOBEX: Caller = { name: "globex-key", role: "operator", customer: "globex" };

export type Parts = Awaited<ReturnType<typeof startParts>>;
// What a route answers is the test's own matter.
type Json = Record<string, never>;

export async function startParts(yaml: string, folder = newFolder()) {
  const world = { nowMs: Date.now(), monoMs: 0, away: false };
  const now = () => world.nowMs;
  const journal = await openJournalIn(folder, [], world.nowMs);
  const reader = openReaderThread(folder);
  const store = await openControlStore(folder);
  const acts: { kind: string; by: string; details: Readonly<Record<string, unknown>> }[] = [];
  const audit = async (kind: string, by: string, details: Readonly<Record<string, unknown>>) => void acts.push({ kind, by, details });
  const registry = await openRegistry({ store, audit, now, issuer: "http://127.0.0.1:8420" });
  const ledger = createLedger(journal.balances);
  const scribe: Scribe = {
    now,
    mono: () => world.monoMs,
    configVersion: () => "sha256:0",
    pricesVersion: () => null,
    rateOf: () => null,
    regionOf: () => null,
    sealAnswer: () => "",
    digest: (_, bytes) => ({ hmac: "hmac-sha256:00", bytes: bytes.length }),
  };
  const set = policies(yaml);
  const policySet = policySetOf({ ...set, servers: new Set([...set.servers, "feature"]) });
  const faults: unknown[] = [];
  const reservations = createReservations({
    policies: { policySet },
    ledger,
    journal,
    reader,
    scribe,
    fault: (thrown) => faults.push(thrown),
    costOf: () => ({}),
  });
  const accessRequests = openAccessRequests({ store, audit, now });
  const vouching = { find: registry.find, publicUrl: "http://127.0.0.1:8420", isStale: registry.isStale };
  const rehearsing = {
    policies: { policySet },
    ledger,
    reserve: () => ({ calls: 1, tool_tokens: 0 }),
    define: async () => null,
    available: () => journal.available,
    now,
  };
  const routes = [
    ...authorizeRoutes({ ...vouching, rehearsing, mayDefine: () => false }),
    ...reservationRoutes({ ...vouching, reservations, meters: new Set(["calls", "tool_tokens", "cost_micros", "pages", "outcome:done"]) }),
    ...accessRequestRoutes({ accessRequests }),
  ];
  return {
    folder,
    world,
    acts,
    faults,
    ledger,
    journal,
    reader,
    registry,
    accessRequests,
    policySet,
    async agent(name: string, customer = "acme"): Promise<string> {
      return issued(await registry.create({ name, customer, owner: "o", purpose: "p", team: "support" }, "test")).profile.id;
    },
    /** 422 where the body is refused by its schema. */
    async ask(caller: Caller, asked: string, body: unknown = null): Promise<{ status: number; json: Json; detail: string }> {
      const [method = "", target = ""] = asked.split(" ");
      const [path = "", search = ""] = target.split("?");
      for (const route of routes) {
        const names: string[] = [];
        const pattern = route.path.replace(/:(\w+)/g, (_, name: string) => `(?<${names.push(name) && name}>[^/]+)`);
        const found = new RegExp(`^${pattern}$`).exec(path);
        if (route.method !== method || found === null) continue;
        const parsed = route.body === null ? { success: true as const, data: null } : route.body.safeParse(body);
        if (!parsed.success) return { status: 422, json: {}, detail: parsed.error.issues.map(({ message }) => message).join("; ") };
        const query = Object.fromEntries(new URLSearchParams(search));
        const answer: Answer = await route.answer({ caller, params: { ...found.groups }, query, body: parsed.data });
        return {
          status: answer.status,
          json: "json" in answer ? (answer.json as Json) : {},
          detail: "detail" in answer ? answer.detail : "",
        };
      }
      throw new Error(`no route ${asked}`);
    },
    async close() {
      reservations.close();
      await reader.close();
      await journal.close();
      await registry.close();
    },
  };
}
