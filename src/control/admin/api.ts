/** The admin API: the routes that the command line calls, each behind an admin key. */
import { Hono } from "hono";
import { z } from "zod";
import type { AgentProfile } from "../../call/authenticate/agent.ts";
import { USAGE_DIMENSIONS, type UsageDimension } from "../../call/record/queries.ts";
import type { Reader } from "../../call/record/reader.ts";
import type { NewAgent, Registry, RegistryFault } from "../agents/registry.ts";
import type { AuthorizationServer } from "../oauth/authorization-server.ts";
import type { ControlStore } from "../store.ts";
import type { AdminKeys } from "./admin-keys.ts";
import type { BudgetRow } from "./budget-rows.ts";
import { idempotentPost } from "./idempotent-post.ts";
import { type ProblemStatus, problem } from "./problem.ts";

export type AdminOptions = {
  readonly keys: AdminKeys;
  readonly store: ControlStore;
  readonly registry: Registry;
  readonly authorizationServer: AuthorizationServer | null;
  readonly publicUrl: string;
  readonly servers: readonly string[];
  readonly reader: Reader;
  readonly budgets: () => readonly BudgetRow[];
  /** Host headers that are answered: loopback names with the port. */
  readonly hosts: () => ReadonlySet<string>;
  readonly now: () => number;
  readonly fault: (fault: unknown) => void;
};

type Env = { Variables: { keyName: string } };

/** A JWK Set of some keys; everything else here is a few words. */
const BODY_BYTES_MAX = 65_536;
const PAGE_MAX = 1_000;

export function createAdminApi(options: AdminOptions): Hono<Env> {
  const api = new Hono<Env>();
  const fail = (status: ProblemStatus, detail: string) =>
    new Response(JSON.stringify(problem(status, detail)), { status, headers: PROBLEM_HEADERS });

  api.use("*", async (c, next): Promise<Response | undefined> => {
    if (!options.hosts().has((c.req.header("host") ?? "").toLowerCase()))
      return fail(421, "the admin API is served on loopback names only");
    const [, presented] = /^Bearer ([A-Za-z0-9_-]{1,256})$/i.exec(c.req.header("authorization") ?? "") ?? [];
    const keyName = presented === undefined ? null : options.keys.nameOf(presented);
    if (keyName === null) return fail(401, "an admin key is required: Authorization: Bearer <the text of admin.key in the data folder>");
    c.set("keyName", keyName);
    await next();
    c.res.headers.set("cache-control", "no-store");
    c.res.headers.set("x-content-type-options", "nosniff");
    return undefined;
  });
  api.onError((fault) => {
    options.fault(fault);
    return fail(500, "see the gateway's log");
  });
  api.notFound(() => fail(404, "there is no such route"));

  api.post("/api/v1/agents", async (c) => {
    const body = await readBody(c.req.raw, newAgent);
    if (body instanceof Response) return body;
    const post = idempotentPost(options.store, c.req.header("idempotency-key"), JSON.stringify(body), options.now());
    if (post.fault !== null) return fail(post.fault.status, post.fault.detail);
    const created = await options.registry.create(body, c.get("keyName"));
    if ("fault" in created) return registryProblem(created, fail);
    post.done(created.profile.id);
    return c.json(issuedJson(created.profile, created.secret), 201);
  });
  api.get("/api/v1/agents", (c) => {
    const { limit, after } = pageOf(c.req.query());
    const all = options.registry.all().filter((profile) => after === null || profile.id > after);
    const items = all.toSorted((a, b) => (a.id < b.id ? -1 : 1)).slice(0, limit);
    const next = all.length > limit ? (items.at(-1)?.id ?? null) : null;
    return c.json({ items: items.map((profile) => agentJson(profile, options.registry)), next_cursor: next });
  });
  api.get("/api/v1/agents/:id", (c) => {
    const profile = options.registry.find(c.req.param("id"));
    return profile === undefined ? fail(404, `there is no agent ${c.req.param("id")}`) : c.json(agentJson(profile, options.registry));
  });
  api.post("/api/v1/agents/:id/credentials", async (c) => {
    const body = await readBody(c.req.raw, newCredential);
    if (body instanceof Response) return body;
    const post = idempotentPost(options.store, c.req.header("idempotency-key"), c.req.path + JSON.stringify(body), options.now());
    if (post.fault !== null) return fail(post.fault.status, post.fault.detail);
    const issued = await options.registry.issueCredential(c.req.param("id"), body.jwks, c.get("keyName"));
    if ("fault" in issued) return registryProblem(issued, fail);
    post.done(issued.profile.id);
    return c.json(issuedJson(issued.profile, issued.secret), 201);
  });
  api.post("/api/v1/agents/:id/tokens", async (c) => {
    const body = await readBody(c.req.raw, newToken);
    if (body instanceof Response) return body;
    const profile = options.registry.find(c.req.param("id"));
    if (profile === undefined) return fail(404, `there is no agent ${c.req.param("id")}`);
    if (profile.state !== "active") return fail(409, `${profile.name} is ${profile.state}`);
    if (options.authorizationServer === null)
      return fail(409, "authorizationServer.enabled is false: tokens come from the configured issuers");
    if (!options.servers.includes(body.server))
      return fail(404, `there is no server ${body.server}: there is ${options.servers.join(", ")}`);
    const minted = await options.authorizationServer.mint(
      profile,
      `${options.publicUrl}/mcp/${body.server}`,
      body.scope ?? null,
      c.get("keyName"),
    );
    return "fault" in minted ? fail(422, minted.fault) : c.json(minted, 201);
  });
  api.get("/api/v1/budgets", (c) => c.json({ items: options.budgets() }));
  api.get("/api/v1/metering/usage", async (c) => {
    const by = (c.req.query("by") ?? "agent,server,tool").split(",").filter(Boolean);
    const wrong = by.find((name) => !USAGE_DIMENSIONS.includes(name as UsageDimension));
    if (wrong !== undefined) return fail(400, `by: there is ${USAGE_DIMENSIONS.join(", ")}`);
    const times = [c.req.query("since") ?? null, c.req.query("until") ?? null];
    if (times.some((time) => time !== null && Number.isNaN(Date.parse(time)))) return fail(400, "since and until are RFC 3339 times");
    const [since, until] = times.map((time) => (time === null ? null : new Date(time).toISOString()));
    return c.json(await options.reader.ask("usage", { by: by as UsageDimension[], since: since ?? null, until: until ?? null }));
  });
  api.get("/api/v1/audit/records", async (c) => {
    const { limit, after } = pageOf(c.req.query());
    if (after !== null && !/^[0-9]{1,15}$/.test(after)) return fail(400, "after is the sequence of a record");
    const items = await options.reader.ask("tail", limit, after === null ? null : Number(after));
    return c.json({ items, next_cursor: items.at(-1)?.sequence.toString() ?? null });
  });
  api.get("/api/v1/audit/records/:call", async (c) => {
    const found = await options.reader.ask("record", c.req.param("call"));
    return found === null ? fail(404, `there is no record of ${c.req.param("call")}`) : c.json(found);
  });
  api.get("/api/v1/audit/root", async (c) => c.json(await options.reader.ask("root")));
  return api;
}

