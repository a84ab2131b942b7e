/** Pure. From the story of a call to its audit record and its usage event. */

import type { McpRequest } from "../accept/request.ts";
import type { Agent } from "../authenticate/agent.ts";
import type { HoldLine, Reservation, Settlement } from "../budget/reservation.ts";
import type { AuditRecord, Digest, RecordKind } from "./audit-record.ts";
import { type Billed, usageEventOf } from "./billed.ts";
import { heldLine, instant, settledLine } from "./budget-line.ts";
import { furtherHeld, heldOn } from "./held-usage.ts";
import type { Notice, PermitEntry, SettlementEntry } from "./journal.ts";
import type { Measures } from "./measures.ts";
import { endingOf, type KeptAnswer } from "./retry-key.ts";
import { rfc3339 } from "./rfc3339.ts";
import type { Story } from "./story.ts";
import { TOKEN_COUNTER, TOKEN_ENCODING } from "./token-count.ts";

/** What the composer cannot know by itself: the time, the keys of the digests and the version of the configuration. */
export type Scribe = {
  readonly now: () => number;
  readonly mono: () => number;
  readonly configVersion: () => string;
  /** Of the price table; null where there is none. */
  readonly pricesVersion: () => string | null;
  /** Where a server runs, as the configuration has it; null where it says nothing. */
  readonly regionOf: (server: string) => string | null;
  /** Calls of its agent in the minute up to this one; null where nobody counts them. */
  readonly rateOf: (callId: string) => number | null;
  /** HMAC under the key of the agent's subject, or else of its customer. */
  readonly digest: (agent: Agent, bytes: Uint8Array) => Digest;
  /** Hides an answer that is kept for whoever brings the same key again. */
  readonly sealAnswer: (key: string, answer: KeptAnswer) => string;
};

export function auditOfCall(story: Story, scribe: Scribe, kind: RecordKind = "call"): AuditRecord {
  const { opening, request, agent, permit, outcome, settlement } = story;
  const endMs = scribe.now();
  const server = (request?.server ?? opening.server) || null;
  return {
    ...BLANK,
    kind,
    call_id: opening.callId,
    logical_call_id: story.round.logicalCallId,
    time_start: rfc3339(opening.receivedAtMs),
    time_end: rfc3339(endMs),
    // The same number on the budget, in the record and on the bill.
    duration_ms: story.usage?.duration_ms ?? Math.max(0, Math.round(scribe.mono() - opening.receivedMonoMs)),
    agent: agent === null ? null : membersOf(agent).agent,
    subject: story.subjectDigest?.hmac ?? null,
    actor_chain: agent?.actors ?? [],
    token: agent === null ? null : membersOf(agent).token,
    request: {
      http_method: opening.httpMethod,
      method: opening.method,
      era: opening.era ?? "unknown",
      revision: opening.revision,
      id: opening.idText,
      user_agent: opening.userAgent,
      view: request?.view ?? null,
    },
    server,
    region: server === null ? null : scribe.regionOf(server),
    server_version: outcome?.serverVersion ?? null,
    target: request?.target ?? null,
    definition: story.definition === null ? null : `sha256:${story.definition}`,
    arguments: story.argumentsDigest,
    result: story.resultDigest,
    decision: permit === null ? "refuse" : story.refusal !== null && outcome === null ? "refuse" : "permit",
    reason: story.refusal?.refused ?? null,
    note: story.refusal?.note ?? story.measures?.note ?? story.note,
    rule: permit?.rule ?? story.refusal?.rule ?? null,
    approval: story.approval,
    inspections: story.inspections,
    condition_faults: permit?.conditionFaults ?? [],
    policy_version: story.judged?.policyVersion ?? permit?.policyVersion ?? null,
    config_version: scribe.configVersion(),
    entitlement_result: permit === null ? (agent === null ? null : "refused") : "permitted",
    budget: settlement !== null ? settlement.lines.map(settledLine) : (story.reservation?.lines.map(heldLine) ?? []),
    settlement: settlement?.state ?? null,
    shadow: story.judged?.shadow ?? null,
    usage: story.usage === null ? null : billedUsage(story),
    token_count: story.tokenCount === null ? null : { source: story.tokenCount.source, encoding: TOKEN_ENCODING, counter: TOKEN_COUNTER },
    prices_version: scribe.pricesVersion(),
    outcome: story.fault ? "fault" : (outcome?.kind ?? (story.refusal === null ? null : "refused")),
    upstream:
      outcome === null
        ? null
        : {
            status: outcome.status,
            credential: story.issued?.kind ?? "none",
            bytes_in: outcome.bytesIn,
            bytes_out: outcome.sent ? (request?.body.length ?? 0) : 0,
            duration_ms: Math.max(0, Math.round(outcome.upstreamMs)),
          },
    environment: agent?.environment ?? "live",
    rate: scribe.rateOf(opening.callId),
  };
}

