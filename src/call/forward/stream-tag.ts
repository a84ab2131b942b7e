/** Pure. What the id of an event says to the gateway: of which call it is. */
import type { CallId } from "../../ids.ts";

/** Of a stream that answers no request. */
const NONE = "-";

/** `callId` null: its stream answers no request. */
export function tagged(callId: CallId | null, eventId: string): string {
  return `${callId ?? NONE}.${eventId}`;
}

/** Null: no id of ours. The ids of calls have no dot. */
export function untagged(text: string): { readonly callId: CallId | null; readonly eventId: string } | null {
  const at = text.indexOf(".");
  if (at <= 0) return null;
  const tag = text.slice(0, at);
  return { callId: tag === NONE ? null : (tag as CallId), eventId: text.slice(at + 1) };
}

/** Ids are compared as values, and as clients do: many take `"1"` for 1. */
export function idKeyOf(idText: string): string | number | null {
  const id: unknown = JSON.parse(idText);
  if (typeof id !== "string") return typeof id === "number" ? id : null;
  const number = Number(id);
  return Number.isFinite(number) ? number : id;
}
