/** Pure. A route of the admin API: who may take it, what it is given, what it answers. */
import type { z } from "zod";
import type { Role } from "../tables.ts";

/** What a role may do; `permissions.ts` says which role has which. */
export type Permission =
  | "agents:read"
  | "agents:write"
  | "agents:stop"
  | "customers:read"
  | "customers:write"
  | "admin_keys:read"
  | "admin_keys:write"
  | "audit:read"
  | "usage:read"
  | "calls:decide"
  | "calls:reserve"
  | "requests:read"
  | "requests:decide";

/** Who asks. One that is bound to a customer sees nothing of the others: not even that it exists. */
export type Caller = { readonly name: string; readonly role: Role; readonly customer: string | null };

export type Asked<B> = {
  readonly caller: Caller;
  /** Of the path, decoded. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  readonly body: B;
};

export type Answer =
  | { readonly status: 200 | 201; readonly json: unknown }
  | { readonly status: 204 }
  | { readonly status: 400 | 403 | 404 | 409 | 422 | 429 | 503; readonly detail: string };

/** `path` as Hono writes it, below `/api/v1`. Every POST takes an Idempotency-Key, whose answer is kept with the names of what was made, never with a secret. */
export type Route<B = unknown> = {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  readonly path: `/${string}`;
  readonly permission: Permission;
  /** One sentence, for the OpenAPI document. */
  readonly summary: string;
  readonly body: z.ZodType<B> | null;
  answer(asked: Asked<B>): Promise<Answer>;
};

/** Keeps the type of the body between the schema and the answer, and forgets it outside. */
export function route<B>(written: Route<B>): Route {
  return written as unknown as Route;
}

/** What is not there, and what is not the caller's: the same bytes. */
export const NOT_THERE = { status: 404, detail: "there is no such thing" } as const satisfies Answer;
