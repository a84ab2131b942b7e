/** Corrects a usage event by another one: nothing is overwritten, and the sum of both never falls below zero. */
import type { AgentProfile } from "../../call/authenticate/agent.ts";
import type { AuditRecord } from "../../call/record/audit-record.ts";
import { ADJUSTED, type Catalogue } from "../../call/record/event-types.ts";
import type { RunTask } from "../../call/record/journal-client.ts";
import type { Reader } from "../../call/record/reader.ts";
import type { Corrected } from "../../call/record/report-writer.ts";
import { fingerprintOf } from "../../call/record/reported.ts";

import type { ReportedDrawing } from "../budgets/reported-drawing.ts";
import { usesOf } from "./reported-use.ts";

export type CorrectParts = {
  readonly reader: Pick<Reader, "ask">;
  readonly drawing: ReportedDrawing;
  readonly find: (id: string) => AgentProfile | undefined;
  readonly catalogue: Catalogue;
  readonly run: RunTask;
  readonly now: () => number;
  readonly recordOf: (by: string) => AuditRecord;
};

export type WantedCorrection = {
  readonly eventId: string;
  /** By meter, not zero. */
  readonly deltas: Readonly<Record<string, number>>;
  readonly reason: string;
  /** Names it for ever: the same key with the same correction is the same one. */
  readonly key: string;
};

export type Correct = (wanted: WantedCorrection, by: string) => Promise<Corrected>;

const SOURCE = "urn:tollgate:corrections";

export function createCorrect({ catalogue, reader, drawing, find, run, now, recordOf }: CorrectParts): Correct {
  const definition = catalogue.find(ADJUSTED);
  if (definition === null) throw new Error(`${ADJUSTED} is not in the catalogue`);
  return async ({ eventId, deltas, reason, key }, by) => {
    const unknown = Object.keys(deltas).find((meter) => !catalogue.meters.has(meter));
    if (unknown !== undefined) return { state: "refused", detail: `quantity: there is no meter ${unknown}` };
    return await drawing.inTurn(async () => {
      const found = await reader.ask("event", eventId);
      const atMs = now();
      const uses = found === null ? [] : usesOf(found.event, Object.keys(deltas), find);
      const places = uses.flatMap((use) => drawing.placesOf(use, Date.parse(found?.event.time ?? "")));
      const corrected = await run("writeCorrection", {
        ...{ eventId, reason, by, definition, atMs, places, record: recordOf(by) },
        as: { source: SOURCE, id: key },
        fingerprint: fingerprintOf({ event_id: eventId, reason, quantity: deltas }),
        deltas: Object.entries(deltas),
      });
      if (corrected.state === "accepted") drawing.posted(corrected.lines);
      return corrected;
    });
  };
}
