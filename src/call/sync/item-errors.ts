/** Pure. What the body of a 2xx says of single events: taken but for some, or that it cannot be relied on. */
import type { Item } from "../record/outbox.ts";
import { type ItemFault, REASON_CHARACTERS_MAX } from "./target.ts";

/** Where a collector names the events that it did not take. Every member is a JSON pointer (RFC 6901), within an error but for `list`. */
export type ErrorShape = {
  readonly list: string;
  readonly index: string;
  readonly id: string;
  /** Whether to come back with them: always, never, or as a member of the error says. */
  readonly retry: "always" | "never" | string;
};

export type Reading =
  | { readonly kind: "taken"; readonly faults: readonly ItemFault[] }
  /** Errors that belong to no event of the batch. */
  | { readonly kind: "unclear"; readonly reason: string }
  /** No collector speaks like that: a portal, a proxy, half an answer. */
  | { readonly kind: "garbage"; readonly reason: string };

/** What is understood without being told: `{errors | failed | unprocessed: [{index | id, ...}]}`, and nothing else. */
const KNOWN: readonly ErrorShape[] = [
  { list: "/errors", index: "/index", id: "/id", retry: "/retryable" },
  { list: "/failed", index: "/index", id: "/id", retry: "/retryable" },
  { list: "/unprocessed", index: "/index", id: "/id", retry: "always" },
];

/** `shape` null: those that are known. */
export function readAnswer(contentType: string, body: string, items: readonly Item[], shape: ErrorShape | null): Reading {
  if (body.trim() === "") return { kind: "taken", faults: [] };
  const media = contentType.split(";")[0]?.trim().toLowerCase() ?? "";
  if (media === "text/plain" && shape === null) return { kind: "taken", faults: [] };
  if (media !== "" && media !== "application/json" && !media.endsWith("+json") && media !== "text/plain")
    return { kind: "garbage", reason: `the sink said yes in ${media || "no known format"}` };
  const answer = parsed(body);
  if (answer === undefined) return { kind: "garbage", reason: "the sink said yes in JSON that cannot be read" };
  const faults: ItemFault[] = [];
  for (const each of shape === null ? KNOWN : [shape]) {
    const list = at(answer, each.list);
    if (list === undefined || list === null) continue;
    if (!Array.isArray(list)) return { kind: "garbage", reason: `the sink's answer has no list at ${each.list}` };
    for (const error of list) {
      const item = itemOf(error, items, each);
      if (item === undefined) return { kind: "unclear", reason: `the sink names an error of no event of the batch: ${reasonOf(error)}` };
      faults.push({ sequence: item.sequence, status: statusOf(error), reason: reasonOf(error), retry: isRetryable(error, each) });
    }
  }
  return { kind: "taken", faults };
}

function itemOf(error: unknown, items: readonly Item[], { index, id }: ErrorShape): Item | undefined {
  const wantedId = at(error, id);
  if (typeof wantedId === "string") return items.find((item) => item.id === wantedId);
  const position = at(error, index);
  return typeof position === "number" ? items[position] : undefined;
}

function isRetryable(error: unknown, { retry }: ErrorShape): boolean {
  if (retry === "always" || retry === "never") return retry === "always";
  const said = at(error, retry);
  if (typeof said === "boolean") return said;
  const status = statusOf(error);
  return status !== null && (status === 429 || status >= 500);
}

function statusOf(error: unknown): number | null {
  const status = at(error, "/status") ?? at(error, "/code");
  return typeof status === "number" && status >= 100 && status < 600 ? status : null;
}

/** The sink's own words are somebody else's: cut short, and shown as text only. */
function reasonOf(error: unknown): string {
  const words = ["/message", "/reason", "/error", "/detail", "/code"].map((pointer) => at(error, pointer));
  const said = words.find((each) => typeof each === "string") ?? JSON.stringify(error) ?? "no reason";
  return String(said).slice(0, REASON_CHARACTERS_MAX);
}

function at(value: unknown, pointer: string): unknown {
  let found = value;
  for (const step of pointer.split("/").slice(1)) {
    const name = step.replaceAll("~1", "/").replaceAll("~0", "~");
    if (typeof found !== "object" || found === null || !Object.hasOwn(found, name)) return undefined;
    found = (found as Readonly<Record<string, unknown>>)[name];
  }
  return found;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
