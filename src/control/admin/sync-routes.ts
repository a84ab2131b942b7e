/** What leaves the gateway, over the admin API: how far each sink and webhook is, what was set aside, and a comparison with what arrived. */
import { z } from "zod";
import { instantOf } from "../../call/authorize/written.ts";
import { ASIDE_STATES, type AsideState, type ListedAside } from "../../call/record/sink-state.ts";
import type { ReconcileReport } from "../../call/sync/reconcile.ts";
import type { SinkStatus } from "../../call/sync/sink.ts";
import type { WebhookStatus } from "../../call/sync/webhook.ts";
import { elsewhere } from "./registry-answers.ts";
import { type Answer, NOT_THERE, pageOf, type Route, route } from "./route.ts";
import { sinkJson, webhookJson } from "./sync-json.ts";

/** What the routes need of the sinks and webhooks that run. */
export type Deliveries = {
  readonly sinks: readonly { readonly name: string; readonly type: string }[];
  readonly webhooks: readonly string[];
  sinkStatus(name: string): Promise<SinkStatus>;
  webhookStatus(name: string): Promise<WebhookStatus>;
  flush(name: string): Promise<Flushed>;
  asides(
    sink: string | null,
    state: AsideState | null,
    after: readonly [string, string, number] | null,
    limit: number,
  ): Promise<ListedAside[]>;
  /** Recorded. Returns how many. */
  decide(sink: string, states: readonly AsideState[], send: boolean, by: string, reason: string): Promise<number>;
  /** Recorded. Rejects with why the ledger cannot be asked. */
  reconcile(sink: string, sinceMs: number | null, untilMs: number | null, deep: boolean, by: string): Promise<ReconcileReport>;
  enable(webhook: string, by: string): Promise<boolean>;
};

export type Flushed = {
  /** Null: the sink has taken all but what is set aside; else why not. */
  readonly error: string | null;
  /** Refused, of unknown fate or too old: not sent again by itself. */
  readonly set_aside: number;
  /** Of those, by this flush. */
  readonly newly_set_aside: number;
  /** To be tried again by itself. */
  readonly retrying: number;
};

const PAGE_MAX = 1_000;
const sink = z.string().min(1).max(256).optional().describe("Its name; default: every sink and webhook.");
/** Those of `retry` are sent again by themselves. */
const states = z
  .array(z.enum(["refused", "unknown", "expired"]))
  .min(1)
  .describe("Which of those set aside.");
const reason = z.string().trim().min(1).max(512).describe("Why, for the record.");
const time = z
  .string()
  .refine((written) => instantOf(written) !== null, "must be an RFC 3339 time or date")
  .optional();

