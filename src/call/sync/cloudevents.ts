/** Pure. A usage event as a CloudEvent 1.0.2 in the JSON format. */
import type { StoredEvent } from "../record/event-query.ts";

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
  readonly sequence: string;
  readonly data: StoredEvent["data"];
};

/** `id` depends on the call alone, so a batch that is sent again carries the same ones. */
export function cloudEventOf(event: StoredEvent, source: string): CloudEvent {
  return {
    specversion: "1.0",
    id: event.id,
    source: `urn:tollgate:${event.source ?? source}`,
    type: event.type,
    subject: event.subject,
    time: event.time,
    datacontenttype: "application/json",
    sequence: String(event.sequence).padStart(SEQUENCE_DIGITS, "0"),
    data: event.data,
  };
}
