import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PERMISSIONS, ROLES } from "../../src/control/admin/permissions.ts";
import type { Role } from "../../src/control/tables.ts";
import { GatewayProcess } from "../e2e/gateway-process.ts";
import { createAgent, type Plane, startPlane } from "./plane.ts";

const ALL = ["viewer", "auditor", "operator", "approver", "admin"] as const;
const EVIDENCE = ["auditor", "operator", "approver", "admin"] as const;
const RUNS = ["operator", "admin"] as const;
const STOPS = ["operator", "approver", "admin"] as const;
const ADMIN = ["admin"] as const;

/** Written out by hand: who may take which route. A route that is not here, or that is here and not mounted, fails. */
const EXPECTED: Readonly<Record<string, readonly Role[]>> = {
  "GET /agents": ALL,
  "POST /agents": RUNS,
  "POST /agents/import": RUNS,
  "POST /agents/offboard": STOPS,
  "GET /agents/:id": ALL,
  "PATCH /agents/:id": RUNS,
  "POST /agents/:id/suspend": STOPS,
  "POST /agents/:id/reinstate": STOPS,
  "POST /agents/:id/revoke": STOPS,
  "POST /agents/:id/tokens": RUNS,
  "GET /agents/:id/credentials": ALL,
  "POST /agents/:id/credentials": RUNS,
  "POST /agents/:id/credentials/:credential/revoke": STOPS,
  "POST /leaks": STOPS,
  "GET /customers": ALL,
  "GET /customers/:key": ALL,
  "POST /customers": ADMIN,
  "PATCH /customers/:key": ADMIN,
  "POST /customers/:key/suspend": ADMIN,
  "POST /customers/:key/reinstate": ADMIN,
  "POST /customers/:key/end": ADMIN,
  "GET /admin-keys": ["auditor", "admin"],
  "POST /admin-keys": ADMIN,
  "POST /admin-keys/:id/revoke": ADMIN,
  "GET /metering/usage": ALL,
  "GET /audit/records": EVIDENCE,
  "GET /audit/records/:call": EVIDENCE,
  "GET /audit/root": EVIDENCE,
  "GET /policy/calls": EVIDENCE,
  "GET /policy/uses": EVIDENCE,
  "GET /policy/grants": EVIDENCE,
  "GET /openapi.json": ALL,
};

/** What a whole gateway mounts beside them. */
const EMBEDDING: Readonly<Record<string, readonly Role[]>> = {
  "GET /budgets": ALL,
  "GET /agents/:id/budgets": ALL,
  "POST /budgets": RUNS,
  "POST /agents/:id/budgets": RUNS,
  "GET /budgets/:name": ALL,
  "PATCH /budgets/:name": RUNS,
  "POST /budgets/:name/end": RUNS,
  "POST /budgets/:name/credit": ADMIN,
  "POST /budgets/:name/debit": ADMIN,
  "POST /mcp/authorize": RUNS,
  "POST /reservations": RUNS,
  "POST /reservations/:id/settle": RUNS,
  "POST /reservations/:id/void": RUNS,
  "GET /metering/event-types": ALL,
  "POST /metering/events": RUNS,
  "GET /metering/events": EVIDENCE,
  "GET /metering/events/:id": EVIDENCE,
  "POST /metering/corrections": ADMIN,
  "GET /audit/key": EVIDENCE,
  "GET /audit/checkpoints": EVIDENCE,
  "GET /audit/checkpoints/latest": EVIDENCE,
  "POST /audit/checkpoints": EVIDENCE,
  "GET /audit/consistency": EVIDENCE,
  "GET /audit/proofs/:wanted": EVIDENCE,
  "GET /access-requests": ALL,
  "GET /access-requests/:id": ALL,
  "POST /access-requests/:id/approve": ["approver", "admin"],
  "POST /access-requests/:id/deny": ["approver", "admin"],
  "GET /approvals": EVIDENCE,
  "GET /approvals/:id": EVIDENCE,
  // Whom the rule names, whatever its role.
  "POST /approvals/:id/approve": ALL,
  "POST /approvals/:id/deny": ALL,
  "GET /tools": ALL,
  "GET /tools/:server": ALL,
  "GET /tools/:server/:tool": ALL,
  "POST /tools/:server/approve": ["approver", "admin"],
  "POST /tools/:server/:tool/approve": ["approver", "admin"],
  "GET /audit/retention": EVIDENCE,
  "POST /audit/purge": ADMIN,
  "POST /audit/holds": ADMIN,
  "POST /audit/holds/:name/lift": ADMIN,
  "POST /erasures": ADMIN,
  "GET /budgets/shared": ["auditor", "operator", "admin"],
  "POST /budgets/shared/force": RUNS,
  "POST /budgets/shared/forget": RUNS,
  "GET /sync": ["auditor", "operator", "admin"],
  "GET /sync/asides": ["auditor", "operator", "admin"],
  "POST /sync/flush": RUNS,
  "POST /sync/settle": RUNS,
  "POST /sync/reconcile": RUNS,
  "POST /sync/enable": RUNS,
};

let plane: Plane;
/** By role and whether it is bound to a customer. */
const keys = new Map<string, string>();

beforeAll(async () => {
  plane = await startPlane({ reader: { ask: (async (name: string) => (name === "record" ? null : [])) as never } });
  await createAgent(plane.registry, "bot");
  for (const role of ALL) {
    for (const customer of [undefined, "acme"]) {
      const answer = await plane.admin("POST", "/api/v1/admin-keys", { name: `${role}-${customer ?? "all"}`, role, customer });
      expect(answer.status).toBe(201);
      keys.set(`${role} ${customer ?? "all"}`, ((await answer.json()) as { key: string }).key);
    }
  }
});
afterAll(() => plane?.close());