export function syncRoutes(deliveries: Deliveries, now: () => number): readonly Route[] {
  const isKnown = (name: string) => deliveries.sinks.some((each) => each.name === name) || deliveries.webhooks.includes(name);
  const status = async () => ({
    sinks: await Promise.all(deliveries.sinks.map(async ({ name, type }) => sinkJson(await deliveries.sinkStatus(name), type, now()))),
    webhooks: await Promise.all(deliveries.webhooks.map(async (name) => webhookJson(await deliveries.webhookStatus(name)))),
  });
  return [
    route({
      method: "GET",
      path: "/sync",
      permission: "sync:read",
      summary: "How far each sink and each webhook is: what waits, for how long, what was set aside, and the last error.",
      body: null,
      answer: async ({ caller }) => (caller.customer === null ? { status: 200, json: await status() } : elsewhere(caller)),
    }),
    route({
      method: "GET",
      path: "/sync/asides",
      permission: "sync:read",
      summary: "What was set aside and why, by sink and number; sink= and state= (retry, refused, unknown, expired) narrow it.",
      body: null,
      async answer({ caller, query }) {
        if (caller.customer !== null) return elsewhere(caller);
        const state = query.state === undefined ? null : (ASIDE_STATES.find((each) => each === query.state) ?? undefined);
        if (state === undefined) return { status: 400, detail: `state: there is ${ASIDE_STATES.join(", ")}` };
        const { limit, after } = pageOf(query, PAGE_MAX);
        const from = after === null ? null : cursorOf(after);
        if (after !== null && from === null) return { status: 400, detail: "after is the next_cursor of the page before" };
        const items = await deliveries.asides(query.sink ?? null, state, from, limit);
        const last = items.length === limit ? items.at(-1) : undefined;
        const next_cursor = last === undefined ? null : JSON.stringify([last.sink, last.stream, last.sequence]);
        return { status: 200, json: { items: items.map(asideJson), next_cursor } };
      },
    }),
    route({
      method: "POST",
      path: "/sync/flush",
      permission: "sync:write",
      summary:
        "Sends what waits now and answers when it is there, or with why not, and how much is set aside; resend sends those set aside again as well.",
      body: z.strictObject({ sink, resend: states.optional(), reason: reason.optional() }),
      async answer({ caller, body }) {
        if (caller.customer !== null) return elsewhere(caller);
        if (body.sink !== undefined && !isKnown(body.sink)) return NOT_THERE;
        if (body.resend !== undefined && (body.sink === undefined || body.reason === undefined))
          return { status: 422, detail: "resend needs the sink, and the reason for the record" };
        const resent =
          body.resend === undefined ? 0 : await deliveries.decide(body.sink ?? "", body.resend, true, caller.name, body.reason ?? "");
        const names = body.sink === undefined ? [...deliveries.sinks.map(({ name }) => name), ...deliveries.webhooks] : [body.sink];
        const items = await Promise.all(names.map(async (name) => ({ name, ...(await deliveries.flush(name)) })));
        return { status: 200, json: { items, resent } };
      },
    }),
    route({
      method: "POST",
      path: "/sync/settle",
      permission: "sync:write",
      summary: "Lets go of what was set aside: the sink has it after all, or does without. It stays in the journal.",
      body: z.strictObject({ sink: z.string().min(1).max(256), states, reason }),
      async answer({ caller, body }) {
        if (caller.customer !== null) return elsewhere(caller);
        if (!isKnown(body.sink)) return NOT_THERE;
        return { status: 200, json: { settled: await deliveries.decide(body.sink, body.states, false, caller.name, body.reason) } };
      },
    }),
    route({
      method: "POST",
      path: "/sync/reconcile",
      permission: "sync:write",
      summary:
        "Compares by the hour what was used, what a sink has acknowledged and what the central ledger holds; the outcome is recorded.",
      body: z.strictObject({
        sink,
        since: time,
        until: time,
        deep: z.boolean().default(false).describe("Every event, also where the sums agree."),
      }),
      async answer({ caller, body }): Promise<Answer> {
        if (caller.customer !== null) return elsewhere(caller);
        const names = deliveries.sinks.map(({ name }) => name).filter((name) => body.sink === undefined || name === body.sink);
        if (body.sink !== undefined && names.length === 0) return NOT_THERE;
        const items: ReconcileReport[] = [];
        for (const name of names) {
          const report = await deliveries
            .reconcile(name, msOf(body.since), msOf(body.until), body.deep, caller.name)
            .catch((fault: Error) => fault);
          if (report instanceof Error) return { status: 503, detail: `${name}: ${report.message}` };
          items.push(report);
        }
        return { status: 200, json: { items } };
      },
    }),
    route({
      method: "POST",
      path: "/sync/enable",
      permission: "sync:write",
      summary: "Enables a webhook that was disabled: what happened meanwhile is told, what was given up is not.",
      body: z.strictObject({ webhook: z.string().min(1).max(256) }),
      async answer({ caller, body }) {
        if (caller.customer !== null) return elsewhere(caller);
        if (!deliveries.webhooks.includes(body.webhook))
          return { status: 404, detail: `no webhook is named ${body.webhook}; there is ${deliveries.webhooks.join(", ") || "none"}` };
        return { status: 200, json: { enabled: await deliveries.enable(body.webhook, caller.name) } };
      },
    }),
  ];
}

function msOf(written: string | undefined): number | null {
  const instant = written === undefined ? null : instantOf(written);
  return instant === null ? null : Date.parse(instant);
}

function cursorOf(written: string): readonly [string, string, number] | null {
  try {
    const read: unknown = JSON.parse(written);
    if (!Array.isArray(read) || read.length !== 3) return null;
    const [name, stream, sequence] = read as unknown[];
    return typeof name === "string" && typeof stream === "string" && Number.isSafeInteger(sequence)
      ? [name, stream, sequence as number]
      : null;
  } catch {
    return null;
  }
}

function asideJson({ sink: name, stream, sequence, id, state, status, reason: why, atMs, tries, nextMs, attemptMs }: ListedAside): object {
  const [at, next_at, attempted_at] = [atMs, nextMs, attemptMs].map((ms) => (ms === null ? null : new Date(ms).toISOString()));
  return { sink: name, stream, sequence, id, state, status, reason: why, at, tries: Math.max(0, tries), next_at, attempted_at };
}
