/** Pure. What is counted beyond calls and tokens, as the configuration writes it: event types, outcomes, meters, receipts. */
import { z } from "zod";
import { amountOf, durationMs, instantMs } from "./call/authorize/written.ts";
import { COMMON_METADATA, type EventType } from "./call/record/event-types.ts";
import type { Metering } from "./config.ts";
import { amount, duration, text } from "./config-parts.ts";
import { type prices, pricesOf, pricesVersionOf } from "./config-prices.ts";

/** A year and a day: whoever reports later has closed the books. */
const LATENESS_MAX_MS = 366 * 86_400_000;
/** Each is looked at in every event of its type. */
const METADATA_MAX = 32;
const LIST_MAX = 200;

const meterName = z.string().regex(/^[a-z][a-z0-9_]{0,63}$/, "is not a meter: a small letter, then up to 63 of a-z, 0-9 and _");
const outcomeName = z.string().regex(/^[a-z][a-z0-9_-]{0,63}$/, "is not an outcome: a small letter, then up to 63 of a-z, 0-9, _ and -");
const date = z
  .string()
  .regex(/^\d{4}-\d\d-\d\d$/, { error: "is not a date: 2026-11-01", abort: true })
  .refine((written) => instantMs(written) !== null, "is not a date: 2026-11-01");

export const eventTypes = z
  .array(
    z.strictObject({
      name: z
        .string()
        .regex(
          /^[a-z][a-z0-9-]*(\.[a-z][a-z0-9_-]*){1,7}$/,
          "is not a name: small words with dots between, your domain first: com.example.report",
        )
        .refine((name) => !name.startsWith("io.tollgate."), "io.tollgate is the gateway's own: begin with your domain")
        .describe("What the event tells of, your domain first: com.example.report.rendered. Events carry NAME.vVERSION as their type."),
      version: z.int().min(1).max(9999).describe("Counts up whenever what is billed changes; both versions may stand here."),
      meter: meterName.describe("What its quantity is counted on."),
      unit: text.max(200).describe("What one of it is, for people."),
      metadata: z
        .record(meterName, z.enum(["string", "integer", "number", "boolean"]))
        .refine((members) => Object.keys(members).length <= METADATA_MAX, `has more than ${METADATA_MAX} members`)
        .default({})
        .describe("Members that metadata may have, beside workflow, instance, model, region, server and tool."),
      required: z.array(meterName).default([]).describe("Those that it must have."),
      use: z
        .array(z.enum(["chargeback", "policy"]))
        .min(1)
        .describe("What its events are for."),
      approvedBy: text.max(200).describe("Who has approved this definition."),
      approved: date.describe("When: its events are taken from that day on, UTC."),
    }),
  )
  .max(LIST_MAX)
  .default([])
  .describe("Types of usage events that may be reported, beside the built-in ones. Others are refused.");

const toolPattern = text.describe("Which tools: server/tool, * for any characters.");

export const outcomes = z
  .array(
    z.strictObject({
      name: outcomeName.describe("Counted on the meter outcome:NAME."),
      tool: toolPattern.optional(),
      when: text.optional().describe("CEL over result and args: counts where it is true. Without it every result that is no error counts."),
    }),
  )
  .max(LIST_MAX)
  .default([])
  .describe("What a call has brought about. One without a tool is only counted where it is reported.");

export const meters = z
  .array(
    z.strictObject({
      name: meterName.describe("What the number is counted on."),
      tool: toolPattern,
      of: z.enum(["result", "arguments"]).default("result").describe("Where the number stands."),
      pointer: z
        .string()
        .regex(/^(\/([^~/]|~[01])*)+$/, "is not a JSON pointer (RFC 6901): /structuredContent/pages")
        .max(500)
        .describe("JSON pointer (RFC 6901) to a whole number, or to a list, whose items are counted."),
      max: amount(1, 1_000_000_000_000).describe("The most that one call counts; what is above is cut, and noted in the record."),
    }),
  )
  .max(LIST_MAX)
  .default([])
  .describe("What else is counted of a call: pages, images, rows, inferences of a batch.");

export const metering = z
  .strictObject({
    lateness: duration(LATENESS_MAX_MS, "How old an event may be when it is reported.").default("35d"),
  })
  .prefault({})
  .describe("What events are taken from those who report.");

export const receipts = z
  .boolean()
  .default(false)
  .describe("Whether a tool's result carries what its call cost and what is left, in _meta under io.tollgate/receipt.");

type MeteringFile = {
  readonly eventTypes: z.output<typeof eventTypes>;
  readonly outcomes: z.output<typeof outcomes>;
  readonly meters: z.output<typeof meters>;
  readonly metering: z.output<typeof metering>;
  readonly receipts: boolean;
  readonly prices: z.output<typeof prices>;
};

export function meteringOf(file: MeteringFile): Metering {
  return {
    latenessMs: durationMs(file.metering.lateness),
    receipts: file.receipts,
    eventTypes: file.eventTypes.map(eventTypeOf),
    outcomes: file.outcomes.map(({ name, tool, when }) => ({ name, tool: tool ?? null, when: when ?? null })),
    meters: file.meters.map(({ max, ...rule }) => ({ ...rule, max: amountOf(max) })),
    prices: pricesOf(file.prices),
    pricesVersion: pricesVersionOf(file.prices),
  };
}

function eventTypeOf({
  name,
  version,
  meter,
  unit,
  metadata,
  required,
  use,
  approvedBy,
  approved,
}: MeteringFile["eventTypes"][number]): EventType {
  return {
    type: `${name}.v${version}`,
    short_name: name,
    version: String(version),
    meters: [meter],
    unit,
    metadata: { ...metadata, ...COMMON_METADATA },
    required,
    use: [...new Set(use)],
    told_by: "reporter",
    approved_by: approvedBy,
    approved,
  };
}
