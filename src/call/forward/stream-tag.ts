/** Pure. What the id of an event says to the gateway: of which call it is, and what that call's own id was. */
import { createHash } from "node:crypto";
import type { CallId } from "../../ids.ts";
import type { ResumedCall } from "../accept/request.ts";

/** Of a stream that answers no request. */
const NONE = "-";
/** Longer ids are known by their digest: an id of an event comes back in a header. */
const ID_MAX = 64;

export function tagged(call: ResumedCall | null, eventId: string): string {
  return call === null ? `${NONE}.${eventId}` : `${call.callId}.${call.idTag}.${eventId}`;
}

/** Null: no id of ours. `call` null: its stream answers no request. Neither the ids of calls nor tags have a dot. */
export function untagged(text: string): { readonly call: ResumedCall | null; readonly eventId: string } | null {
  const [callId = "", idTag = ""] = text.split(".", 2);
  if (callId === NONE) return text.startsWith(`${NONE}.`) ? { call: null, eventId: text.slice(NONE.length + 1) } : null;
  const head = `${callId}.${idTag}.`;
  return callId === "" || !text.startsWith(head) ? null : { call: { callId: callId as CallId, idTag }, eventId: text.slice(head.length) };
}

/** Ids are compared as values, and as clients do: many take `"1"` for 1. */
export function idKeyOf(idText: string): string | number | null {
  const id: unknown = JSON.parse(idText);
  if (typeof id !== "string") return typeof id === "number" ? id : null;
  const number = Number(id);
  return Number.isFinite(number) ? number : id;
}

/** Two ids that are one as values have one tag. */
export function idTagOf(idText: string): string {
  const text = JSON.stringify(idKeyOf(idText));
  if (text.length > ID_MAX) return createHash("sha256").update(text).digest("base64url");
  return encodeURIComponent(text).replaceAll(".", "%2E");
}
