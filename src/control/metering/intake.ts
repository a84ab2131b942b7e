/** Takes what others have measured into the books: every event that is in order, once for ever; each other one is told why not. */
import { setImmediate } from "node:timers/promises";
import type { AgentProfile } from "../../call/authenticate/agent.ts";
import { durationText, instantMs } from "../../call/authorize/written.ts";
import type { HoldLine } from "../../call/budget/reservation.ts";
import type { AuditRecord } from "../../call/record/audit-record.ts";
import type { Catalogue } from "../../call/record/event-types.ts";
import type { RunTask } from "../../call/record/journal-client.ts";
import type { Reader } from "../../call/record/reader.ts";
import { type Drawing, NO_DRAWING, owedBy } from "../../call/record/report-draws.ts";
import type { Fate } from "../../call/record/report-writer.ts";
import { amountOf, type EventEntry, entryOf } from "../../call/record/reported.ts";
import type { ReportedDrawing } from "../budgets/reported-drawing.ts";
import { type JudgedEvent, judgeEvent, type Rejection, type SentEvent } from "./sent-event.ts";

export type IntakeParts = {
  readonly catalogue: Catalogue;
  readonly find: (idOrName: string) => AgentProfile | undefined;
  readonly reader: Pick<Reader, "ask">;
  readonly run: RunTask;
  readonly now: () => number;
  readonly latenessMs: number;
  readonly drawing: ReportedDrawing;
  /** Of a batch by an administrator; its details are filled in. */
  readonly recordOf: (by: string) => AuditRecord;
};

/** `customer` null: may report for every agent. */
export type From = { readonly name: string; readonly customer: string | null };

export type Read<T> = (item: T, index: number) => SentEvent | { readonly fault: string };

/** In the order of what was sent. */
export type Taken = Fate | Rejection;

/** Clocks of machines that are kept at all are closer than that. */
const AHEAD_MAX_MS = 300_000;
/** Events in one transaction: some 10 ms of work, in which calls wait. */
const CHUNK = 250;
/** Events that are composed between two turns of the event loop: about 5 ms. */
const TURN = 100;

export function createIntake(parts: IntakeParts) {
  return {
    /** `read` is asked for one item after the other, since reading ten thousand at once would hold up every call. */
    async take<T>(items: readonly T[], read: Read<T>, from: From): Promise<readonly Taken[]> {
      const taken: (Taken | undefined)[] = [];
      let chunk: { readonly index: number; readonly composed: Composed }[] = [];
      const write = async () => {
        const entries = chunk.map(({ composed }) => composed.entry);
        const drawing = drawingOf(chunk.map(({ composed }) => composed.places));
        const record = parts.recordOf(from.name);
        const fates = await parts.run("writeReports", { entries, bound: from.customer, record, drawing });
        const accepted = entries.flatMap((entry, i) => (fates[i]?.state === "accepted" ? [[i, amountOf(entry)] as const] : []));
        const owed = owedBy(drawing, accepted);
        if (owed.length > 0) parts.drawing.posted(owed);
        for (const [i, { index }] of chunk.entries()) taken[index] = told(fates[i]);
        chunk = [];
      };
      const doubtful: { readonly index: number; readonly judged: JudgedEvent }[] = [];
      for (const [index, item] of items.entries()) {
        if (index % TURN === TURN - 1) await setImmediate();
        const each = read(item, index);
        const judged = "fault" in each ? ({ reason: "malformed", detail: each.fault } as const) : judgeEvent(each, parts.catalogue);
        const composed = "reason" in judged ? judged : compose(judged, from, parts);
        if ("reason" in composed) {
          taken[index] = composed;
          // What cannot be taken now may have been taken before.
          if (!("reason" in judged)) doubtful.push({ index, judged });
        } else if (chunk.push({ index, composed }) === CHUNK) await write();
      }
      if (chunk.length > 0) await write();
      const asked = doubtful.map(({ judged }) => ({ as: judged.sent.as, fingerprint: judged.fingerprint }));
      const before = asked.length === 0 ? [] : await parts.reader.ask("knownReports", asked, from.customer);
      for (const [i, { index }] of doubtful.entries()) if (before[i]?.state === "duplicate") taken[index] = before[i];
      return taken.map((each) => each ?? told(undefined));
    },
  };
}

function told(fate: Fate | undefined): Taken {
  if (fate === undefined) throw new Error("an event without a fate");
  return fate.state === "conflict" ? { reason: "conflict", detail: "id: another event of this source has it" } : fate;
}

const NOBODY: Rejection = { reason: "agent_unknown", detail: "agent_id: there is no such agent" };

type Composed = { readonly entry: EventEntry; readonly places: readonly HoldLine[] };

/** Each counter once, whatever how many events draw on it. */
function drawingOf(byEvent: readonly (readonly HoldLine[])[]): Drawing {
  if (byEvent.every(({ length }) => length === 0)) return NO_DRAWING;
  const places: HoldLine[] = [];
  const known = new Map<string, number>();
  const indexOf = (line: HoldLine): number => {
    const key = `${line.draw.budget}\0${line.draw.scope}\0${line.windowStartMs}`;
    const index = known.get(key) ?? places.push(line) - 1;
    known.set(key, index);
    return index;
  };
  return { byEvent: byEvent.map((lines) => lines.map(indexOf)), places };
}

function compose(
  { sent, definition, amounts, dimensions, metadata, fingerprint }: JudgedEvent,
  from: From,
  parts: IntakeParts,
): Composed | Rejection {
  const nowMs = parts.now();
  const profile = parts.find(sent.agent);
  if (profile === undefined || (from.customer !== null && profile.customer !== from.customer)) return NOBODY;
  const { customer, id, name, team, workflow } = profile;
  if (sent.subject !== null && sent.subject !== customer)
    return { reason: "subject_mismatch", detail: "subject: is not the customer of this agent" };
  if (nowMs < (instantMs(definition.approved) ?? 0))
    return { reason: "type_unknown", detail: `type: ${definition.type} is approved from ${definition.approved} on` };
  const atMs = sent.time === null ? nowMs : (instantMs(sent.time) ?? 0);
  if (atMs > nowMs + AHEAD_MAX_MS) return { reason: "time_out_of_bounds", detail: "time: is more than 5 min ahead" };
  if (atMs < nowMs - parts.latenessMs)
    return { reason: "time_out_of_bounds", detail: `time: is more than ${durationText(parts.latenessMs)} ago (metering.lateness)` };
  const { instance = null, model = null, region = null, server = null, tool = null } = dimensions;
  const where = { customer, team, workflow: dimensions.workflow ?? workflow, instance, server, tool };
  const entry = entryOf({
    ...{ agent: name, agent_id: id, ...where },
    ...{ model, region, definition, as: sent.as, by: from.name, atMs, amounts, metadata, fingerprint },
  });
  const [[meter] = [""]] = amounts;
  const use = { agentId: id, agentName: name, kind: profile.kind, ...where, meter };
  return { entry, places: parts.drawing.placesOf(use, sent.time === null ? null : atMs) };
}
