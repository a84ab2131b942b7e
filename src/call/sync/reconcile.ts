/** Compares what the journal holds, what a sink has acknowledged, and what the central ledger itself says: hour by hour, then event by event. */
import type { Item, UsageItem } from "../record/outbox.ts";
import type { Aside } from "../record/sink-state.ts";
import type { HourSums, UsageHour } from "../record/usage-hours.ts";
import type { CentralEvent, CentralReader, CentralSpan, CentralSums } from "./central-read.ts";
import { withoutNames } from "./purged-names.ts";

export const DIFFERENCES = ["missing", "duplicate", "late", "value_mismatch", "incompatible"] as const;
/**
 * `missing`: acknowledged (or of unknown fate) and not there. `duplicate`: there more than once, or not from this journal. `late`: not
 * acknowledged yet although it should be. `value_mismatch`: something else under its number. `incompatible`: the sink does not take it.
 */
export type DifferenceClass = (typeof DIFFERENCES)[number];

export type Difference = {
  readonly class: DifferenceClass;
  readonly sequence: number;
  readonly id: string;
  readonly time: string;
  readonly detail: string;
};

export type ReconcileReport = {
  readonly sink: string;
  readonly gateway: string;
  readonly since: string;
  readonly until: string;
  /** False: this kind of sink cannot be asked what it holds. */
  readonly comparable: boolean;
  readonly hours: readonly {
    readonly hour: string;
    readonly local: HourSums;
    readonly acknowledged: HourSums;
    readonly central: CentralSums | null;
  }[];
  readonly counts: Readonly<Record<DifferenceClass, number>>;
  /** The first `DIFFERENCES_MAX` of them. */
  readonly differences: readonly Difference[];
};

export type ReconcileParts = {
  readonly sink: string;
  readonly gateway: string;
  readonly sinceMs: number;
  readonly untilMs: number;
  /** Every event is compared, also in hours whose sums agree. */
  readonly deep: boolean;
  readonly central: CentralReader | null;
  readonly hours: (sinceMs: number, untilMs: number) => Promise<readonly UsageHour[]>;
  readonly within: (sinceMs: number, untilMs: number, after: number, limit: number) => Promise<readonly number[]>;
  readonly at: (sequences: readonly number[]) => Promise<readonly Item[]>;
  /** Under which ids the events stand; empty: only under the gateway's own. */
  readonly spans: () => Promise<readonly CentralSpan[]>;
  /** Those of these records that are purged: their events have lost their names. */
  readonly purged: (records: readonly number[]) => Promise<readonly number[]>;
  readonly asides: () => Promise<readonly Aside[]>;
  /** Events up to here are acknowledged, unless they are set aside. */
  readonly position: number;
};

/** More would be a report that nobody reads; the counts are of all. */
export const DIFFERENCES_MAX = 1_000;
const HOUR_MS = 3_600_000;
/** One page on both sides: some hundred kB. */
const PAGE = 500;

export async function reconcile(parts: ReconcileParts): Promise<ReconcileReport> {
  const { sink, gateway, sinceMs, untilMs, deep, central } = parts;
  const local = new Map((await parts.hours(sinceMs, untilMs)).map((hour) => [hour.hourMs, hour]));
  const own: CentralSpan = { gateway, before: null };
  const written = await parts.spans();
  const spans = written.length === 0 ? [own] : written;
  const theirs = central === null ? null : await central.hours(spans, sinceMs, untilMs);
  const asides = new Map((await parts.asides()).map((aside) => [aside.sequence, aside]));
  const found = createFindings();
  const starts = [...new Set([...local.keys(), ...(theirs?.keys() ?? [])])].sort((a, b) => a - b);
  const hours: ReconcileReport["hours"][number][] = [];
  for (const hourMs of starts) {
    const ours = local.get(hourMs) ?? { local: NOTHING, acknowledged: NOTHING };
    const sums = theirs === null ? null : (theirs.get(hourMs) ?? NOTHING);
    hours.push({ hour: new Date(hourMs).toISOString(), local: ours.local, acknowledged: ours.acknowledged, central: sums });
    const agrees = same(ours.local, sums ?? ours.acknowledged);
    const span = { from: Math.max(hourMs, sinceMs), to: Math.min(hourMs + HOUR_MS, untilMs), spans };
    if (!agrees || (deep && central !== null)) await compareHour(span, parts, asides, found);
  }
  const [since, until] = [sinceMs, untilMs].map((ms) => new Date(ms).toISOString());
  return { sink, gateway, since: since ?? "", until: until ?? "", comparable: central !== null, hours, ...found };
}

