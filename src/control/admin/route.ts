/** Pure. A route of the admin API: who may take it, what it is given, what it answers. */
import type { z } from "zod";
import type { RowProblem } from "../agents/import.ts";
import type { Role } from "../tables.ts";
import type { ProblemStatus } from "./problem.ts";

/** What a role may do; `permissions.ts` says which role has which. */
export type Permission =
  | "agents:read"
  | "agents:write"
  | "agents:stop"
  | "agents:impersonate"
  | "customers:read"
  | "customers:write"
  | "admin_keys:read"
  | "admin_keys:write"
  | "audit:read"
  | "usage:read"
  | "records:keep"
  | "usage:write"
  | "usage:correct"
  | "budgets:adjust"
  | "budgets:write"
  | "calls:decide"
  | "calls:reserve"
  | "requests:read"
  | "requests:decide"
  | "approvals:read"
  | "tools:read"
  | "tools:approve"
  | "budgets:force"
  | "sync:read"
  | "sync:write";

/** Who asks. One that is bound to a customer sees nothing of the others: not even that it exists. */
export type Caller = { readonly name: string; readonly role: Role; readonly customer: string | null };

export type Asked<B> = {
  readonly caller: Caller;
  /** Of the path, decoded. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  readonly body: B;
  /** Of the body, in small letters, without parameters. */
  readonly mediaType?: string | undefined;
  /** As the header has it. */
  readonly idempotencyKey?: string | undefined;
};

export type Answer =
  /** `made` names what an answer with a secret has made: a repeated Idempotency-Key is told the name, since the secret is not kept. */
  | { readonly status: 200 | 201; readonly json: object; readonly made?: string }
  /** `problems`: what is wrong with which of many, counted from 0. */
  | { readonly status: ProblemStatus; readonly detail: string; readonly problems?: readonly RowProblem[] };

/** `path` as Hono writes it, below `/api/v1`. Every POST takes an Idempotency-Key. */
export type Route<B = unknown> = {
  readonly method: "GET" | "POST" | "PATCH";
  readonly path: `/${string}`;
  /** Null: whoever has a key at all. */
  readonly permission: Permission | null;
  /** One sentence, for the OpenAPI document. */
  readonly summary: string;
  readonly body: z.ZodType<B> | null;
  /** Of the body, where it may be another than application/json. */
  readonly mediaTypes?: readonly string[];
  /** Where a body may be larger than usual. */
  readonly bodyBytesMax?: number;
  /** What it makes is named by the Idempotency-Key, for ever: the gateway that began it may begin it again. */
  readonly namedByKey?: true;
  answer(asked: Asked<B>): Promise<Answer>;
};

/** Keeps the type of the body between the schema and the answer, and forgets it outside. */
export function route<B>(written: Route<B>): Route {
  return written as unknown as Route;
}

/** What is not there, and what is not the caller's: the same bytes. */
export const NOT_THERE = { status: 404, detail: "there is no such thing" } as const satisfies Answer;

/** Told by name to whoever may see everything. */
export function notThere(caller: Caller, detail: string): Answer {
  return caller.customer === null ? { status: 404, detail } : NOT_THERE;
}

/** `limit` and `after` of a list; a limit that makes no sense is the usual one. */
export function pageOf(query: Readonly<Record<string, string>>, most: number): { limit: number; after: string | null } {
  const limit = Number(query.limit ?? "100");
  return { limit: Number.isInteger(limit) && limit > 0 ? Math.min(limit, most) : 100, after: query.after || null };
}
