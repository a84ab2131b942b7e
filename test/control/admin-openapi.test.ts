import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createAgent, type Plane, startPlane } from "./plane.ts";

type Operation = {
  summary: string;
  description: string;
  parameters?: { name: string; in: string }[];
  requestBody?: { content: { "application/json": { schema: { type?: string; properties?: object; additionalProperties?: boolean } } } };
};
type Document = { openapi: string; paths: Record<string, Record<string, Operation>> };

let plane: Plane;
beforeAll(async () => {
  plane = await startPlane({ reader: { ask: (async () => []) as never } });
});
afterAll(() => plane?.close());

const mounted = () =>
  [...new Set(plane.api.routes.filter(({ method }) => method !== "ALL").map(({ method, path }) => `${method} ${path}`))].toSorted();

describe("the OpenAPI document", () => {
  test("has every mounted route and no other, with its parameters, its body and who may take it", async () => {
    const document = (await (await plane.admin("GET", "/api/v1/openapi.json")).json()) as Document;
    expect(document.openapi).toMatch(/^3\.1\./);
    const described = Object.entries(document.paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{([a-z_]+)\}/g, ":$1")}`),
    );
    expect(described.toSorted()).toEqual(mounted());
    for (const [path, operations] of Object.entries(document.paths)) {
      for (const [method, { summary, description, parameters = [], requestBody }] of Object.entries(operations)) {
        expect(summary, path).toMatch(/\.$/);
        expect(description, path).toMatch(/^For (the roles|any admin key)/);
        expect(parameters.filter((each) => each.in === "path").map(({ name }) => `{${name}}`)).toEqual(path.match(/\{[a-z_]+\}/g) ?? []);
        expect(parameters.some(({ name }) => name === "Idempotency-Key")).toBe(method === "post");
        const schema = requestBody?.content["application/json"].schema;
        expect([path, method, schema === undefined]).toEqual([path, method, method === "get"]);
        if (schema !== undefined) expect([path, schema.type, schema.additionalProperties]).toEqual([path, "object", false]);
      }
    }
  });
});

describe("an Idempotency-Key on every route that posts", () => {
  const ACTS: readonly (readonly [string, object])[] = [
    ["/agents", { name: "made" }],
    ["/agents/import", { agents: [{ name: "imported" }] }],
    ["/agents/offboard", { owner: "leaver@example.com" }],
    ["/agents/bot/suspend", {}],
    ["/agents/bot/reinstate", {}],
    ["/agents/bot/tokens", { server: "tickets" }],
    ["/agents/bot/credentials", { overlap: "1h" }],
    ["/agents/bot/credentials/CREDENTIAL/revoke", {}],
    ["/agents/bot/revoke", {}],
    ["/leaks", { text: "SECRET" }],
    ["/customers", { key: "acme" }],
    ["/customers/acme/suspend", {}],
    ["/customers/acme/reinstate", {}],
    ["/customers/acme/end", {}],
    ["/admin-keys", { name: "k", role: "viewer" }],
    ["/admin-keys/k/revoke", {}],
  ];

  test("does it once: the second answer is the first, or 409 where that held a secret", async () => {
    const { id } = await createAgent(plane.registry, "bot");
    const leaky = await createAgent(plane.registry, "leaky");
    const credential = plane.registry.credentialsOf(id)[0]?.id ?? "";
    const tried = new Set(ACTS.map(([path]) => path.replaceAll(/(bot|acme|k|CREDENTIAL)(?=\/)/g, "*")));
    const posts = mounted().filter((name) => name.startsWith("POST "));
    expect(tried).toEqual(new Set(posts.map((name) => name.replace("POST /api/v1", "").replaceAll(/:[a-z]+/g, "*"))));
    for (const [path, body] of ACTS) {
      const key = { "idempotency-key": randomUUID() };
      const text = JSON.stringify(body).replace("SECRET", leaky.secret);
      const at = `/api/v1${path.replace("CREDENTIAL", credential)}`;
      const first = await plane.admin("POST", at, text, key);
      const told = await first.text();
      expect([200, 201], `${path} ${told}`).toContain(first.status);
      const acts = plane.acts.length;
      const second = await plane.admin("POST", at, text, key);
      const again = await second.text();
      expect([path, plane.acts.length]).toEqual([path, acts]);
      const secret = /"(client_secret|api_key|key|access_token)":"(tg|ey)/.test(told);
      expect([path, second.status]).toEqual([path, secret ? 409 : first.status]);
      expect(again).not.toMatch(/"(tg[sa]_|ey)/);
      if (!secret) expect(again).toBe(told);
    }
  });
});
