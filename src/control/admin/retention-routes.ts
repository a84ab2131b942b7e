/** How long records are kept, over the admin API: legal holds, purges, and erasures with what they had to leave. */
import { z } from "zod";
import { durationText, instantMs } from "../../call/authorize/written.ts";
import type { LegalHold } from "../../call/record/legal-hold.ts";
import type { Kept, RetentionState } from "../../call/record/retention.ts";
import type { Registry, RegistryFault } from "../agents/registry.ts";
import { isTheirs } from "./permissions.ts";
import { faultAnswer } from "./registry-answers.ts";
import { type Answer, notThere, type Route, route } from "./route.ts";

export type Purged = { readonly purged: number; readonly kept: Kept };

export function isAllGone({ kept }: Purged): boolean {
  return kept.young + kept.held + kept.unsent === 0;
}

export type Retention = {
  readonly atLeastMs: number;
  /** Null: for ever. */
  readonly atMostMs: number | null;
  state(): Promise<RetentionState>;
  purge(beforeMs: number, by: string): Promise<Purged>;
  /** False: there is one of that name. */
  placeHold(hold: LegalHold): Promise<boolean>;
  /** False: there is none of that name. */
  liftHold(name: string, by: string, reason: string): Promise<boolean>;
  /** Of a revoked agent, by its id. */
  eraseAgent(agent: string, customer: string, by: string, reason: string): Promise<Purged | RegistryFault>;
  /** False: nothing was digested under a key of that subject. */
  eraseSubject(customer: string, person: string, by: string, reason: string): Promise<boolean>;
};

export type RetentionRouteParts = { readonly retention: Retention; readonly registry: Registry; readonly now: () => number };

const reason = z.string().min(1).max(512);
const time = z.string().refine((written) => instantMs(written) !== null, "is not an RFC 3339 time or date");
const HOLD_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const newHold = z.strictObject({
  name: z.string().regex(HOLD_NAME, "1 to 64 of letters, digits, . _ -"),
  customer: z.string().min(1).max(128).optional(),
  agent: z.string().min(1).max(128).optional(),
  since: time.optional(),
  until: time.optional(),
  reason,
});
const lifting = z.strictObject({ reason });
const purging = z.strictObject({ before: time });
const erasing = z.union([
  z.strictObject({ agent: z.string().min(1).max(128), reason }),
  z.strictObject({
    subject: z.string().min(1).max(512),
    issuer: z.string().min(1).max(512).optional(),
    customer: z.string().min(1).max(128),
    reason,
  }),
]);

const BOUND: Answer = { status: 403, detail: "a key that is bound to a customer does not decide how long records are kept" };

