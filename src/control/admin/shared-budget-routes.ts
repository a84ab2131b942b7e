/** The shared ledger over the admin API: how it is, and an operator's word where it waits for a gateway that does not come. */
import { z } from "zod";
import type { SharingStatus } from "../../call/budget/sharing.ts";
import { type Caller, type Route, route } from "./route.ts";

/** The last that was heard of a gateway. `counts`: its session lasts; what it holds counts as used once it has been silent for `shared.lapse`. */
export type Sign = { readonly gateway: string; readonly atMs: number; readonly ageMs: number; readonly counts: boolean };

/** What the routes need of the shared ledger. Force and forget are recorded, and reject with `LedgerAway` while it is away. */
export type SharedBudgets = {
  /** Rejects while the registry is away. */
  status(): Promise<SharingStatus & { readonly gateways: readonly string[]; readonly signs: readonly Sign[] }>;
  /** Answers whom it has not waited for; `open`: it was, and nothing is done or recorded. */
  force(by: string, reason: string): Promise<readonly string[] | "open">;
  forget(gateway: string, by: string, reason: string): Promise<"forgotten" | "unknown" | "alive" | "lapsing" | "awaited">;
};

/** To whoever hears that it is away. */
export const SHARED_LEDGER_REMEDY = "tollgate budget shared status says how it is, and whom it waits for";

const reason = z.string().trim().min(1).max(512).describe("Why, for the record.");
const ALONE = { status: 409, detail: "budgets are counted by this gateway alone: shared.redis is not set" } as const;
/** Its counters are of every customer. */
const NOT_BOUND = { status: 403, detail: "this is for keys that are bound to no customer" } as const;

const isBound = (caller: Caller) => caller.customer !== null;

/** `shared` null: there is none. */
export function sharedBudgetRoutes(shared: SharedBudgets | null): readonly Route[] {
  return [
    route({
      method: "GET",
      path: "/budgets/shared",
      permission: "sync:read",
      summary: "Whether the shared ledger answers, its epoch, the gateways that count in it, and those whom it waits for.",
      body: null,
      async answer({ caller }) {
        if (isBound(caller)) return NOT_BOUND;
        if (shared === null) return ALONE;
        const { connected, open, epoch, gateways, waitingFor, setAside, signs } = await shared.status();
        const heard = signs.map(({ gateway, atMs, ageMs, counts }) => ({
          ...{ gateway, last_sign: new Date(atMs).toISOString(), age_ms: Math.round(ageMs), counts },
        }));
        return { status: 200, json: { connected, open, epoch, gateways, waiting_for: waitingFor, set_aside: setAside, signs: heard } };
      },
    }),
    route({
      method: "POST",
      path: "/budgets/shared/force",
      permission: "budgets:force",
      summary: "Opens the shared ledger without the gateways whom it waits for: what they have used and not told may be spent again.",
      body: z.strictObject({ reason }),
      async answer({ caller, body }) {
        if (isBound(caller)) return NOT_BOUND;
        if (shared === null) return ALONE;
        const without = await shared.force(caller.name, body.reason);
        return { status: 200, json: without === "open" ? { without: [], was_open: true } : { without, was_open: false } };
      },
    }),
    route({
      method: "POST",
      path: "/budgets/shared/forget",
      permission: "budgets:force",
      summary: "Takes a gateway that is gone for good from those whom the shared ledger waits for.",
      body: z.strictObject({ gateway: z.string().min(1).max(256).describe("Its id."), reason }),
      async answer({ caller, body }) {
        if (isBound(caller)) return NOT_BOUND;
        if (shared === null) return ALONE;
        const answer = await shared.forget(body.gateway, caller.name, body.reason);
        if (answer === "forgotten") return { status: 200, json: { forgotten: body.gateway } };
        if (answer === "unknown") return { status: 404, detail: `no gateway ${body.gateway} counts in the shared ledger` };
        return { status: 409, detail: REFUSED[answer] };
      },
    }),
  ];
}

const REFUSED = {
  alive: "it gives signs of life, or has within shared.lapse: stop it, and wait that long",
  awaited:
    "the ledger is being filled again and waits for what gateways have used: start that one, or force the ledger open first, after which what it has used may be spent again",
  lapsing: "its open calls are just being counted as used: try again in a moment",
} as const;
