/** Pure. The forms in which an event may be reported: a CloudEvent 1.0 in JSON, or the short one; either becomes the same. */
import { z } from "zod";
import { instantMs } from "../../call/authorize/written.ts";
import type { SentEvent } from "../metering/sent-event.ts";
import { overfull, wordsOfIssues } from "./form-words.ts";

/** Whoever reports more has counted something else. A year of sums of these stays below 2^63, where SQLite's sums end. */
export const AMOUNT_MAX = 1_000_000_000_000;
const NAME_CHARS_MAX = 256;

const text = (max: number) =>
  z
    .string()
    .min(1)
    .max(max)
    .refine((written) => written.isWellFormed() && !/\p{Cc}/u.test(written), "has control characters or half a character");
const name = text(NAME_CHARS_MAX);
const quantity = z.union(
  [
    z.int().min(0).max(AMOUNT_MAX),
    z.record(name, z.int().min(0).max(AMOUNT_MAX)).refine((amounts) => Object.keys(amounts).length === 1, "one meter an event"),
  ],
  { error: `must be a whole number from 0 to ${AMOUNT_MAX}, or {meter: number}` },
);
const metadata = z.record(name, z.union([name, z.boolean(), z.number()], { error: "must be a text, a number, true or false" })).default({});
const time = z.string().refine((written) => /T/.test(written) && instantMs(written) !== null, "is not an RFC 3339 time with an offset");

const cloudEvent = z
  .looseObject({
    specversion: z.literal("1.0"),
    id: name,
    source: text(2048),
    type: name,
    subject: name.optional(),
    time: time.optional(),
    datacontenttype: z
      .string()
      .regex(/^application\/json\b/i, "must be application/json")
      .optional(),
    data: z.strictObject({ agent_id: name, quantity, metadata }),
  })
  .transform(
    ({ id, source, type, subject = null, time: at = null, data }): SentEvent => ({
      as: { source, id },
      type,
      subject,
      time: at,
      ...sentData(data),
    }),
  );

const shortForm = z
  .strictObject({
    agent_id: name,
    event_type: name,
    quantity,
    metadata,
    id: name.optional(),
    idempotency_key: name.optional(),
    source: text(2048).optional(),
    subject: name.optional(),
    time: time.optional(),
  })
  .refine(
    ({ id, idempotency_key }) => id === undefined || idempotency_key === undefined,
    "id and idempotency_key are two names of one thing",
  );

type SentData = { readonly agent_id: string; readonly quantity: SentEvent["quantity"]; readonly metadata: SentEvent["metadata"] };

function sentData({ agent_id, quantity, metadata }: SentData): Pick<SentEvent, "agent" | "quantity" | "metadata"> {
  return { agent: agent_id, quantity, metadata };
}

/** Names that the gateway itself gives: whoever could bring one would take the name of another customer's event before it comes. */
const RESERVED_SOURCE = /^urn:tollgate:/i;
const SOURCE_IS_RESERVED = "source: urn:tollgate: is for the gateway's own names: give a source of your own, or in the short form none";

/** Who reports, and what names an event that does not name itself. */
export type Reporter = { readonly name: string; readonly idempotencyKey: string | null };

const NO_ID = "an event needs an id: give it id (or idempotency_key), or send the header Idempotency-Key";

/** `index`: among those sent together. `cloudEvents`: the body's type says that they are. */
export function sentEventIn(
  item: unknown,
  index: number,
  cloudEvents: boolean,
  reporter: Reporter,
): SentEvent | { readonly fault: string } {
  const fault = overfullPart(item);
  if (fault !== null) return { fault };
  if (cloudEvents || (typeof item === "object" && item !== null && "specversion" in item)) {
    const parsed = cloudEvent.safeParse(item);
    if (!parsed.success) return { fault: wordsOfIssues(parsed.error, "event") };
    return RESERVED_SOURCE.test(parsed.data.as.source) ? { fault: SOURCE_IS_RESERVED } : parsed.data;
  }
  const parsed = shortForm.safeParse(item);
  if (!parsed.success) return { fault: wordsOfIssues(parsed.error, "event") };
  const { event_type: type, id, idempotency_key, source: given, subject = null, time: at = null } = parsed.data;
  const own = `urn:tollgate:admin-key:${reporter.name}`;
  const source = given ?? own;
  if (source !== own && RESERVED_SOURCE.test(source)) return { fault: SOURCE_IS_RESERVED };
  const derived = reporter.idempotencyKey === null ? undefined : `${reporter.idempotencyKey}#${index}`;
  const named = id ?? idempotency_key ?? derived;
  return named === undefined ? { fault: NO_ID } : { as: { source, id: named }, type, subject, time: at, ...sentData(parsed.data) };
}

/** Counted before it is read: a schema looks at each member, and says something of each. */
function overfullPart(item: unknown): string | null {
  const { metadata, quantity, data } = membersOf(item);
  const inner = membersOf(data);
  const parts = { event: item, metadata, quantity, data, "data.metadata": inner.metadata, "data.quantity": inner.quantity };
  for (const [name, part] of Object.entries(parts)) {
    const fault = overfull(part);
    if (fault !== null) return `${name}: ${fault}`;
  }
  return null;
}

function membersOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}
