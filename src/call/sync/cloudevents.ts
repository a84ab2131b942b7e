/** Pure. Usage events and checkpoints as CloudEvents 1.0.2 in the JSON format. */
import type { CheckpointItem, Item, UsageItem } from "../record/outbox.ts";

/** Lexicographic order of the text is numeric order, for any safe integer. */
const SEQUENCE_DIGITS = 17;

export type CloudEvent = {
  readonly specversion: "1.0";
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly subject: string;
  readonly time: string;
  readonly datacontenttype: "application/json";
  readonly sequence?: string;
  readonly authtype?: "service_account";
  readonly authid?: string;
  readonly correlationid?: string;
  readonly data: Readonly<Record<string, unknown>>;
};

/** `application/cloudevents-batch+json`. `id` depends on the event alone, so a batch that is sent again carries the same ones. */
export function batchText(items: readonly Item[], gateway: string): string {
  return `[${items.map((item) => eventText(item, item.gateway ?? gateway)).join(",")}]`;
}

function eventText(item: Item, gateway: string): string {
  if (item.stream === "usage") return usageText(item, gateway);
  if (item.stream === "checkpoints") return JSON.stringify(checkpointEvent(item, gateway));
  throw new Error("records are not sent as CloudEvents");
}

/** The data are spliced in as they came: parsing them here would cost the event loop what the reading thread has done already. */
function usageText({ sequence, id, type, time, subject, agentId, logicalCallId, data }: UsageItem, gateway: string): string {
  const head: Omit<CloudEvent, "data"> = {
    specversion: "1.0",
    id,
    source: sourceOf(gateway),
    type,
    subject,
    time,
    datacontenttype: "application/json",
    sequence: String(sequence).padStart(SEQUENCE_DIGITS, "0"),
    // CloudEvents extensions "Auth Context" and "Correlation": who caused it, and which other events belong to it.
    ...(agentId === null ? {} : { authtype: "service_account", authid: agentId }),
    ...(logicalCallId === null ? {} : { correlationid: logicalCallId }),
  };
  return `${JSON.stringify(head).slice(0, -1)},"data":${data}}`;
}

function checkpointEvent({ sequence, atMs, root, note }: CheckpointItem, gateway: string): CloudEvent {
  return {
    specversion: "1.0",
    id: `${gateway}.checkpoint.${sequence}`,
    source: sourceOf(gateway),
    type: "io.tollgate.log.checkpoint.v1",
    subject: gateway,
    time: new Date(atMs ?? 0).toISOString(),
    datacontenttype: "application/json",
    data: { size: sequence, root: `sha256:${root}`, note },
  };
}

function sourceOf(gateway: string): string {
  return `urn:tollgate:${gateway}`;
}
