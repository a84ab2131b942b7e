/** Pure. Where usage events, records and checkpoints go, and whom webhooks tell, as the configuration writes them. */
import { z } from "zod";
import { isHttpsOrLoopback } from "./addresses.ts";
import { globOf } from "./call/authorize/glob.ts";
import { didYouMean } from "./call/authorize/nearest.ts";
import { TOLD_KINDS } from "./call/record/audit-record.ts";
import { duration, HOUR, httpUrl, postgresUrl, secretRef, text } from "./config-parts.ts";

const DAY = 24 * HOUR;
/** An answer that takes longer than a minute says that the batch is too large. */
const TIMEOUT_MAX_MS = 60_000;

const pointer = z.string().regex(/^(\/[^/]+)+$/, "must be a JSON pointer such as /errors or /item/id");

const name = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
    "is not a name: 1 to 64 letters, digits, dots, dashes and underscores, the first one a letter or a digit",
  )
  .optional()
  .describe("Under which its position is kept, for commands, metrics and logs. Default: the URL's host and path. A new name begins anew.");

const backlogMax = z
  .int()
  .min(1)
  .max(1_000_000_000)
  .optional()
  .describe("While more usage events than this wait for the sink, metered calls are refused (503). Default: calls never wait for a sink.");

/** Six times what a gateway of 500 calls a second makes; at some 40 us of CPU an event in the gateway, an eighth of a core. */
const CATCH_UP_PER_SECOND = 3_000;
const maxPerSecond = z
  .int()
  .min(1)
  .max(1_000_000)
  .default(CATCH_UP_PER_SECOND)
  .describe("Events (or records) of a backlog that go out in a second, at most: calls keep their share of the machine.");

/** A key, and who did what, in clear text would be anybody's on the way. */
const TLS_WORDS = "must begin with https:// (http:// only for this machine)";

const collector = z
  .strictObject({
    type: z.literal("cloudevents").describe("Batches of CloudEvents over HTTP, as OpenMeter takes them."),
    name,
    url: httpUrl.describe("Where batches are posted."),
    bearer: secretRef.optional(),
    every: duration(HOUR, "How often.").default("10s"),
    batch: z.int().min(1).max(1000).default(100).describe("Events in one request, at most."),
    maxPerSecond,
    send: z
      .array(z.enum(["usage", "checkpoints"]))
      .min(1)
      .default(["usage"])
      .describe("What goes there: usage events, and the signed checkpoints of the log."),
    timeout: duration(TIMEOUT_MAX_MS, "How long one answer may take; then the batch is sent again.").default("10s"),
    dedupeWindow: z
      .union([z.literal("unbounded"), duration(366 * DAY, "A span of time.")], {
        error: "must be unbounded, or a whole number with s, m, h or d: 24h",
      })
      .default("24h")
      .describe("For how long the collector knows by source and id what it has already. What may be there is not sent again after it."),
    maxAge: duration(3660 * DAY, "How old a usage event may be when it is sent; older ones are set aside as expired.").optional(),
    backlogMax,
    errors: z
      .union(
        [
          pointer,
          z.strictObject({
            list: pointer.describe("Where in an answer the list of errors is."),
            index: pointer.default("/index").describe("In an error: the place of the event in the batch, counted from 0."),
            id: pointer.default("/id").describe("In an error: the id of the event."),
            retry: z
              .union([z.enum(["always", "never"]), pointer])
              .default("/retryable")
              .describe("Whether to send it again, or where an error says so."),
          }),
        ],
        { error: "must be a JSON pointer to the list of errors, or a map with list, index, id and retry" },
      )
      .optional()
      .describe("Where a 2xx names events that it did not take. Default: errors, failed and unprocessed, each with index or id."),
  })
  .refine(({ url, bearer }) => bearer === undefined || isHttpsOrLoopback(url), {
    error: `${TLS_WORDS} where there is a bearer`,
    path: ["url"],
  });

const central = z.strictObject({
  type: z.literal("postgres").describe("The central ledger in PostgreSQL."),
  name,
  url: postgresUrl.describe("The database, as env:NAME or file:PATH where it holds a password."),
  every: duration(HOUR, "How often.").default("10s"),
  batch: z.int().min(1).max(10_000).default(1000).describe("Rows in one statement, at most."),
  maxPerSecond,
  send: z
    .array(z.enum(["usage", "records", "checkpoints"]))
    .min(1)
    .default(["usage", "records", "checkpoints"])
    .describe("What goes there: usage events, audit records, and the signed checkpoints of the log."),
  timeout: duration(TIMEOUT_MAX_MS, "How long one statement may take.").default("30s"),
  maxAge: duration(3660 * DAY, "How old a usage event may be when it is sent; older ones are set aside as expired.").optional(),
  backlogMax,
});

export const sync = z
  .array(z.discriminatedUnion("type", [collector, central], { error: "must be cloudevents or postgres" }))
  .default([])
  .describe("Where usage events go, and records and checkpoints with them.");

/** One that fits nothing would wait in silence for ever. */
function isTold(pattern: string): boolean {
  return TOLD_KINDS.some(globOf(pattern));
}

function fitsNothing(pattern: string): string {
  if (globOf(pattern)("call")) return "fits calls alone, of which nobody is told: sync sends them";
  const groups = [...new Set(TOLD_KINDS.map((kind) => kind.replace(/[^.]+$/, "*")))];
  return `fits no kind of record${didYouMean(pattern, [...TOLD_KINDS, ...groups]) || `; there are ${groups.join(", ")}`}`;
}

const webhook = z.strictObject({
  name,
  url: httpUrl.refine(isHttpsOrLoopback, TLS_WORDS).describe("Where messages are posted, in the form of Standard Webhooks."),
  secret: secretRef.describe("The key of the signatures by reference: whsec_ and 24 to 64 bytes in base64."),
  events: z
    .array(
      text
        .regex(/^[a-z_*]+(\.[a-z_*]+)*$/, { error: "is not a pattern of kinds of records such as agent.* or tool.changed", abort: true })
        .refine(isTold, { error: ({ input }) => fitsNothing(String(input)) }),
    )
    .min(1)
    .describe("Which kinds of records are told, * for anything: agent.*, approval.*, tool.changed."),
  timeout: duration(TIMEOUT_MAX_MS, "How long one answer may take.").default("10s"),
});

export const webhooks = z.array(webhook).default([]).describe("Who is told of what happens.");
