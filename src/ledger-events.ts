/** Holds a central ledger's events against the records that tell of them, both in the order of the log. */
import { digestOfEvent } from "./call/record/digest.ts";
import { batchRoot } from "./call/record/report-writer.ts";
import type { CentralEvent, CentralReader } from "./call/sync/central-read.ts";

/** What a record says of its events: the digest of the one, or how many and the root over their digests; null: it is purged, and says nothing. */
export type Told = { readonly digest: string } | { readonly count: number; readonly root: string } | null;

export type EventChecker = {
  /** The events of a record, which come before those of any later one. */
  belongs(record: number, told: Told): Promise<void>;
  /** How many there are. Events of records that are not here yet are no finding. */
  end(records: number): Promise<number>;
};

const PAGE = 1_000;

/** `first`: the number of the first event under that gateway's id. */
export function eventChecker(ledger: CentralReader, gateway: string, first: number, complain: (what: string) => void): EventChecker {
  let page: readonly CentralEvent[] = [];
  let next = 0;
  let last = 0;
  let expected = first;
  let counted = 0;
  const peek = async (): Promise<CentralEvent | null> => {
    if (next === page.length) {
      page = await ledger.eventsAfter(gateway, last, PAGE);
      last = page.at(-1)?.sequence ?? last;
      next = 0;
    }
    return page[next] ?? null;
  };
  const take = async (): Promise<CentralEvent | null> => {
    const event = await peek();
    if (event === null) return null;
    next += 1;
    counted += 1;
    if (event.sequence < expected) complain(`event ${event.sequence}: that number is another gateway's`);
    else if (event.sequence !== expected) complain(`events ${expected} to ${event.sequence - 1} are missing`);
    expected = event.sequence + 1;
    return event;
  };
  return {
    async belongs(record, told) {
      for (let event = await peek(); event !== null && event.record < record; event = await peek()) {
        await take();
        complain(`event ${event.sequence} stands in no record`);
      }
      const theirs: CentralEvent[] = [];
      for (let event = await peek(); event?.record === record; event = await peek()) {
        await take();
        theirs.push(event);
      }
      // What is missing is told where the next number comes; at the end it is on its way.
      const isComplete = (await peek()) !== null;
      for (const fault of faultsOf(theirs, told, isComplete)) complain(`${fault} is not what record ${record} says was billed`);
    },
    async end(records) {
      for (let event = await take(); event !== null; event = await take())
        if (event.record < records) complain(`event ${event.sequence} stands in no record`);
      return counted;
    },
  };
}

function faultsOf(events: readonly CentralEvent[], told: Told, isComplete: boolean): string[] {
  const [first] = events;
  if (told === null || first === undefined) return [];
  if ("digest" in told) return events.filter((event, i) => i > 0 || digest(event) !== told.digest).map(nameOf);
  if (events.length < told.count && !isComplete) return [];
  if (events.length === told.count && batchRoot(events.map(digest)) === told.root) return [];
  const last = events.at(-1) ?? first;
  return [events.length === 1 ? nameOf(first) : `one of the events ${first.sequence} to ${last.sequence}`];
}

function nameOf({ sequence, id }: CentralEvent): string {
  return `event ${sequence} (${id})`;
}

function digest(event: CentralEvent): string {
  return digestOfEvent(event as Parameters<typeof digestOfEvent>[0]);
}
