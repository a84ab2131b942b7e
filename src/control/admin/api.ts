/** The admin API: a table of routes, each behind an admin key whose role has the permission that the route names. */
import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { LedgerAway } from "../../call/budget/redis-link.ts";
import { StoreUnavailable } from "../../call/record/journal.ts";
import { isScanFault, scanJson } from "../../json.ts";
import { RegistryAway } from "../postgres.ts";
import type { ControlStore } from "../store.ts";
import type { AdminKeys } from "./admin-keys.ts";
import { wordsOfIssues } from "./form-words.ts";
import { openIdempotentPosts } from "./idempotent-post.ts";
import { openApi } from "./openapi.ts";
import { may, rolesWith } from "./permissions.ts";
import { type ProblemStatus, problem } from "./problem.ts";
import { type Caller, type Route, route } from "./route.ts";
import { SHARED_LEDGER_REMEDY } from "./shared-budget-routes.ts";

export type AdminOptions = {
  readonly keys: AdminKeys;
  readonly store: ControlStore;
  readonly gatewayId: string;
  readonly routes: readonly Route[];
  /** Host headers that are answered: loopback names with the port. */
  readonly hosts: () => ReadonlySet<string>;
  readonly now: () => number;
  readonly fault: (fault: unknown) => void;
  /** Pages whose address is itself the credential; null: not one of them. */
  readonly linked?: (request: Request) => Promise<Response> | null;
};

type Env = { Variables: { caller: Caller } };

const KEY_REQUIRED = "an admin key is required: Authorization: Bearer <the text of admin.key in the data folder>";
/** A JWK Set of some keys; everything else here is a few words. */
const BODY_BYTES_MAX = 65_536;
/** Of the largest body, a batch of events or an import, each member has some ten bytes. */
const KEYS_MAX = 1_000_000;
/** What is left of the body is not read, so nothing else can come on this connection. */
const UNREAD = { connection: "close" };
const BASE = "/api/v1";

export function createAdminApi(options: AdminOptions): Hono<Env> {
  const api = new Hono<Env>();
  const posts = openIdempotentPosts({ ...options, gateway: options.gatewayId });
  const bounded = (maxSize = BODY_BYTES_MAX) => bodyLimit({ maxSize, onError: () => fail(413, `at most ${maxSize} bytes`, UNREAD) });

  api.use("*", async (c, next): Promise<Response | undefined> => {
    const host = (c.req.header("host") ?? "").toLowerCase();
    if (!options.hosts().has(host)) return fail(421, "the admin API is served on loopback names only");
    const linked = options.linked?.(c.req.raw) ?? null;
    if (linked !== null) return await linked;
    const origin = c.req.header("origin");
    if (origin !== undefined && origin !== `http://${host}`) return fail(403, "pages of other origins may not use the admin API");
    const [, presented] = /^Bearer ([A-Za-z0-9_-]{1,256})$/i.exec(c.req.header("authorization") ?? "") ?? [];
    const caller = presented === undefined ? null : await options.keys.identify(presented);
    if (caller === null) return fail(401, KEY_REQUIRED, { "www-authenticate": 'Bearer realm="tollgate admin"' });
    c.set("caller", caller);
    await next();
    c.res.headers.set("cache-control", "no-store");
    c.res.headers.set("x-content-type-options", "nosniff");
    return undefined;
  });
  api.onError((fault) => {
    // An outage is told by the journal itself, once.
    if (fault instanceof StoreUnavailable) return fail(503, "the gateway cannot record now", { "retry-after": "1" });
    if (fault instanceof RegistryAway) return fail(503, fault.message, { "retry-after": "1" });
    if (fault instanceof LedgerAway) return fail(503, awayWords(fault), { "retry-after": "1" });
    options.fault(fault);
    return fail(500, "see the gateway's log");
  });
  api.notFound(() => fail(404, "there is no such route"));

  const describing: Route = route({
    method: "GET",
    path: "/openapi.json",
    permission: null,
    summary: "This API, as an OpenAPI 3.1 document.",
    body: null,
    answer: async () => ({ status: 200, json: openApi([...options.routes, describing]) }),
  });
  for (const each of [...options.routes, describing]) {
    api.on(each.method, `${BASE}${each.path}`, bounded(each.bodyBytesMax), (c) => answerWith(each, c));
  }

  async function answerWith(taken: Route, c: Context<Env>): Promise<Response> {
    const caller = c.get("caller");
    const { permission } = taken;
    if (permission !== null && !may(caller, permission)) {
      return fail(403, `${permission} is for the roles ${rolesWith(permission).join(", ")}; this key is ${caller.role}`);
    }
    const body = taken.body === null ? null : await readBody(c.req.raw, taken);
    if (body instanceof Response) return body;
    const [mediaType, idempotencyKey] = [mediaTypeOf(c.req.raw), c.req.header("idempotency-key")];
    const make = () => taken.answer({ caller, params: c.req.param(), query: c.req.query(), body, mediaType, idempotencyKey });
    const request = () => c.req.path + JSON.stringify(body);
    const post = { principal: caller.name, key: idempotencyKey, request, namedByKey: taken.namedByKey };
    const answer = taken.method === "POST" ? await posts.once(post, make) : await make();
    if ("json" in answer) return c.json(answer.json, answer.status);
    const { status, detail, problems } = answer;
    return fail(status, detail, {}, problems === undefined ? {} : { problems });
  }
  return api;
}

const PROBLEM_HEADERS = { "content-type": "application/problem+json", "cache-control": "no-store", "x-content-type-options": "nosniff" };

function fail(status: ProblemStatus, detail: string, headers: Record<string, string> = {}, more: object = {}): Response {
  return new Response(JSON.stringify({ ...problem(status, detail), ...more }), { status, headers: { ...PROBLEM_HEADERS, ...headers } });
}

const JSON_ALONE = ["application/json"];

/** Some of its faults say only what became of the connection. */
function awayWords({ message }: LedgerAway): string {
  const what = "the shared ledger is away";
  const why = message.startsWith(what) ? message : message === "" ? what : `${what} (${message})`;
  return `${why}: ${SHARED_LEDGER_REMEDY}`;
}

function mediaTypeOf(request: Request): string {
  return (request.headers.get("content-type") ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
}

async function readBody(request: Request, { body: schema, mediaTypes = JSON_ALONE }: Route): Promise<unknown> {
  // A page in a browser can post text/plain anywhere; it cannot post JSON of any kind without being asked first.
  if (schema === null || !mediaTypes.includes(mediaTypeOf(request))) return fail(415, `send ${mediaTypes.join(" or ")}`);
  const bytes = Buffer.from(await request.arrayBuffer());
  // A body with one name twice means two things, and the record would show one of them.
  const read = scanJson(bytes, { treeDepth: 0, keysMax: KEYS_MAX, anyValue: true });
  if (isScanFault(read)) return fail(400, `the body is not JSON: ${read.fault}, at byte ${read.at}`);
  const parsed = schema.safeParse(JSON.parse(bytes.toString()));
  if (parsed.success) return parsed.data;
  return fail(422, wordsOfIssues(parsed.error, "body"));
}