/** As Hono has them: what is mounted, however it came there. */
function mounted(): string[] {
  const routes = plane.api.routes.filter(({ method }) => method !== "ALL");
  return [...new Set(routes.map(({ method, path }) => `${method} ${path.replace("/api/v1", "")}`))].toSorted();
}

test("every mounted route is in the table by hand, and every one of the table is mounted", () => {
  expect(mounted()).toEqual(Object.keys(EXPECTED).toSorted());
});

describe.each(Object.entries(EXPECTED))("%s", (name, allowed) => {
  const [method = "", template = ""] = name.split(" ");
  const path = `/api/v1${template.replace(/:[a-z]+/g, "nobody")}`;

  test.each(ALL.flatMap((role) => ["all", "acme"].map((customer) => [role, customer] as const)))("as %s of %s", async (role, customer) => {
    const acts = plane.acts.length;
    const body = method === "GET" ? undefined : {};
    const answer = await plane.admin(method, path, body, { authorization: `Bearer ${keys.get(`${role} ${customer}`)}` });
    const text = await answer.text();
    if (allowed.includes(role)) {
      expect(text).not.toContain("is for the roles");
      expect([200, 403, 404, 409, 422], text).toContain(answer.status);
    } else {
      expect([answer.status, plane.acts.length], text).toEqual([403, acts]);
      expect(answer.headers.get("cache-control")).toBe("no-store");
      // It names the permission, and every role that has it.
      expect(text).toMatch(/"detail":"[a-z_]+:[a-z]+ is for the roles /);
      for (const other of allowed) expect(text).toContain(other);
    }
  });
});

describe("roles", () => {
  test("have what the page says", () => {
    const page = readFileSync(join(import.meta.dirname, "../../docs/administration.md"), "utf8");
    const permissions = [...new Set(Object.values(PERMISSIONS).flat())];
    for (const permission of permissions) {
      const marks = ROLES.map((role) => (PERMISSIONS[role].includes(permission) ? "yes" : "no"));
      expect(page).toContain(`| \`${permission}\` | ${marks.join(" | ")} |`);
    }
  });

  test("nobody gives a key more than its own has, or another customer's, or none", async () => {
    const bound = keys.get("admin acme");
    const as = (body: object) => plane.admin("POST", "/api/v1/admin-keys", body, { authorization: `Bearer ${bound}` });
    expect((await as({ name: "foreign", role: "viewer", customer: "other" })).status).toBe(403);
    expect((await as({ name: "foreign", role: "viewer", customer: "nobody-knows-it" })).status).toBe(403);
    const made = await as({ name: "own", role: "admin" });
    expect([made.status, await made.json()]).toEqual([
      201,
      expect.objectContaining({ customer: "acme", key: expect.stringMatching(/^tga_/) }),
    ]);
    const list = await plane.admin("GET", "/api/v1/admin-keys", undefined, { authorization: `Bearer ${bound}` });
    for (const { customer } of ((await list.json()) as { items: { customer: string }[] }).items) expect(customer).toBe("acme");
    expect((await plane.admin("POST", "/api/v1/admin-keys/first/revoke", {}, { authorization: `Bearer ${bound}` })).status).toBe(404);
  });

  test("the last key that may administer everything stays; one that ends by itself does not count", async () => {
    await plane.admin("POST", "/api/v1/admin-keys/admin-all/revoke", {});
    await plane.admin("POST", "/api/v1/admin-keys", { name: "for-a-day", role: "admin", expires_in: "1d" });
    expect((await plane.admin("POST", "/api/v1/admin-keys/first/revoke", {})).status).toBe(409);
    await plane.admin("POST", "/api/v1/admin-keys", { name: "second", role: "admin" });
    expect((await plane.admin("POST", "/api/v1/admin-keys/first/revoke", {})).status).toBe(200);
    expect((await plane.admin("GET", "/api/v1/agents")).status).toBe(401);
  });
});

test("a whole gateway mounts no route that is not in the tables by hand, and says of each who may take it", async () => {
  const policies = "apiVersion: tollgate/v1\nentitlements:\n  - { name: all, permit: [up/*] }\n";
  const gateway = await GatewayProcess.start({ servers: '  up: { url: "http://127.0.0.1:9/mcp" }', policies });
  try {
    const key = readFileSync(join(gateway.folder, "data", "admin.key"), "utf8").trim();
    const answer = await fetch(`${gateway.adminUrl}/api/v1/openapi.json`, { headers: { authorization: `Bearer ${key}` } });
    const { paths } = (await answer.json()) as { paths: Record<string, Record<string, { description: string }>> };
    const expected = { ...EXPECTED, ...EMBEDDING };
    const described = Object.entries(paths).flatMap(([path, operations]) =>
      Object.entries(operations).map(([method, { description }]) => {
        const name = `${method.toUpperCase()} ${path.replace("/api/v1", "").replaceAll(/\{([a-z_]+)\}/g, ":$1")}`;
        const roles = /the roles ([a-z, ]+) \(/.exec(description)?.[1]?.split(", ") ?? ALL;
        return [name, [...roles].toSorted()] as const;
      }),
    );
    expect(described.length).toBeGreaterThanOrEqual(Object.keys(EXPECTED).length);
    for (const [name, roles] of described) expect([name, roles]).toEqual([name, expected[name]?.toSorted()]);
  } finally {
    await gateway.stop();
  }
});
