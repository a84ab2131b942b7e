/** Pure. An event as somebody sent it, held against the definition of its type: what is wrong with it, or what it counts. */
import { type Catalogue, COMMON_METADATA, type EventType, type MetadataKind, outcomeMeter } from "../../call/record/event-types.ts";
import { fingerprintOf, type ReportedAs } from "../../call/record/reported.ts";
import type { Amount } from "../../call/record/rows.ts";

export type MetadataValue = string | number | boolean;

export type SentEvent = {
  readonly as: ReportedAs;
  /** As written: a type or its short name. */
  readonly type: string;
  /** An agent's id or name. */
  readonly agent: string;
  readonly subject: string | null;
  /** RFC 3339; null: when it arrives. */
  readonly time: string | null;
  readonly quantity: number | Readonly<Record<string, number>>;
  readonly metadata: Readonly<Record<string, MetadataValue>>;
};

export type Reason = "malformed" | "type_unknown" | "agent_unknown" | "subject_mismatch" | "time_out_of_bounds" | "conflict";
export type Rejection = { readonly reason: Reason; readonly detail: string };

/** What does not depend on who asks nor on when. */
export type JudgedEvent = {
  readonly sent: SentEvent;
  readonly definition: EventType;
  readonly amounts: readonly Amount[];
  readonly dimensions: Readonly<Partial<Record<keyof typeof COMMON_METADATA, string>>>;
  readonly metadata: SentEvent["metadata"];
  readonly fingerprint: string;
};

export function judgeEvent(sent: SentEvent, catalogue: Catalogue): JudgedEvent | Rejection {
  const definition = catalogue.find(sent.type);
  if (definition?.told_by !== "reporter") return { reason: "type_unknown", detail: `type: there is no ${sent.type} that can be reported` };
  const fault = faultOfMetadata(sent.metadata, definition) ?? faultOfOutcome(sent.metadata, definition, catalogue);
  if (fault !== null) return { reason: "malformed", detail: fault };
  const meter = meterOf(definition, sent.metadata);
  const amount = typeof sent.quantity === "number" ? sent.quantity : sent.quantity[meter];
  if (amount === undefined) return { reason: "malformed", detail: `quantity: ${definition.type} is counted on ${meter}` };
  const { subject, time, agent, metadata } = sent;
  return {
    sent,
    definition,
    amounts: [[meter, amount]],
    dimensions: pick(metadata, (member) => member in COMMON_METADATA) as JudgedEvent["dimensions"],
    metadata: pick(metadata, (member) => !(member in COMMON_METADATA)),
    fingerprint: fingerprintOf({ type: definition.type, subject, time, agent, metadata, quantity: { [meter]: amount } }),
  };
}

function meterOf({ meters: [meter = ""] }: EventType, { outcome }: SentEvent["metadata"]): string {
  return meter === "outcome:*" ? outcomeMeter(String(outcome)) : meter;
}

function faultOfMetadata(metadata: SentEvent["metadata"], { type, metadata: known, required }: EventType): string | null {
  for (const [member, value] of Object.entries(metadata)) {
    const kind = Object.hasOwn(known, member) ? known[member] : undefined;
    if (kind === undefined) return `metadata.${member}: ${type} has no such member; it has ${Object.keys(known).join(", ")}`;
    if (!isOf(kind, value)) return `metadata.${member}: must be ${WORDS[kind]}`;
  }
  const missing = required.find((member) => !Object.hasOwn(metadata, member));
  return missing === undefined ? null : `metadata.${missing}: ${type} needs it`;
}

const WORDS: Readonly<Record<MetadataKind, string>> = {
  string: "a text",
  integer: "a whole number",
  number: "a number",
  boolean: "true or false",
};

function isOf(kind: MetadataKind, value: MetadataValue): boolean {
  return kind === "integer" ? Number.isSafeInteger(value) : typeof value === kind && (kind !== "number" || Number.isFinite(value));
}

function faultOfOutcome({ outcome }: SentEvent["metadata"], { meters }: EventType, { outcomes }: Catalogue): string | null {
  if (!meters.includes("outcome:*") || outcomes.has(String(outcome))) return null;
  return `metadata.outcome: the configuration knows no outcome ${outcome}`;
}

function pick(metadata: SentEvent["metadata"], wanted: (member: string) => boolean): SentEvent["metadata"] {
  return Object.fromEntries(Object.entries(metadata).filter(([member]) => wanted(member)));
}