const NOTHING: HourSums = { events: 0, calls: 0, tool_tokens: 0, bytes: 0, duration_ms: 0, meters: {} };

function same(a: HourSums, b: CentralSums): boolean {
  return a.events === b.events && ordered(a.meters) === ordered(b.meters);
}

type Findings = { readonly counts: Record<DifferenceClass, number>; readonly differences: Difference[] };

function createFindings(): Findings {
  return { counts: { missing: 0, duplicate: 0, late: 0, value_mismatch: 0, incompatible: 0 }, differences: [] };
}

function add({ counts, differences }: Findings, difference: Difference): void {
  counts[difference.class] += 1;
  if (differences.length < DIFFERENCES_MAX) differences.push(difference);
}

type Span = { readonly from: number; readonly to: number; readonly spans: readonly CentralSpan[] };

async function compareHour(
  { from, to, spans }: Span,
  parts: ReconcileParts,
  asides: ReadonlyMap<number, Aside>,
  found: Findings,
): Promise<void> {
  const { central, gateway, position } = parts;
  for (let after = 0; ; ) {
    const sequences = await parts.within(from, to, after, PAGE);
    const last = sequences.at(-1);
    if (last === undefined) break;
    after = last;
    const items = (await parts.at(sequences)).filter((item) => item.stream === "usage");
    const held = central === null ? null : await heldOf(items, central, gateway);
    const gone = new Set(central === null ? [] : await parts.purged([...new Set(items.map(({ record }) => record))]));
    for (const item of items) {
      const theirs = held === null ? null : (held.get(item.sequence) ?? []);
      const difference = judge(item, theirs, asides.get(item.sequence), position, gone.has(item.record));
      if (difference !== null) add(found, { ...difference, sequence: item.sequence, id: item.id, time: item.time });
    }
  }
  if (central === null) return;
  for (const span of spans) {
    for (let after = 0; ; ) {
      const events = await central.eventsWithin(span, from, to, after, PAGE);
      const last = events.at(-1);
      if (last === undefined) break;
      after = last.sequence;
      const items = await parts.at(events.map(({ sequence }) => sequence));
      const known = new Set(items.filter((item) => (item.gateway ?? gateway) === span.gateway).map(({ sequence }) => sequence));
      for (const { sequence, id, time } of events)
        if (!known.has(sequence)) add(found, { class: "duplicate", sequence, id, time, detail: "the journal has no event of this number" });
    }
  }
}

/** Each is looked for under the id that it was numbered under. */
async function heldOf(items: readonly UsageItem[], central: CentralReader, gateway: string): Promise<Map<number, CentralEvent[]>> {
  const held: CentralEvent[] = [];
  for (const [id, theirs] of Map.groupBy(items, (item) => item.gateway ?? gateway))
    held.push(
      ...(await central.events(
        id,
        theirs.map(({ sequence }) => sequence),
      )),
    );
  return Map.groupBy(held, ({ sequence }) => sequence);
}

/** `held` null: the sink cannot be asked. */
function judge(
  item: UsageItem,
  held: readonly CentralEvent[] | null,
  aside: Aside | undefined,
  position: number,
  isPurged: boolean,
): Pick<Difference, "class" | "detail"> | null {
  const [first, second] = held ?? [];
  if (second !== undefined) return { class: "duplicate", detail: `the ledger holds it ${held?.length} times` };
  if (first !== undefined) {
    const members = differing(item, first, isPurged);
    return members.length === 0 ? null : { class: "value_mismatch", detail: `the ledger differs in ${members.join(", ")}` };
  }
  if (aside?.state === "refused" || aside?.state === "expired") return { class: "incompatible", detail: `${aside.state}: ${aside.reason}` };
  if (aside?.state === "unknown") return { class: "missing", detail: aside.reason };
  if (aside !== undefined || item.sequence > position) return { class: "late", detail: aside?.reason ?? "not acknowledged yet" };
  return held === null ? null : { class: "missing", detail: "acknowledged, and the ledger does not hold it" };
}

function differing(item: UsageItem, held: CentralEvent, isPurged: boolean): string[] {
  const names = (["id", "type", "time", "subject", "record"] as const).filter((name) => item[name] !== held[name]);
  const seen = (data: unknown) => ordered(isPurged ? withoutNames(data) : data);
  return seen(JSON.parse(item.data)) === seen(held.data) ? names : [...names, "data"];
}

/** JSONB keeps no order of members. */
function ordered(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) =>
    typeof member === "object" && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );
}
