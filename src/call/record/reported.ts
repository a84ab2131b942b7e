/** Pure. What somebody reports, or corrects, as the rows and the event that it becomes. */
import { createHash } from "node:crypto";
import { canonicalJson } from "./canonical.ts";
import { digestOfEvent, digestOfText } from "./digest.ts";
import { definitionDigest, type EventType } from "./event-types.ts";
import { rfc3339 } from "./rfc3339.ts";
import { type Amount, QUANTITIES, type UsageRow } from "./rows.ts";

/** The reporter's own name of an event. */
export type ReportedAs = { readonly source: string; readonly id: string };

/** What an event shares with others: it stands in `usage_attributes`, under these wire names. */
export type SharedMembers = {
  readonly agent: string;
  readonly agent_id: string;
  readonly customer: string;
  readonly team: string | null;
  readonly workflow: string | null;
  readonly instance: string | null;
  readonly server: string | null;
  readonly tool: string | null;
  readonly model: string | null;
  readonly region: string | null;
};

export type Report = SharedMembers & {
  readonly definition: EventType;
  readonly as: ReportedAs;
  /** Name of the admin key. */
  readonly by: string;
  readonly atMs: number;
  readonly amounts: readonly Amount[];
  /** What is neither a dimension nor an amount. */
  readonly metadata: Readonly<Record<string, string | number | boolean>>;
  readonly fingerprint: string;
};

/** One event as the journal's thread writes it. */
export type EventEntry = {
  /** Deterministic, from whose event it is and how the reporter names it. */
  readonly id: string;
  readonly customer: string;
  readonly as: ReportedAs;
  readonly fingerprint: string;
  /** `digestOfEvent` of what it will be read back as. */
  readonly digest: string;
  /** RFC 8785 JSON of the members of `data` that it shares with no other. */
  readonly own: string;
  readonly usage: UsageRow;
};

export function entryOf(report: Report): EventEntry {
  const { definition, as, by, atMs, amounts, metadata, fingerprint, ...where } = report;
  const { agent, agent_id, customer, team, workflow, instance, server, tool, model, region } = where;
  const shared = {
    ...{ agent, agent_id, team, workflow, instance, server, tool, model, region },
    ...{ outcome: null, provisional: false, environment: "live" },
    ...{ definition_version: definition.version, definition_digest: definitionDigest(definition), use: definition.use },
  };
  const own = { metadata, reported: { by, fingerprint, id: as.id, source: as.source } };
  return eventEntry({ as, customer, fingerprint, atMs, amounts }, definition.type, shared, own);
}

type Written = {
  readonly as: ReportedAs;
  readonly customer: string;
  readonly fingerprint: string;
  readonly atMs: number;
  readonly amounts: readonly Amount[];
};

/** `shared` without type and customer, `own` without quantity. */
export function eventEntry({ as, customer, fingerprint, atMs, amounts }: Written, type: string, shared: object, own: object): EventEntry {
  const id = eventId(customer, as);
  const quantity = Object.fromEntries(amounts);
  const digest = digestOfEvent({ id, type, time: rfc3339(atMs), subject: customer, data: { ...shared, ...own, quantity } });
  const columns = new Map(amounts);
  return {
    ...{ id, customer, as, fingerprint, digest },
    own: canonicalJson(own),
    usage: {
      atMs,
      logicalCallId: null,
      attributes: canonicalJson({ ...shared, customer, type }),
      quantities: QUANTITIES.map((name) => columns.get(name) ?? 0),
      amounts: amounts.filter(([meter]) => !COLUMNS.has(meter)),
    },
  };
}

/** Of a report, which counts on one meter. */
export function amountOf({ usage }: EventEntry): number {
  return usage.amounts[0]?.[1] ?? 0;
}

const COLUMNS = new Set<string>(QUANTITIES);

/** 160 bits: no two pairs meet. */
function eventId(customer: string, { source, id }: ReportedAs): string {
  const hex = createHash("sha256")
    .update(JSON.stringify([customer, source, id]))
    .digest("hex");
  return `evt_${hex.slice(0, 40)}`;
}

/** Over what was sent, whatever it resolves to now: a repetition is known by it also when an agent has changed since. */
export function fingerprintOf(sent: object): string {
  return digestOfText(canonicalJson(sent));
}
