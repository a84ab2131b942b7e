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
  /** `strange`: errors that name what is not in the batch. */
  | { readonly kind: "taken"; readonly faults: readonly ItemFault[]; readonly strange: number }
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

/** A sink that names each event twice is understood; behind that nothing new is said of this batch. */
const ERRORS_PER_ITEM_MAX = 2;
/** A page of text, or an object, is no reason. */
const SAID_CHARACTERS_MAX = 4_096;

const MEDIA_CHARACTERS_MAX = 80;

/** Takes credentials out of the sink's words, before they are cut: half of one is one too. */
export type Hide = (said: string) => string;

/** `shape` null: those that are known. */
export function readAnswer(contentType: string, body: string, items: readonly Item[], shape: ErrorShape | null, hide: Hide): Reading {
  if (body.trim() === "") return { kind: "taken", faults: [], strange: 0 };
  const media = contentType.split(";")[0]?.trim().toLowerCase() ?? "";
  if (media === "text/plain" && shape === null) return { kind: "taken", faults: [], strange: 0 };
  if (media !== "" && media !== "application/json" && !media.endsWith("+json") && media !== "text/plain")
    return { kind: "garbage", reason: `the sink said yes in ${hide(media).slice(0, MEDIA_CHARACTERS_MAX) || "no known format"}` };
  const answer = parsed(body);
  if (answer === undefined) return { kind: "garbage", reason: "the sink said yes in JSON that cannot be read" };
  const faults = new Map<number, ItemFault>();
  const byId = new Map(items.map((item) => [item.id, item]));
  let left = items.length * ERRORS_PER_ITEM_MAX;
  let strange = 0;
  for (const each of shape === null ? KNOWN : [shape]) {
    const list: unknown = at(answer, each.list);
    if (list === undefined || list === null) continue;
    if (!Array.isArray(list)) return { kind: "garbage", reason: `the sink's answer has no list at ${each.list}` };
    for (const error of list.slice(0, left)) {
      left -= 1;
      const item = itemOf(error, items, byId, each);
      if (item === "unnamed")
        return { kind: "unclear", reason: `the sink names an error of no event of the batch: ${reasonOf(error, hide)}` };
      if (item === "elsewhere") strange += 1;
      else if (!faults.has(item.sequence))
        faults.set(item.sequence, {
          sequence: item.sequence,
          status: statusOf(error),
          reason: reasonOf(error, hide),
          retry: isRetryable(error, each),
        });
    }
  }
  return { kind: "taken", faults: [...faults.values()], strange };
}

/** `elsewhere`: it names something that was not sent. The sink's own id beside our index is no such name. */
function itemOf(
  error: unknown,
  items: readonly Item[],
  byId: ReadonlyMap<string, Item>,
  { index, id }: ErrorShape,
): Item | "elsewhere" | "unnamed" {
  const [wantedId, position] = [at(error, id), at(error, index)];
  const found =
    (typeof wantedId === "string" ? byId.get(wantedId) : undefined) ?? (typeof position === "number" ? items[position] : undefined);
  return found ?? (typeof wantedId === "string" || typeof position === "number" ? "elsewhere" : "unnamed");
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

/** The sink's own words are somebody else's: only those that are a short text are kept, cut to what a person reads. */
function reasonOf(error: unknown, hide: Hide): string {
  for (const pointer of ["/message", "/reason", "/error", "/detail", "/code"]) {
    const said = at(error, pointer);
    if (typeof said === "string" && said.length <= SAID_CHARACTERS_MAX) return hide(said).slice(0, REASON_CHARACTERS_MAX).toWellFormed();
  }
  return "the sink gives no short reason";
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
