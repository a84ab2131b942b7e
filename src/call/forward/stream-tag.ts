/** Pure. What the id of an event says to the gateway: which request its stream answers. */
import { createHash } from "node:crypto";

/** 48 bits: within one session a chance of 1 in 10^10 that two of 100 requests under way share one. */
const TAG_CHARACTERS = 8;
/** Of a stream that answers no request. */
const NONE = "-";

/** Ids are compared as values, and as clients do: many take `"1"` for 1. */
export function idKeyOf(idText: string): string | number | null {
  const id: unknown = JSON.parse(idText);
  if (typeof id !== "string") return typeof id === "number" ? id : null;
  const number = Number(id);
  return Number.isFinite(number) ? number : id;
}

export function tagOf(idText: string): string {
  return createHash("sha256")
    .update(JSON.stringify(idKeyOf(idText)))
    .digest("base64url")
    .slice(0, TAG_CHARACTERS);
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
