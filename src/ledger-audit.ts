/** Checks a central ledger by itself: every leaf and every event anew from the bytes that it holds, and each checkpoint's root over them. */
import { digestOfEvent } from "./call/record/digest.ts";
import { createFrontier } from "./call/record/frontier.ts";
import { leafHash } from "./call/record/merkle.ts";
import type { CentralCheckpoint, CentralEvent, CentralReader } from "./call/sync/central-read.ts";

export type GatewayVerdict = {
  readonly gateway: string;
  readonly ok: boolean;
  readonly records: number;
  readonly events: number;
  readonly checkpoints: number;
  /** Records that a checkpoint covers; beyond it nothing is signed yet. */
  readonly covered: number;
  /** Hex, over the records that are there. */
  readonly root: string;
  /** The first `PROBLEMS_MAX`. */
  readonly problems: readonly string[];
};

const PROBLEMS_MAX = 20;
const PAGE = 1_000;

export async function auditLedger(ledger: CentralReader, only: string | null): Promise<GatewayVerdict[]> {
  const gateways = only === null ? await ledger.gateways() : [only];
  const verdicts: GatewayVerdict[] = [];
  for (const gateway of gateways) verdicts.push(await auditGateway(ledger, gateway));
  return verdicts;
}

async function auditGateway(ledger: CentralReader, gateway: string): Promise<GatewayVerdict> {
  const problems: string[] = [];
  let bad = 0;
  const complain = (what: string) => {
    bad += 1;
    if (problems.length < PROBLEMS_MAX) problems.push(what);
  };
  const checkpoints = await ledger.checkpoints(gateway);
  for (const checkpoint of checkpoints) checkNote(checkpoint, complain);
  const waiting = [...checkpoints];
  const frontier = createFrontier();
  const events = eventChecker(ledger, gateway, complain);
  let size = 0;
  const meet = () => {
    for (let next = waiting[0]; next !== undefined && next.size <= size; next = waiting[0]) {
      waiting.shift();
      if (next.size < size || frontier.root().toString("hex") !== next.root)
        complain(`checkpoint ${next.size}: the records do not come to its root: the log was rewritten after it was signed`);
    }
  };
  meet();
  for (let after = -1; ; ) {
    const page = await ledger.recordsAfter(gateway, after, PAGE);
    for (const { sequence, leaf, body } of page) {
      after = sequence;
      if (sequence !== size) complain(`records ${size} to ${sequence - 1} are missing`);
      const hash = leafHash(Buffer.from(body));
      if (hash.toString("hex") !== leaf) complain(`record ${sequence} is not what its leaf says`);
      frontier.add(hash);
      size = sequence + 1;
      const record = recordOf(body, sequence, gateway, complain);
      if (typeof record?.usage_event === "string") await events.belongs(sequence, record.usage_event);
      meet();
    }
    if (page.length < PAGE) break;
  }
  for (const { size: wanted } of waiting) complain(`checkpoint ${wanted}: only ${size} records are there`);
  const counted = await events.end(size);
  const root = frontier.root().toString("hex");
  const covered = checkpoints.at(-1)?.size ?? 0;
  return { gateway, ok: bad === 0, records: size, events: counted, checkpoints: checkpoints.length, covered, root, problems };
}

type Complain = (what: string) => void;

/** A record of the ledger, or null where it is not what it says of itself. */
function recordOf(body: string, sequence: number, gateway: string, complain: Complain): { readonly usage_event?: unknown } | null {
  try {
    const record = JSON.parse(body) as { sequence: unknown; source: unknown; usage_event?: unknown };
    if (record.sequence === sequence && record.source === gateway) return record;
  } catch {
    // Told below.
  }
  complain(`record ${sequence} is not a record of ${gateway} with that number`);
  return null;
}

/** C2SP tlog-checkpoint: origin, size and root are the first three lines of the note. */
function checkNote({ size, root, note }: CentralCheckpoint, complain: Complain): void {
  const [, sizeText, rootText = ""] = note.split("\n");
  if (sizeText !== String(size) || Buffer.from(rootText, "base64").toString("hex") !== root)
    complain(`checkpoint ${size}: its note tells of another log`);
}

/** Events are in the order of their records, so both are read side by side. */
function eventChecker(ledger: CentralReader, gateway: string, complain: Complain) {
  let page: readonly CentralEvent[] = [];
  let next = 0;
  let last = 0;
  let expected = 1;
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
    if (event.sequence !== expected) complain(`events ${expected} to ${event.sequence - 1} are missing`);
    expected = event.sequence + 1;
    return event;
  };
  return {
    async belongs(record: number, digest: string): Promise<void> {
      for (let event = await peek(); event !== null && event.record < record; event = await peek()) {
        await take();
        complain(`event ${event.sequence} stands in no record`);
      }
      if ((await peek())?.record !== record) return;
      const event = await take();
      if (event === null) return;
      const more = (await peek())?.record === record;
      // Several events of one record are bound by a digest of all of them.
      if (!more && digestOfEvent(event as Parameters<typeof digestOfEvent>[0]) !== digest)
        complain(`event ${event.sequence} (${event.id}) is not what record ${record} says was billed`);
      for (let other = await peek(); other?.record === record; other = await peek()) await take();
    },
    /** Events of records that are not here yet are no finding. */
    async end(records: number): Promise<number> {
      for (let event = await take(); event !== null; event = await take())
        if (event.record < records) complain(`event ${event.sequence} stands in no record`);
      return counted;
    },
  };
}
