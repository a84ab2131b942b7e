/** Reserve, then settle or void: the same budgets, records and usage events as a call through the gateway. */
import { z } from "zod";
import { METER } from "../../call/authorize/budget-file.ts";
import { StoreUnavailable } from "../../call/record/journal.ts";
import { isRefusal } from "../../refusal.ts";
import type { Settled } from "../me/reservation-story.ts";
import type { Ending, Reservations } from "../me/reservations.ts";
import { verdictOf } from "../me/verdict.ts";
import { type Answer, type Caller, NOT_THERE, type Route, route } from "./route.ts";
import { type Find, hasOne, ONE_OF, placeOf, vouchedFor, what, whose } from "./vouched.ts";

export type ReservationRoutesParts = {
  readonly reservations: Reservations;
  readonly find: Find;
  readonly publicUrl: string;
  /** True while what other gateways have changed is not known. */
  readonly isStale: () => boolean;
  /** All that amounts may stand on. */
  readonly meters: ReadonlySet<string>;
};

/** A year of sums of these stays below 2^63, where SQLite's sums end. */
const AMOUNT_MAX = 1_000_000_000_000;
const amount = z.int().min(0).max(AMOUNT_MAX);
/** Longer than the slowest work that anybody waits for; what is forgotten is then charged. */
const TTL_SECONDS_MAX = 86_400;

const METERS = "Whole units by meter: calls, tool_tokens, llm_tokens, cost_micros, outcome:NAME, or a meter of the configuration.";
const meters = z.record(z.string().regex(METER, "is not a meter"), amount);
/** The gateway counts these itself, of what passes through it. */
const OWN = ["bytes", "duration_ms", "bytes_in", "bytes_out", "input_tokens", "output_tokens"];

const reserve = z
  .strictObject({
    ...whose,
    ...what,
    meters: meters.default({}).describe(`${METERS} Default: one call, no tokens.`),
    ttl: z.int().min(1).max(TTL_SECONDS_MAX).default(60).describe("Seconds until it is charged as held."),
  })
  .refine(hasOne, ONE_OF);
const settle = z.strictObject({ meters: meters.default({}).describe(`${METERS} What was used; left out: as reserved.`) });

export function reservationRoutes({ reservations, find, publicUrl, isStale, meters: known }: ReservationRoutesParts): readonly Route[] {
  return [
    route({
      method: "POST",
      path: "/reservations",
      permission: "calls:reserve",
      summary: "Decides, and holds the amounts on all budgets of the agent until they are settled, voided or the ttl has passed.",
      body: reserve,
      answer: ({ caller, body }) =>
        unlessStoreIsAway(async () => {
          const agent = vouchedFor(caller, body, find, publicUrl);
          if (agent === null) return NOT_THERE;
          if (isStale()) return { status: 503, detail: "what other gateways have changed is not known" };
          if (isRefusal(agent)) return { status: 200, json: { ...verdictOf(agent, []), ...NO_RESERVATION } };
          const unknown = unknownIn(body.meters, known);
          if (unknown !== null) return { status: 422, detail: unknown };
          const wanted = {
            ...placeOf(body),
            meters: { calls: 1, tool_tokens: 0, ...body.meters },
            leaseMs: body.ttl * 1_000,
            by: caller.name,
          };
          const made = await reservations.open(agent, wanted);
          if ("refusal" in made) return { status: 200, json: { ...verdictOf(made.refusal, made.left), ...NO_RESERVATION } };
          const expires_at = new Date(made.expiresAtMs).toISOString();
          return { status: 201, json: { ...verdictOf(null, made.left), reservation_id: made.id, expires_at } };
        }),
    }),
    route({
      method: "POST",
      path: "/reservations/:id/settle",
      permission: "calls:reserve",
      summary: "Posts what was used, and answers it by meter. The first ending stands; settling again tells it again.",
      body: settle,
      answer: async ({ caller, params, body }) => {
        const unknown = unknownIn(body.meters, known);
        return unknown === null ? await end(reservations, caller, params.id, body.meters) : { status: 422, detail: unknown };
      },
    }),
    route({
      method: "POST",
      path: "/reservations/:id/void",
      permission: "calls:reserve",
      summary: "Gives everything back: the work was not done.",
      body: z.strictObject({}),
      answer: ({ caller, params }) => end(reservations, caller, params.id, null),
    }),
  ];
}

const NO_RESERVATION = { reservation_id: null, expires_at: null };

/** What nobody counts would be charged to nobody. */
function unknownIn(amounts: Readonly<Record<string, number>>, known: ReadonlySet<string>): string | null {
  const unknown = Object.keys(amounts).find((meter) => !known.has(meter) || OWN.includes(meter));
  if (unknown === undefined) return null;
  return OWN.includes(unknown) ? `meters: ${unknown} is counted by the gateway alone` : `meters: there is no meter ${unknown}`;
}

const CONFLICT: Readonly<Record<Settled["state"], string>> = {
  posted: "it was settled: what was used is charged",
  voided: "it was voided: nothing is charged",
  unknown: "it ended before it was settled, and is charged as held",
};

function end(reservations: Reservations, { customer }: Caller, id = "", ending: Ending): Promise<Answer> {
  return unlessStoreIsAway(async () => {
    const settled = await reservations.end(id, customer, ending);
    if (settled === null) return NOT_THERE;
    // Settling what ended by itself is told what it came to; voiding what is charged, or settling what is void, is told no.
    const agrees = ending === null ? settled.state === "voided" : settled.state !== "voided";
    return agrees ? { status: 200, json: settled } : { status: 409, detail: CONFLICT[settled.state] };
  });
}

async function unlessStoreIsAway(work: () => Promise<Answer>): Promise<Answer> {
  try {
    return await work();
  } catch (thrown) {
    if (thrown instanceof StoreUnavailable) return { status: 503, detail: "the gateway cannot record now" };
    throw thrown;
  }
}