/** Only for what was sent: a refused or unsent call is never billed. */
function billedOf(story: Story, time: string): Billed {
  const { request, outcome, settlement, tokenCount, measures } = story;
  const provisional = settlement === null || settlement.state === "unknown";
  const held = provisional || settlement.withheld !== null;
  return {
    ...billedTarget(story),
    time,
    outcome: outcome?.kind ?? "unknown",
    provisional,
    token_source: held ? "held" : (tokenCount?.source ?? "estimated"),
    quantity: {
      ...billedUsage(story),
      input_tokens: held ? 0 : (tokenCount?.input ?? 0),
      output_tokens: held ? 0 : (tokenCount?.output ?? 0),
      bytes_in: outcome?.bytesIn ?? 0,
      bytes_out: request?.body.length ?? 0,
      // What a guard keeps here has brought nothing about for whoever asked.
      ...furtherOf(held ? furtherHeld(story) : measures === null || outcome?.refusal !== null ? NOTHING_FURTHER : measures),
    },
  };
}

function furtherOf({ outcomes, outputs }: Pick<Measures, "outcomes" | "outputs">): Pick<Billed["quantity"], "outcomes" | "outputs"> {
  return {
    ...(Object.keys(outcomes).length === 0 ? {} : { outcomes }),
    ...(Object.keys(outputs).length === 0 ? {} : { outputs }),
  };
}

/** What a task came to is billed as the tool that was called. */
function billedTarget({ round, request }: Story): Pick<Billed, "target_kind" | "tool"> {
  const target = round.task?.target ?? request?.target;
  return { target_kind: target?.kind ?? "method", tool: target?.name ?? request?.method ?? "" };
}

/** What the ledger posts: the truth, or the hold where the fate is unknown or the result was withheld. */
function billedUsage(story: Story): BilledUsage {
  const { usage, settlement, round } = story;
  if (usage !== null && settlement?.withheld == null) return billed(usage.calls, usage.tool_tokens, usage.cost_micros);
  return billed(round.calls, heldOn(story, "tool_tokens") ?? 0, heldOn(story, "cost_micros"));
}

const NOTHING_FURTHER = { outcomes: {}, outputs: {} };

type BilledUsage = NonNullable<AuditRecord["usage"]>;

/** What has no price has no cost, which is not the same as 0. */
function billed(calls: number, tool_tokens: number, cost_micros: number | undefined): BilledUsage {
  return cost_micros === undefined ? { calls, tool_tokens } : { calls, tool_tokens, cost_micros };
}

/** What becomes durable before the first upstream byte. */
export function permitOf(story: Story, { callId, receivedAtMs, body }: McpRequest, { lines }: Reservation, scribe: Scribe): PermitEntry {
  const usage = { ...billedTarget(story), ...billedUsage(story), ...furtherOf(furtherHeld(story)), bytes_out: body.length };
  const key = story.retry === null ? {} : { key: story.retry };
  return { callId, atMs: receivedAtMs, lines, audit: auditOfCall(story, scribe), usage, ...key };
}

