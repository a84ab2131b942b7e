/** Pure. The admin API as an OpenAPI 3.1 document, from the routes themselves. */
import { z } from "zod";
import { rolesWith } from "./permissions.ts";
import type { Route } from "./route.ts";

const PROBLEM = {
  description: "An RFC 9457 problem.",
  content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } },
};

export function openApi(routes: readonly Route[]): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const each of routes) {
    const path = `/api/v1${each.path.replace(/:([a-z_]+)/g, "{$1}")}`;
    paths[path] = { ...paths[path], [each.method.toLowerCase()]: operationOf(each) };
  }
  return {
    openapi: "3.1.0",
    info: { title: "Tollgate admin API", version: "1", license: { name: "Apache-2.0", identifier: "Apache-2.0" } },
    security: [{ adminKey: [] }],
    paths,
    components: {
      securitySchemes: { adminKey: { type: "http", scheme: "bearer", description: "An admin key." } },
      schemas: {
        Problem: {
          type: "object",
          properties: { type: { type: "string" }, title: { type: "string" }, status: { type: "integer" }, detail: { type: "string" } },
          required: ["type", "title", "status", "detail"],
        },
      },
    },
  };
}

function operationOf({ method, path, permission, summary, body, mediaTypes = ["application/json"] }: Route): object {
  const names = [...path.matchAll(/:([a-z_]+)/g)].map(([, name]) => name);
  const parameters = names.map((name) => ({ name, in: "path", required: true, schema: { type: "string" } }) as object);
  if (method === "POST") parameters.push({ name: "Idempotency-Key", in: "header", schema: { type: "string", maxLength: 255 } });
  const schema = body === null ? null : z.toJSONSchema(body, { io: "input", target: "draft-2020-12", unrepresentable: "any" });
  const roles = permission === null ? "any admin key" : `the roles ${rolesWith(permission).join(", ")} (${permission})`;
  return {
    summary,
    description: `For ${roles}.`,
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(schema === null
      ? {}
      : { requestBody: { required: true, content: Object.fromEntries(mediaTypes.map((each) => [each, { schema }])) } }),
    responses: {
      [method === "POST" ? "2XX" : "200"]: { description: "Done.", content: { "application/json": { schema: { type: "object" } } } },
      "4XX": PROBLEM,
      "503": PROBLEM,
    },
  };
}
