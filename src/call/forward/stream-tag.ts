/** Pure. What the id of an event says to the gateway: of which call it is. */
import { createHash } from "node:crypto";
import type { CallId } from "../../ids.ts";

/** 72 bits: of a million calls under way none is taken for another. */
const TAG_CHARACTERS = 12;
/** Of a stream that answers no request. */
const NONE = "-";

export function tagOf(callId: CallId): string {
  return createHash("sha256").update(callId).digest("base64url").slice(0, TAG_CHARACTERS);
}

/** `tag` null: its stream answers no request. */
export function tagged(tag: string | null, eventId: string): string {
  return `${tag ?? NONE}.${eventId}`;
}

/** Null: no id of ours. */
export function untagged(text: string): { readonly tag: string | null; readonly eventId: string } | null {
  const at = text.indexOf(".");
  const tag = text.slice(0, Math.max(0, at));
  if (tag !== NONE && tag.length !== TAG_CHARACTERS) return null;
  return { tag: tag === NONE ? null : tag, eventId: text.slice(at + 1) };
}

/** Ids are compared as values, and as clients do: many take `"1"` for 1. */
export function idKeyOf(idText: string): string | number | null {
  const id: unknown = JSON.parse(idText);
  if (typeof id !== "string") return typeof id === "number" ? id : null;
  const number = Number(id);
  return Number.isFinite(number) ? number : id;
}