const PROBLEM_HEADERS = { "content-type": "application/problem+json", "cache-control": "no-store", "x-content-type-options": "nosniff" };

const text = z.string().min(1).max(512);
const jwks = z.object({
  keys: z
    .array(z.looseObject({ kty: z.string(), d: z.undefined() }))
    .min(1)
    .max(10),
});
const newAgent = z
  .strictObject({
    name: z.string().min(1).max(128),
    owner: text.optional(),
    purpose: text.optional(),
    customer: text.optional(),
    team: text.optional(),
    workflow: text.optional(),
    kind: z.enum(["autonomous", "service", "fleet", "collective", "synthetic", "human-driven"]).optional(),
    risk_class: z.enum(["minimal", "limited", "high", "unclassified"]).optional(),
    jwks: jwks.optional(),
  })
  .transform(({ risk_class, ...rest }): NewAgent => ({ ...rest, riskClass: risk_class }));
const newCredential = z.strictObject({ jwks: jwks.optional() });
const newToken = z.strictObject({ server: z.string().min(1).max(32), scope: z.string().max(2048).optional() });

async function readBody<T>(request: Request, schema: z.ZodType<T>): Promise<T | Response> {
  const fail = (status: ProblemStatus, detail: string) =>
    new Response(JSON.stringify(problem(status, detail)), { status, headers: PROBLEM_HEADERS });
  // A page in a browser can post text/plain anywhere; it cannot post JSON without being asked first.
  if (!/^application\/json\b/i.test(request.headers.get("content-type") ?? "")) return fail(415, "send application/json");
  if (Number(request.headers.get("content-length") ?? "0") > BODY_BYTES_MAX) return fail(413, `at most ${BODY_BYTES_MAX} bytes`);
  const written = await request.text();
  if (written.length > BODY_BYTES_MAX) return fail(413, `at most ${BODY_BYTES_MAX} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(written);
  } catch {
    return fail(400, "the body is not JSON");
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  return fail(422, parsed.error.issues.map((issue) => `${issue.path.join(".") || "body"}: ${issue.message}`).join("; "));
}

function pageOf(query: Record<string, string>): { limit: number; after: string | null } {
  const limit = Number(query.limit ?? "100");
  return { limit: Number.isInteger(limit) && limit > 0 ? Math.min(limit, PAGE_MAX) : 100, after: query.after ?? null };
}

function registryProblem(fault: RegistryFault, fail: (status: ProblemStatus, detail: string) => Response): Response {
  return fail(({ conflict: 409, invalid: 422, absent: 404 } as const)[fault.fault], fault.detail);
}

function issuedJson({ id, name }: AgentProfile, secret: string | null) {
  return { id, name, client_id: id, ...(secret === null ? {} : { client_secret: secret }) };
}

function agentJson(profile: AgentProfile, registry: Registry) {
  const { riskClass, ...rest } = profile;
  return { ...rest, risk_class: riskClass, declared: registry.isDeclared(profile.id), client_id: profile.id };
}
