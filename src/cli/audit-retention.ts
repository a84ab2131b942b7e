/** `audit retention|purge|hold|lift|erase`: how long records are kept, and what ends earlier or later than that. */
import type { Command } from "commander";
import { durationText, instantOf } from "../call/authorize/written.ts";
import { adminClient } from "./admin-client.ts";
import { type CommonOptions, configOf, leaf, print } from "./command.ts";
import { EXIT, Exit, type Io } from "./io.ts";
import { memberTable, table } from "./table.ts";

type HoldJson = {
  readonly name: string;
  readonly customer: string | null;
  readonly agent_id: string | null;
  readonly since: string | null;
  readonly until: string | null;
  readonly reason: string;
  readonly placed_at: string;
  readonly placed_by: string;
};
type StateJson = {
  readonly at_least_days: number;
  readonly at_most_days: number | null;
  readonly records: number;
  readonly purged: number;
  readonly oldest: string | null;
  readonly holds: readonly HoldJson[];
  readonly erasures: readonly { agent_id: string; asked_at: string; asked_by: string; done_at: string | null }[];
};
type HoldOptions = CommonOptions & { reason: string; customer?: string; agent?: string; since?: string; until?: string };
type EraseOptions = CommonOptions & { reason: string; agent?: string; customer?: string; subject?: string; issuer?: string };

export function registerAuditRetention(audit: Command, io: Io): void {
  const admin = (options: CommonOptions) => adminClient(configOf(options, io), io);
  leaf(audit, "retention", "how long records are kept, legal holds, and erasures that wait", "tollgate audit retention").action(
    async (options: CommonOptions) => {
      const state = await admin(options).get<StateJson>("/audit/retention");
      print(io, options, state, () => stateText(state));
    },
  );
  leaf(audit, "purge", "purge the records that ended before a time", "tollgate audit purge --before 2026-01-01")
    .requiredOption("--before <time>", "RFC 3339 time or date, UTC: older than what has to be kept")
    .action(async (options: CommonOptions & { before: string }) => {
      const before = timeOf(options.before);
      const done = await admin(options).post<PurgedJson>("/audit/purge", { before }, LONG_MS);
      print(io, options, done, () => purgedText(done));
    });
  leaf(
    audit,
    "hold <name>",
    "place a legal hold: what it names is not purged until it is lifted",
    'tollgate audit hold case-12 --customer acme --since 2026-01-01 --reason "claim of 12 May"',
  )
    .option("--customer <key>", "of this customer alone")
    .option("--agent <name>", "of this agent alone")
    .option("--since <time>", "records that ended at this time or later")
    .option("--until <time>", "records that ended before")
    .requiredOption("--reason <text>", "why, for the record")
    .action(async (name: string, options: HoldOptions) => {
      const { customer, agent, reason } = options;
      const body = { name, customer, agent, reason, since: timeOf(options.since), until: timeOf(options.until) };
      const hold = await admin(options).post<HoldJson>("/audit/holds", body);
      print(io, options, hold, () => memberTable(hold));
    });
  leaf(audit, "lift <name>", "lift a legal hold", 'tollgate audit lift case-12 --reason "settled"')
    .requiredOption("--reason <text>", "why, for the record")
    .action(async (name: string, options: CommonOptions & { reason: string }) => {
      const lifted = await admin(options).post<object>(`/audit/holds/${encodeURIComponent(name)}/lift`, { reason: options.reason });
      print(io, options, lifted, () => `the hold ${name} is lifted`);
    });
  leaf(
    audit,
    "erase",
    "erase a revoked agent, or destroy the key of a subject; tells what has to be kept",
    'tollgate audit erase --agent old-bot --reason "request of 3 May"',
  )
    .option("--agent <name>", "a revoked agent: its names, its credentials, its records")
    .option("--subject <subject>", "a user on whose behalf agents called: nothing can be told from its digests any more")
    .option("--issuer <issuer>", "of the subject, where that is not this gateway")
    .option("--customer <key>", "of the subject's agents")
    .requiredOption("--reason <text>", "why, for the record")
    .action(async (options: EraseOptions) => {
      const { agent, subject, issuer, customer, reason } = options;
      if ((agent === undefined) === (subject === undefined)) throw new Exit(EXIT.usage, "give either --agent or --subject");
      if (subject !== undefined && customer === undefined)
        throw new Exit(EXIT.usage, "--subject needs --customer: whose agents acted for it");
      const body = agent === undefined ? { subject, issuer, customer, reason } : { agent, reason };
      const done = await admin(options).post<object>("/erasures", body, LONG_MS);
      print(io, options, done, () => memberTable(done as Record<string, string | number | null>));
    });
}

type PurgedJson = { readonly purged: number; readonly kept_by_holds: number; readonly kept_for_sinks: number };

function purgedText({ purged, kept_by_holds, kept_for_sinks }: PurgedJson): string {
  const kept = [
    kept_by_holds > 0 && `${kept_by_holds} stay under a legal hold`,
    kept_for_sinks > 0 && `${kept_for_sinks} stay until every sink has acknowledged them: tollgate sync status`,
  ].filter((each) => each !== false);
  return [`${purged} records purged: their leaves stay, and every proof of the others`, ...kept].join("\n");
}

/** A purge reads the whole journal. */
const LONG_MS = 600_000;

function stateText({ holds, erasures, ...state }: StateJson): string {
  const parts = [
    `kept for at least ${daysText(state.at_least_days)}, ${state.at_most_days === null ? "and never purged by age" : `purged after ${daysText(state.at_most_days)}`}`,
    `${state.records} records, ${state.purged} of them purged; the oldest that is whole ended ${state.oldest ?? "never"}`,
  ];
  if (holds.length > 0)
    parts.push(
      "",
      table(
        ["HOLD", "CUSTOMER", "AGENT", "SINCE", "UNTIL", "REASON", "BY"],
        holds.map((hold) => [hold.name, hold.customer, hold.agent_id, hold.since, hold.until, hold.reason, hold.placed_by]),
      ),
    );
  if (erasures.length > 0)
    parts.push(
      "",
      table(
        ["ERASED AGENT", "ASKED", "BY", "DONE"],
        erasures.map((erasure) => [erasure.agent_id, erasure.asked_at, erasure.asked_by, erasure.done_at ?? "waits"]),
      ),
    );
  return parts.join("\n");
}

function daysText(days: number): string {
  return durationText(Math.round(days * 86_400_000));
}

function timeOf(written: string | undefined): string | undefined {
  if (written === undefined) return undefined;
  const instant = instantOf(written);
  if (instant === null) throw new Exit(EXIT.usage, `${written} is not a time: 2026-11-01 or 2026-11-01T12:00:00Z`);
  return instant;
}
