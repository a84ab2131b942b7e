/** Pure. What an agent asks about itself, below `/v1/me`: which page, by which method, in which form. */
import type { CallId } from "../../ids.ts";
import { type Refusal, refuse } from "../../refusal.ts";
import type { Headers } from "./door.ts";

type Page = "identity" | "call" | "check" | "access-requests";

export type OwnRoute = { readonly page: Page; readonly callId: string; readonly methods: readonly string[] };

export type OwnQuestion = {
  readonly callId: CallId;
  readonly receivedAtMs: number;
  readonly httpMethod: string;
  readonly page: Page;
  /** Which call is asked about; empty on the other pages. */
  readonly about: string;
  /** Value of the one Authorization header, or null. A secret: never logged, never forwarded. */
  readonly authorization: string | null;
  /** Empty for GET. */
  readonly body: Buffer;
};

const CALL = /^\/v1\/me\/calls\/([A-Za-z0-9_-]{1,64})$/;
const PAGES: ReadonlyMap<string, OwnRoute> = new Map([
  ["/v1/me", { page: "identity", callId: "", methods: ["GET"] }],
  ["/v1/me/check", { page: "check", callId: "", methods: ["POST"] }],
  ["/v1/me/access-requests", { page: "access-requests", callId: "", methods: ["GET", "POST"] }],
]);

/** Byte by byte, without a query: nothing is decoded. */
export function ownRouteOf(target: string): OwnRoute | null {
  const callId = CALL.exec(target)?.[1];
  return callId === undefined ? (PAGES.get(target) ?? null) : { page: "call", callId, methods: ["GET"] };
}

export function judgeOwn({ methods }: OwnRoute, method: string, headers: Headers): Refusal | null {
  if (!methods.includes(method)) return refuse("http_method", { allow: methods.join(", ") });
  if (method !== "POST") return null;
  if (headers.has("content-encoding")) return refuse("media_type", {}, "a content coding");
  const json = /^application\/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?$/i.test(headers.get("content-type") ?? "");
  return json ? null : refuse("media_type");
}
