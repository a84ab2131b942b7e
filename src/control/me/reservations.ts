/** Holds for those who do the work themselves: the ledger and the journal of a forwarded call, with a lease in place of an answer. */
import type { McpRequest } from "../../call/accept/request.ts";
import type { Agent } from "../../call/authenticate/agent.ts";
import type { PolicySet } from "../../call/authorize/candidates.ts";
import { decide } from "../../call/authorize/decide.ts";
import { refuseUnpriced } from "../../call/budget/price.ts";
import type { Amounts, Ledger, Left, Reservation, Settlement, Usage } from "../../call/budget/reservation.ts";
import type { StoredRecord } from "../../call/record/books.ts";
import type { Scribe } from "../../call/record/compose.ts";
import { type Journal, StoreUnavailable, unlessAway } from "../../call/record/journal.ts";
import type { Reader } from "../../call/record/reader.ts";
import { openStory, type Story } from "../../call/record/story.ts";
import type { UsageEvent } from "../../call/record/usage-event.ts";
import { mintId, type ServerName } from "../../ids.ts";
import { isRefusal, type Refusal, refuse } from "../../refusal.ts";
import {
  furtherOf,
  outcomeOf,
  permitEntry,
  refusedEntry,
  requestOf,
  type Settled,
  settledOf,
  settlementEntry,
} from "./reservation-story.ts";

export type Wanted = {
  readonly server: ServerName;
  readonly tool: string;
  readonly meters: Usage;
  /** How long it stays open: then it is charged as held. */
  readonly leaseMs: number;
  /** Who reserves: an admin key's name. */
  readonly by: string;
};
export type Reserved =
  | { readonly id: string; readonly expiresAtMs: number; readonly left: readonly Left[] }
  | { readonly refusal: Refusal; readonly left: readonly Left[] };

/** What was used, by meter; one that is left out counts as reserved. Null: nothing was done. */
export type Ending = Amounts | null;

export type Reservations = {
  open(agent: Agent, wanted: Wanted): Promise<Reserved>;
  /** The first ending stands, and is told to whoever ends it again. Null: no such reservation of the customer (null: of any). */
  end(id: string, customer: string | null, ending: Ending): Promise<Settled | null>;
  close(): void;
};

export type ReservationsParts = {
  /** Knows `feature` as a server. */
  readonly policies: { readonly policySet: PolicySet };
  readonly ledger: Pick<Ledger, "hold" | "weigh">;
  readonly journal: Pick<Journal, "permit" | "settle" | "append" | "available">;
  readonly reader: Pick<Reader, "ask">;
  readonly scribe: Scribe;
  /** What the price table says of it; nothing where there is no price. */
  readonly costOf: (server: ServerName, tool: string, amounts: Amounts) => { readonly cost_micros?: number };
  readonly fault: (thrown: unknown) => void;
  /** Hears of each reservation that was settled. */
  readonly used?: (story: Story) => void;
};

type Open = {
  readonly story: Story;
  readonly request: McpRequest;
  readonly reservation: Reservation;
  readonly wanted: Wanted;
  readonly customer: string;
  readonly endsMonoMs: number;
  ending: Promise<Settled> | null;
  /** The store was away: the journal writes the ending on its return. */
  late: boolean;
};

/** About 3 kB each. */
export const OPEN_MAX = 10_000;
const SWEEP_MS = 1_000;
const NONE: Usage = { calls: 0, tool_tokens: 0 };
/** Work that others have done cannot be withheld: what a budget does not carry is a debt. */
const OVERRUN = "deliver";