export function retentionRoutes({ retention, registry, now }: RetentionRouteParts): readonly Route[] {
  const oldestAllowedMs = () => now() - retention.atLeastMs;
  return [
    route({
      method: "GET",
      path: "/audit/retention",
      permission: "audit:read",
      summary: "How long records are kept, how many are purged, which legal holds stand, and which erasures wait.",
      body: null,
      async answer({ caller }) {
        if (caller.customer !== null) return BOUND;
        const { holds, erasures, ...state } = await retention.state();
        const days = (ms: number) => ms / 86_400_000;
        return {
          status: 200,
          json: {
            at_least_days: days(retention.atLeastMs),
            at_most_days: retention.atMostMs === null ? null : days(retention.atMostMs),
            ...state,
            holds: holds.map(holdJson),
            erasures: erasures.map((erasure) => ({
              agent_id: erasure.agent,
              asked_at: iso(erasure.asked_ms),
              asked_by: erasure.asked_by,
              reason: erasure.reason,
              done_at: iso(erasure.done_ms),
            })),
          },
        };
      },
    }),
    route({
      method: "POST",
      path: "/audit/purge",
      permission: "records:keep",
      summary: "Purges the records that ended before a time, which must be older than what has to be kept.",
      body: purging,
      async answer({ caller, body }) {
        if (caller.customer !== null) return BOUND;
        const beforeMs = instantMs(body.before) ?? 0;
        if (beforeMs > oldestAllowedMs())
          return {
            status: 409,
            detail: `records are kept for at least ${durationText(retention.atLeastMs)}: before can be at most ${iso(oldestAllowedMs())}`,
          };
        const { purged, kept } = await retention.purge(beforeMs, caller.name);
        return { status: 200, json: { purged, kept_by_holds: kept.held, kept_for_sinks: kept.unsent } };
      },
    }),
    route({
      method: "POST",
      path: "/audit/holds",
      permission: "records:keep",
      summary: "Places a legal hold: what it names is not purged, however old it is, until it is lifted.",
      body: newHold,
      async answer({ caller, body }) {
        if (caller.customer !== null) return BOUND;
        if (body.customer !== undefined && registry.customer(body.customer) === undefined)
          return { status: 404, detail: `there is no customer ${body.customer}` };
        const agent = body.agent === undefined ? null : registry.find(body.agent);
        if (agent === undefined) return { status: 404, detail: `there is no agent ${body.agent}` };
        if (agent !== null && body.customer !== undefined && agent.customer !== body.customer)
          return { status: 422, detail: `${body.agent} is an agent of ${agent.customer}: a hold of both would hold nothing` };
        if (body.since !== undefined && body.until !== undefined && (instantMs(body.since) ?? 0) >= (instantMs(body.until) ?? 0))
          return { status: 422, detail: "until is not after since: a hold of that time would hold nothing" };
        const hold: LegalHold = {
          name: body.name,
          customer: body.customer ?? null,
          agent: agent?.id ?? null,
          since_ms: body.since === undefined ? null : instantMs(body.since),
          until_ms: body.until === undefined ? null : instantMs(body.until),
          reason: body.reason,
          placed_ms: now(),
          placed_by: caller.name,
        };
        if (!(await retention.placeHold(hold))) return { status: 409, detail: `there is a hold ${body.name} already` };
        return { status: 201, json: holdJson(hold) };
      },
    }),
    route({
      method: "POST",
      path: "/audit/holds/:name/lift",
      permission: "records:keep",
      summary: "Lifts a legal hold.",
      body: lifting,
      async answer({ caller, params, body }) {
        if (caller.customer !== null) return BOUND;
        if (!(await retention.liftHold(params.name ?? "", caller.name, body.reason)))
          return { status: 404, detail: `there is no hold ${params.name}` };
        return { status: 200, json: { lifted: params.name } };
      },
    }),
    route({
      method: "POST",
      path: "/erasures",
      permission: "records:keep",
      summary: "Erases a revoked agent, or destroys the key of a subject; answers what had to be kept, and until when.",
      body: erasing,
      async answer({ caller, body }) {
        if ("subject" in body) {
          if (!isTheirs(caller, body.customer)) return notThere(caller, `there is no customer ${body.customer}`);
          const person = body.issuer === undefined ? body.subject : JSON.stringify([body.issuer, body.subject]);
          const destroyed = await retention.eraseSubject(body.customer, person, caller.name, body.reason);
          return { status: 200, json: { destroyed_keys: destroyed ? 1 : 0 } };
        }
        const agent = registry.find(body.agent);
        if (agent === undefined || !isTheirs(caller, agent.customer)) return notThere(caller, `there is no agent ${body.agent}`);
        if (registry.isDeclared(agent.id))
          return { status: 409, detail: `a policy file declares ${agent.name}: take it out of the file first` };
        if (agent.state !== "revoked") return { status: 409, detail: `${agent.name} is ${agent.state}: revoke it first` };
        const done = await retention.eraseAgent(agent.id, agent.customer, caller.name, body.reason);
        if ("fault" in done) return faultAnswer(done);
        const { purged, kept } = done;
        const until = kept.young === 0 ? null : iso(now() + retention.atLeastMs);
        const why = [
          kept.young > 0 && `${kept.young} are younger than what has to be kept`,
          kept.held > 0 && `${kept.held} are under a legal hold`,
          kept.unsent > 0 && `${kept.unsent} have not been acknowledged by every sink`,
        ].filter((each) => each !== false);
        const ground = why.length === 0 ? null : `${why.join(", ")}: they go by themselves when that ends`;
        const json = { agent_id: agent.id, purged, kept: kept.young + kept.held + kept.unsent, kept_until_at_least: until, ground };
        return { status: 200, json };
      },
    }),
  ];
}

function holdJson(hold: LegalHold) {
  const { name, customer, agent, reason: why, placed_by } = hold;
  return {
    ...{ name, customer, agent_id: agent, since: iso(hold.since_ms), until: iso(hold.until_ms) },
    ...{ reason: why, placed_at: iso(hold.placed_ms), placed_by },
  };
}

function iso(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
