/** Usage that others have measured, over the admin API: the list of what may be told, reports, corrections, and every event with its proof. */
import { z } from "zod";
import type { Catalogue } from "../../call/record/event-types.ts";
import { definitionDigest } from "../../call/record/event-types.ts";
import type { Reader } from "../../call/record/reader.ts";
import type { Correct } from "../metering/correct.ts";
import type { createIntake, Taken } from "../metering/intake.ts";
import { AMOUNT_MAX, sentEventIn } from "./event-form.ts";
import { overfull } from "./form-words.ts";
import { type Answer, type Caller, notThere, pageOf, type Route, route } from "./route.ts";

export type MeteringParts = {
  readonly catalogue: Catalogue;
  readonly reader: Reader;
  readonly intake: ReturnType<typeof createIntake>;
  readonly correct: Correct;
};

/** Events in one request. */
export const EVENTS_MAX = 10_000;
/** Ten thousand events of 800 bytes; parsing them takes some 50 ms, in which nothing else is answered. */
const EVENTS_BODY_BYTES_MAX = 8_388_608;
const CLOUD_EVENT = "application/cloudevents+json";
const CLOUD_EVENTS = "application/cloudevents-batch+json";

const deltas = z
  .record(z.string().max(128), z.int().min(-AMOUNT_MAX).max(AMOUNT_MAX))
  .refine((written) => Object.keys(written).length > 0 && Object.values(written).every((delta) => delta !== 0), "must change something");

const correction = z.strictObject({
  event_id: z.string().min(1).max(128).describe("The event that is corrected."),
  quantity: z
    .preprocess((written, context) => {
      const fault = overfull(written);
      if (fault === null) return written;
      context.addIssue({ code: "custom", message: fault });
      return z.NEVER;
    }, deltas)
    .describe("What is added on each meter; less than nothing takes away."),
  reason: z.string().trim().min(1).max(512).describe("Why, for the record."),
  id: z.string().min(1).max(256).optional().describe("Names this correction, where no Idempotency-Key does: sent again, it is the same."),
});

export function meteringRoutes({ catalogue, reader, intake, correct }: MeteringParts): readonly Route[] {
  return [
    route({
      method: "GET",
      path: "/metering/event-types",
      permission: "usage:read",
      summary: "Every type that an event may have, with its version, its digest and who approved it.",
      body: null,
      async answer() {
        const items = catalogue.types.map((each) => ({ ...each, digest: definitionDigest(each) }));
        return { status: 200, json: { items, next_cursor: null } };
      },
    }),
    route({
      method: "POST",
      path: "/metering/events",
      permission: "usage:write",
      summary: `Takes one event or at most ${EVENTS_MAX}: CloudEvents, or the short form. Each is taken once for ever; what is not taken is told by its index.`,
      body: z.unknown(),
      bodyBytesMax: EVENTS_BODY_BYTES_MAX,
      namedByKey: true,
      mediaTypes: ["application/json", CLOUD_EVENT, CLOUD_EVENTS],
      async answer({ caller, body, mediaType = "", idempotencyKey }) {
        if (Array.isArray(body) ? mediaType === CLOUD_EVENT : mediaType === CLOUD_EVENTS)
          return { status: 400, detail: `${CLOUD_EVENT} is one event, ${CLOUD_EVENTS} a list of them` };
        const items: readonly unknown[] = Array.isArray(body) ? body : [body];
        if (items.length > EVENTS_MAX) return { status: 413, detail: `at most ${EVENTS_MAX} events` };
        const reporter = { name: caller.name, idempotencyKey: idempotencyKey?.replace(/^"|"$/g, "") ?? null };
        const cloudEvents = mediaType !== "application/json";
        return answerOf(await intake.take(items, (item, index) => sentEventIn(item, index, cloudEvents, reporter), caller));
      },
    }),
    route({
      method: "GET",
      path: "/metering/events",
      permission: "audit:read",
      summary: "The first events beyond the sequence number `after`, oldest first: those that leave for the sinks.",
      body: null,
      async answer({ caller, query }) {
        const { limit, after } = pageOf(query, EVENTS_MAX);
        if (after !== null && !/^[0-9]{1,15}$/.test(after)) return { status: 400, detail: "after is the sequence of an event" };
        const items = await reader.ask("eventsAfter", Number(after ?? 0), limit, caller.customer);
        return { status: 200, json: { items, next_cursor: items.length < limit ? null : (items.at(-1)?.sequence.toString() ?? null) } };
      },
    }),
    route({
      method: "GET",
      path: "/metering/events/:id",
      permission: "audit:read",
      summary: "An event with its digest, its record, and the path to the root of its batch, which stands in that record.",
      body: null,
      async answer({ caller, params }) {
        const found = await reader.ask("event", params.id ?? "");
        if (found === null || !(caller.customer === null || found.event.subject === caller.customer))
          return notThere(caller, `there is no event ${params.id}`);
        return { status: 200, json: found };
      },
    }),
    route({
      method: "POST",
      path: "/metering/corrections",
      permission: "usage:correct",
      summary: "Adds to an event, or takes away from it, by a new event; the sum of both stays at zero or above.",
      body: correction,
      namedByKey: true,
      async answer({ caller, body, idempotencyKey }) {
        if (caller.customer !== null)
          return { status: 403, detail: "a key that is bound to a customer does not correct what that customer pays" };
        const key = body.id ?? idempotencyKey?.replace(/^"|"$/g, "");
        if (key === undefined) return { status: 400, detail: "give the correction an id, or send the header Idempotency-Key" };
        return correctionAnswer(
          caller,
          await correct({ eventId: body.event_id, deltas: body.quantity, reason: body.reason, key }, caller.name),
        );
      },
    }),
  ];
}

function answerOf(taken: readonly Taken[]): Answer {
  const rejected = taken.flatMap((each, index) => ("reason" in each ? [{ index, ...each }] : []));
  const count = (state: string) => taken.filter((each) => "state" in each && each.state === state).length;
  const [accepted, duplicates] = [count("accepted"), count("duplicate")];
  if (rejected.length > 0 && accepted + duplicates === 0) return { status: 422, detail: "no event was taken", problems: rejected };
  const event_ids = taken.map((each) => ("state" in each ? each.id : null));
  return { status: accepted > 0 ? 201 : 200, json: { accepted, duplicates, rejected, event_ids } };
}

function correctionAnswer(caller: Caller, corrected: Awaited<ReturnType<Correct>>): Answer {
  if ("id" in corrected)
    return {
      status: corrected.state === "accepted" ? 201 : 200,
      json: { event_id: corrected.id, duplicate: corrected.state === "duplicate" },
    };
  if (corrected.state === "absent") return notThere(caller, corrected.detail);
  return { status: corrected.state === "conflict" ? 409 : 422, detail: corrected.detail };
}