/** What becomes durable before the last piece of the answer. */
export function settlementOf(story: Story, { callId }: McpRequest, settlement: Settlement, scribe: Scribe): SettlementEntry {
  const { state, lines } = settlement;
  const audit = auditOfCall(story, scribe);
  const usage = state === "voided" ? null : usageEventOf(audit, billedOf(story, audit.time_end));
  const notices = lines.flatMap(({ line, crossed, spent }) => crossed.map((percent) => noticeOf(line, percent, spent, scribe)));
  const key = endingOf(story, settlement, scribe.sealAnswer);
  return { callId, atMs: scribe.now(), state, lines, audit, usage, notices, ...(key === undefined ? {} : { key }) };
}

/** Percent 0: the first call that was refused. Of a rolling window one is told for each length of it that goes by. */
export function noticeOf(
  line: Omit<HoldLine, "amount">,
  percent: number,
  spent: number,
  scribe: Pick<Scribe, "now" | "configVersion">,
): Notice {
  const { budget, scope, meter, limit, hard } = line.draw;
  const window = { window_start: instant(line.windowStartMs), window_end: line.windowEndMs === null ? null : instant(line.windowEndMs) };
  const kind = percent === 0 ? "budget.exhausted" : "budget.threshold";
  const details = { budget, scope, meter, limit, hard, spent, ...(percent === 0 ? {} : { percent }), ...window };
  return { budget, scope, windowStartMs: lengthStartMs(line), percent, record: auditOfAct(kind, "gateway", details, scribe) };
}

/** Of a rolling window: the start of the stretch of the clock, as long as it, in which the slot lies. */
export function lengthStartMs({ draw: { period, rollingMs }, windowStartMs }: Omit<HoldLine, "amount">): number {
  return period === "rolling" ? Math.floor(windowStartMs / rollingMs) * rollingMs : windowStartMs;
}

/** A record of something that is not a call: who administered what, and its facts. */
export function auditOfAct(
  kind: RecordKind,
  administrator: string,
  details: AuditRecord["details"],
  scribe: Pick<Scribe, "now" | "configVersion">,
): AuditRecord {
  const at = rfc3339(scribe.now());
  return { ...blankRecord(kind), time_start: at, time_end: at, administrator, config_version: scribe.configVersion(), details };
}

export function blankRecord(kind: RecordKind): AuditRecord {
  return { ...BLANK, kind };
}

type AgentMembers = { readonly agent: NonNullable<AuditRecord["agent"]>; readonly token: NonNullable<AuditRecord["token"]> };

/** An agent lives as long as its verified token: the same objects stand in all its records, and their text is known by identity. */
const known = new WeakMap<Agent, AgentMembers>();

function membersOf(agent: Agent): AgentMembers {
  const before = known.get(agent);
  if (before !== undefined) return before;
  const members = { agent: agentMembers(agent), token: { issuer: agent.issuer, id: agent.tokenId } };
  known.set(agent, members);
  return members;
}

function agentMembers({ profile, instance, clientId }: Agent): AgentMembers["agent"] {
  return {
    id: profile.id,
    name: profile.name,
    kind: profile.kind,
    instance,
    client_id: clientId,
    customer: profile.customer,
    team: profile.team,
    workflow: profile.workflow,
    owner: profile.owner,
    purpose: profile.purpose,
    risk_class: profile.riskClass,
  };
}

const BLANK: AuditRecord = {
  schema_version: "1",
  kind: "call",
  call_id: null,
  logical_call_id: null,
  time_start: "",
  time_end: "",
  duration_ms: 0,
  agent: null,
  subject: null,
  actor_chain: [],
  token: null,
  administrator: null,
  request: null,
  server: null,
  server_version: null,
  target: null,
  definition: null,
  arguments: null,
  result: null,
  decision: null,
  reason: null,
  note: null,
  rule: null,
  condition_faults: [],
  policy_version: null,
  config_version: null,
  entitlement_result: null,
  licence_result: null,
  budget: [],
  settlement: null,
  shadow: null,
  usage: null,
  token_count: null,
  prices_version: null,
  outcome: null,
  upstream: null,
  environment: "live",
  region: null,
  rate: null,
  approval: null,
  inspections: [],
  oversight: null,
  incident: null,
  posture: null,
  remediation: null,
  model: null,
  details: null,
};