export function createReservations(parts: ReservationsParts): Reservations {
  const { policies, ledger, journal, reader, scribe, fault, costOf } = parts;
  const open = new Map<string, Open>();
  let opening = 0;

  async function sayNo(story: Story, refusal: Refusal, { by }: Wanted, left: readonly Left[]): Promise<Reserved> {
    story.refusal = refusal;
    await journal.append(refusedEntry(story, by, scribe)).catch(unlessAway);
    return { refusal, left };
  }

  async function reserve(agent: Agent, wanted: Wanted): Promise<Reserved> {
    const { server, tool, meters, by } = wanted;
    const [atMs, monoMs] = [scribe.now(), scribe.mono()];
    const request = requestOf({ callId: mintId("call", atMs), server, tool, atMs, monoMs });
    const story = openStory({ ...request, era: null }, request);
    story.agent = agent;
    if (agent.subject !== null) story.subjectDigest = scribe.digest(agent, Buffer.from(agent.subject));
    const permit = decide(policies.policySet, agent, request, atMs);
    if (isRefusal(permit)) return sayNo(story, permit, wanted, []);
    const draws = permit.draws.map((draw) => ({ ...draw, overrun: OVERRUN }) as const);
    story.permit = { ...permit, draws };
    const priced = { ...costOf(server, tool, meters), ...meters };
    const unpriced = priced.cost_micros === undefined ? refuseUnpriced(draws, `${server}/${tool}`) : null;
    if (unpriced !== null) return sayNo(story, unpriced, wanted, []);
    const reservation = await ledger.hold(request.callId, draws, priced, atMs);
    if (isRefusal(reservation)) return sayNo(story, reservation, wanted, (await ledger.weigh(draws, NONE, atMs)).left);
    story.reservation = reservation;
    story.usage = priced;
    try {
      await journal.permit(permitEntry(story, request, reservation, by, meters, scribe));
      reservation.sent();
    } catch (thrown) {
      reservation[Symbol.dispose]();
      throw thrown;
    }
    const endsMonoMs = monoMs + wanted.leaseMs;
    open.set(request.callId, {
      story,
      request,
      reservation,
      wanted,
      customer: agent.profile.customer,
      endsMonoMs,
      ending: null,
      late: false,
    });
    return { id: request.callId, expiresAtMs: atMs + wanted.leaseMs, left: (await ledger.weigh(draws, NONE, atMs)).left };
  }

  async function finish(entry: Open, settlement: Settlement): Promise<Settled> {
    const { story, request, wanted } = entry;
    story.settlement = settlement;
    const written = settlementEntry(story, request, settlement, wanted.by, scribe);
    const settled = settledOf(written.audit, written.usage?.data.quantity ?? {});
    if (settled === null) throw new Error("a reservation's record does not read as one");
    try {
      await journal.settle(written);
    } catch (thrown) {
      entry.late = true;
      throw thrown;
    }
    open.delete(request.callId);
    parts.used?.(story);
    return settled;
  }

  function expire(entry: Open): Promise<Settled> {
    entry.story.outcome = outcomeOf("unknown");
    entry.ending = finish(entry, entry.reservation.postUnknown());
    return entry.ending;
  }

  function endWith(entry: Open, ending: Ending): Promise<Settled> {
    if (entry.ending !== null) return entry.ending;
    if (scribe.mono() >= entry.endsMonoMs) return expire(entry);
    const { story, reservation } = entry;
    if (ending === null) {
      story.usage = null;
      story.outcome = outcomeOf("not_sent");
      entry.ending = finish(entry, reservation.voidUnsent());
    } else {
      const { meters, server, tool } = entry.wanted;
      const used: Usage = { ...meters, ...ending };
      const usage: Usage = { ...costOf(server, tool, used), ...used };
      story.usage = usage;
      story.measures = furtherOf(usage);
      story.tokenCount = { input: usage.tool_tokens, output: 0, source: "reported" };
      story.outcome = outcomeOf("result");
      entry.ending = Promise.resolve(reservation.post(usage)).then((settlement) => finish(entry, settlement));
    }
    return entry.ending;
  }

  const sweep = setInterval(() => {
    const monoMs = scribe.mono();
    for (const [id, entry] of open) {
      if (entry.late && journal.available) open.delete(id);
      else if (entry.ending === null && monoMs >= entry.endsMonoMs)
        void expire(entry).catch((thrown) => thrown instanceof StoreUnavailable || fault(thrown));
    }
  }, SWEEP_MS).unref();

  return {
    async open(agent, wanted) {
      if (!journal.available) throw new StoreUnavailable("nothing can be recorded");
      if (open.size + opening >= OPEN_MAX) return { refusal: refuse("overloaded", { retry_after_ms: 1_000 }), left: [] };
      opening += 1;
      try {
        return await reserve(agent, wanted);
      } finally {
        opening -= 1;
      }
    },
    async end(id, customer, ending) {
      const mine = (owner: string | undefined) => customer === null || customer === owner;
      const entry = open.get(id);
      if (entry !== undefined && !(entry.late && journal.available)) return mine(entry.customer) ? await endWith(entry, ending) : null;
      const record = /^call_[0-9a-z]{26}$/.test(id) ? ((await reader.ask("record", id))?.record ?? null) : null;
      if (record === null || !mine(customerOf(record))) return null;
      const found = await reader.ask("event", `${id}.settled`);
      return settledOf(record, (found?.event.data.quantity ?? {}) as UsageEvent["data"]["quantity"]);
    },
    close: () => clearInterval(sweep),
  };
}

function customerOf({ agent }: StoredRecord): string | undefined {
  return agent?.customer;
}
