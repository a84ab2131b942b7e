/** What is counted besides calls and tokens, put together from the configuration: the catalogue, and the routes that report and correct. */
import type { AuditRecord } from "./call/record/audit-record.ts";
import { auditOfAct } from "./call/record/compose.ts";
import type { OpenJournal } from "./call/record/journal-client.ts";
import type { Reader } from "./call/record/reader.ts";
import { catalogueIn } from "./catalogue.ts";
import type { Config } from "./config.ts";
import { meteringRoutes } from "./control/admin/metering-routes.ts";
import type { Route } from "./control/admin/route.ts";
import type { Registry } from "./control/agents/registry.ts";
import type { ReportedDrawing } from "./control/budgets/reported-drawing.ts";
import { createCorrect } from "./control/metering/correct.ts";
import { createIntake } from "./control/metering/intake.ts";

export type MeteringSurroundings = {
  readonly journal: Pick<OpenJournal, "run">;
  readonly reader: Reader;
  readonly registry: Pick<Registry, "find">;
  readonly drawing: ReportedDrawing;
  readonly now: () => number;
};

export function openMetering(
  { metering, configVersion }: Config,
  { journal, reader, registry, drawing, now }: MeteringSurroundings,
): readonly Route[] {
  const catalogue = catalogueIn(metering);
  const { run } = journal;
  const recordOf =
    (kind: "usage.reported" | "usage.adjusted") =>
    (by: string): AuditRecord =>
      auditOfAct(kind, by, null, { now, configVersion: () => configVersion });
  const intake = createIntake({
    ...{ catalogue, reader, run, drawing, now, latenessMs: metering.latenessMs },
    find: registry.find,
    recordOf: recordOf("usage.reported"),
  });
  const correct = createCorrect({
    ...{ catalogue, reader, run, drawing, now },
    find: registry.find,
    recordOf: recordOf("usage.adjusted"),
  });
  return meteringRoutes({ catalogue, reader, intake, correct });
}
