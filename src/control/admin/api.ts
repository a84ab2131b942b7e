/** The admin API: the routes that the command line calls, each behind an admin key. */
import { Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import type { z } from "zod";
import type { AgentProfile } from "../../call/authenticate/agent.ts";
import { RECORDS_MAX } from "../../call/record/books.ts";
import { StoreUnavailable } from "../../call/record/journal.ts";
import { USAGE_DIMENSIONS, type UsageDimension } from "../../call/record/queries.ts";
import type { Reader } from "../../call/record/reader.ts";
import type { Issued } from "../agents/agent-life.ts";
import type { Registry, RegistryFault } from "../agents/registry.ts";
import type { AuthorizationServer } from "../oauth/authorization-server.ts";
import type { ControlStore } from "../store.ts";
import type { AdminKeys } from "./admin-keys.ts";
import { newAgent, newCredential, newToken } from "./bodies.ts";
import type { BudgetRow } from "./budget-rows.ts";
import { type Made, openIdempotentPosts, type PostFault } from "./idempotent-post.ts";
import { instantOf } from "./instant.ts";
import { type ProblemStatus, problem } from "./problem.ts";

export type AdminOptions = {
  readonly keys: AdminKeys;
  readonly store: ControlStore;
  readonly registry: Registry;
  readonly authorizationServer: AuthorizationServer | null;
  readonly publicUrl: string;
  /** Servers and views. */
  readonly routes: readonly string[];
  readonly reader: Reader;
  readonly budgets: () => readonly BudgetRow[];
  /** Host headers that are answered: loopback names with the port. */
  readonly hosts: () => ReadonlySet<string>;
  readonly now: () => number;
  readonly fault: (fault: unknown) => void;
};

type Env = { Variables: { keyName: string } };

const KEY_REQUIRED = "an admin key is required: Authorization: Bearer <the text of admin.key in the data folder>";
/** A JWK Set of some keys; everything else here is a few words. */
const BODY_BYTES_MAX = 65_536;
const AGENTS_MAX = 1_000;

export function createAdminApi(options: AdminOptions): Hono<Env> {
  const api = new Hono<Env>();
  const posts = openIdempotentPosts(options.store, options.now);
  const bounded = bodyLimit({ maxSize: BODY_BYTES_MAX, onError: () => fail(413, `at most ${BODY_BYTES_MAX} bytes`) });

  api.use("*", async (c, next): Promise<Response | undefined> => {
    const host = (c.req.header("host") ?? "").toLowerCase();
    if (!options.hosts().has(host)) return fail(421, "the admin API is served on loopback names only");
    const origin = c.req.header("origin");
    if (origin !== undefined && origin !== `http://${host}`) return fail(403, "pages of other origins may not use the admin API");
    const [, presented] = /^Bearer ([A-Za-z0-9_-]{1,256})$/i.exec(c.req.header("authorization") ?? "") ?? [];
    const keyName = presented === undefined ? null : ((await options.keys.identify(presented))?.name ?? null);
    if (keyName === null) return fail(401, KEY_REQUIRED, { "www-authenticate": 'Bearer realm="tollgate admin"' });
    c.set("keyName", keyName);
    await next();
    c.res.headers.set("cache-control", "no-store");
    c.res.headers.set("x-content-type-options", "nosniff");
    return undefined;
  });
  api.onError((fault) => {
    // An outage is told by the journal itself, once.
    if (fault instanceof StoreUnavailable) return fail(503, "the gateway cannot record now", { "retry-after": "1" });
    options.fault(fault);
    return fail(500, "see the gateway's log");
  });
  api.notFound(() => fail(404, "there is no such route"));

  type Make<T> = (body: T, by: string, id: string) => Promise<Made | PostFault>;
  const post = <T>(path: string, schema: z.ZodType<T>, make: Make<T>) =>
    api.post(path, bounded, async (c) => {
      const body = await readBody(c.req.raw, schema);
      if (body instanceof Response) return body;
      const answer = await posts.once(c.get("keyName"), c.req.header("idempotency-key"), c.req.path + JSON.stringify(body), () =>
        make(body, c.get("keyName"), c.req.param("id") ?? ""),
      );
      return "made" in answer ? c.json(answer.json, 201) : fail(answer.status, answer.detail);
    });
  post("/api/v1/agents", newAgent, async (body, by) => issuedJson(await options.registry.create(body, by)));
  post("/api/v1/agents/:id/credentials", newCredential, async (spec, by, id) =>
    issuedJson(await options.registry.issueCredential(id, spec, null, by)),
  );
  post("/api/v1/agents/:id/tokens", newToken, (body, by, id) => mintToken(options, id, body, by));

  api.get("/api/v1/agents", (c) => {
    const { limit, after } = pageOf(c.req.query(), AGENTS_MAX);
    const all = options.registry.all().filter((profile) => after === null || profile.id > after);
    const items = all.toSorted((a, b) => (a.id < b.id ? -1 : 1)).slice(0, limit);
    const next = all.length > limit ? (items.at(-1)?.id ?? null) : null;
    return c.json({ items: items.map((profile) => agentJson(profile, options.registry)), next_cursor: next });
  });
  api.get("/api/v1/agents/:id", (c) => {
    const profile = options.registry.find(c.req.param("id"));
    return profile === undefined ? fail(404, `there is no agent ${c.req.param("id")}`) : c.json(agentJson(profile, options.registry));
  });
  api.get("/api/v1/budgets", (c) => c.json({ items: options.budgets() }));
  api.get("/api/v1/metering/usage", async (c) => {
    const by = (c.req.query("by") ?? "agent,server,tool").split(",").filter(Boolean);
    const wrong = by.find((name) => !USAGE_DIMENSIONS.includes(name as UsageDimension));
    if (wrong !== undefined) return fail(400, `by: there is ${USAGE_DIMENSIONS.join(", ")}`);
    const [since = null, until = null] = ["since", "until"].map((name) => c.req.query(name) ?? null);
    const question = { by: by as UsageDimension[], since: since && instantOf(since), until: until && instantOf(until) };
    if ((since !== null && !question.since) || (until !== null && !question.until))
      return fail(400, "since and until are RFC 3339 times or dates");
    return c.json(await options.reader.ask("usage", question));
  });
  api.get("/api/v1/audit/records", async (c) => {
    const { limit, after } = pageOf(c.req.query(), RECORDS_MAX);
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

function fail(status: ProblemStatus, detail: string, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(problem(status, detail)), { status, headers: { ...PROBLEM_HEADERS, ...headers } });
}

async function readBody<T>(request: Request, schema: z.ZodType<T>): Promise<T | Response> {
  // A page in a browser can post text/plain anywhere; it cannot post JSON without being asked first.
  if (!/^application\/json\b/i.test(request.headers.get("content-type") ?? "")) return fail(415, "send application/json");
  let value: unknown;
  try {
    value = JSON.parse(await request.text());
  } catch {
    return fail(400, "the body is not JSON");
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  return fail(422, parsed.error.issues.map((issue) => `${issue.path.join(".") || "body"}: ${issue.message}`).join("; "));
}

function pageOf(query: Record<string, string>, most: number): { limit: number; after: string | null } {
  const limit = Number(query.limit ?? "100");
  return { limit: Number.isInteger(limit) && limit > 0 ? Math.min(limit, most) : 100, after: query.after ?? null };
}

const REGISTRY_STATUS = { conflict: 409, invalid: 422, absent: 404 } as const;

function issuedJson(answer: Issued | RegistryFault): Made | PostFault {
  if ("fault" in answer) return { status: REGISTRY_STATUS[answer.fault], detail: answer.detail };
  const { id, name } = answer.profile;
  return { made: id, json: { id, name, client_id: id, ...(answer.secret === null ? {} : { client_secret: answer.secret }) } };
}

async function mintToken(options: AdminOptions, id: string, body: z.infer<typeof newToken>, by: string): Promise<Made | PostFault> {
  const { registry, authorizationServer, routes, publicUrl } = options;
  const profile = registry.find(id);
  if (profile === undefined) return { status: 404, detail: `there is no agent ${id}` };
  if (profile.state !== "active") return { status: 409, detail: `${profile.name} is ${profile.state}` };
  if (authorizationServer === null)
    return { status: 409, detail: "authorizationServer.enabled is false: tokens come from the configured issuers" };
  const { server } = body;
  if (server !== undefined && !routes.includes(server)) {
    return { status: 404, detail: `there is no server or view ${server}: there is ${routes.join(", ")}` };
  }
  const resource = `${publicUrl}/mcp${server === undefined ? "" : `/${server}`}`;
  const minted = await authorizationServer.mint(profile, resource, body.scope ?? null, by);
  return "fault" in minted ? { status: 422, detail: minted.fault } : { made: `a token for ${profile.name}`, json: minted };
}

function agentJson(profile: AgentProfile, registry: Registry) {
  const { riskClass, account: _, ...rest } = profile;
  return { ...rest, risk_class: riskClass, declared: registry.isDeclared(profile.id), client_id: profile.id };
}
