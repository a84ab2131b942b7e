/** What is made of the records: read, signed, sent upstream, kept for as long as was said, and joined by what others report. */
import { watchForAnomalies } from "./anomalies.ts";
import type { Journal } from "./call/record/journal.ts";
import type { OpenJournal } from "./call/record/journal-client.ts";
import { openReaderThread, type Reader } from "./call/record/reader.ts";
import { type Checkpoints, openCheckpoints } from "./checkpoints.ts";
import type { Config } from "./config.ts";
import { checkpointRoutes } from "./control/admin/checkpoint-routes.ts";
import type { Route } from "./control/admin/route.ts";
import { type DigestKeys, openDigestKeys } from "./control/agents/digest-keys.ts";
import type { Registry } from "./control/agents/registry.ts";
import type { ReportedDrawing } from "./control/budgets/reported-drawing.ts";
import { type DeliveryParts, startDelivery } from "./delivery.ts";
import { openMetering } from "./metering.ts";
import { openRetention } from "./retention.ts";
import type { Seal } from "./seal.ts";
import { startSelfCheck } from "./self-check.ts";

export type Evidence = {
  /** The journal of calls: where a sink's `backlogMax` is set, it takes no more permits while too much waits for that sink. */
  readonly journal: Journal;
  readonly reader: Reader;
  readonly digestKeys: DigestKeys;
  readonly checkpoints: Checkpoints;
  /** False once the verification behind the start has found damage. */
  isSound(): boolean;
  readonly routes: readonly Route[];
};

export type EvidenceParts = Omit<DeliveryParts, "reader"> & {
  readonly config: Config;
  readonly journal: OpenJournal;
  readonly registry: Registry;
  readonly seal: Seal;
  readonly drawing: ReportedDrawing;
  readonly fault: (thrown: unknown) => void;
  /** In reverse order, when the gateway ends. */
  readonly closing: (() => unknown)[];
};

export async function openEvidence({ closing, ...parts }: EvidenceParts): Promise<Evidence> {
  const { config } = parts;
  const reader = openReaderThread(config.data);
  closing.push(() => reader.close());
  const checkpoints = await openCheckpoints({ ...parts, reader });
  closing.push(() => checkpoints.stop());
  const delivery = await startDelivery({ ...parts, reader });
  closing.push(() => delivery.stop());
  const digestKeys = openDigestKeys(config.data);
  closing.push(() => digestKeys.close());
  const selfCheck = startSelfCheck(parts);
  closing.push(() => selfCheck.stop());
  const retention = openRetention({ ...parts, reader, digestKeys, sign: checkpoints.sign });
  closing.push(() => retention.close());
  const anomalies = watchForAnomalies({ ...parts, reader });
  closing.push(() => anomalies.close());
  const routes = [
    ...retention.routes,
    ...checkpointRoutes({ ...parts, reader, ...checkpoints }),
    ...openMetering(config, { ...parts, reader }),
    ...delivery.routes,
  ];
  return { journal: delivery.journal, reader, digestKeys, checkpoints, isSound: selfCheck.isSound, routes };
}
