/** Pure. The canonical texts of an audit record and of a usage event. */
import type { AuditRecord, BudgetLine, Digest } from "./audit-record.ts";
import { canonicalJson } from "./canonical.ts";
import { flag, listOf, membersOf, nothing, number, objectOf, orNull, remembered, text, type Writes } from "./canonical-shape.ts";
import type { UsageEvent } from "./usage-event.ts";

type Nullable<Name extends keyof AuditRecord> = NonNullable<AuditRecord[Name]>;

const digest = objectOf<Digest>({ hmac: text, bytes: number });
const agent = objectOf<Nullable<"agent">>({
  id: text,
  name: text,
  kind: text,
  instance: text,
  client_id: text,
  customer: text,
  team: text,
  workflow: text,
  owner: text,
  purpose: text,
  risk_class: text,
});
const request = objectOf<Nullable<"request">>({
  http_method: text,
  method: text,
  era: text,
  revision: text,
  id: text,
  user_agent: text,
});
const budgetLine = objectOf<BudgetLine>({
  budget: text,
  scope: text,
  meter: text,
  window_start: text,
  window_end: text,
  held: number,
  posted: number,
  debt: number,
});

const RECORD: Writes<AuditRecord> = {
  schema_version: text,
  kind: text,
  call_id: text,
  logical_call_id: text,
  time_start: text,
  time_end: text,
  duration_ms: number,
  agent: orNull(remembered(agent)),
  subject: text,
  actor_chain: listOf(text),
  token: orNull(remembered(objectOf<Nullable<"token">>({ issuer: text, id: text }))),
  administrator: text,
  request: orNull(request),
  server: text,
  server_version: text,
  target: orNull(objectOf<Nullable<"target">>({ kind: text, name: text })),
  definition: text,
  arguments: orNull(digest),
  result: orNull(digest),
  decision: text,
  reason: text,
  note: text,
  rule: orNull(remembered(objectOf<Nullable<"rule">>({ name: text, file: text, line: number }))),
  condition_faults: listOf(text),
  policy_version: text,
  config_version: text,
  entitlement_result: text,
  licence_result: text,
  budget: listOf(budgetLine),
  settlement: text,
  usage: orNull(objectOf<Nullable<"usage">>({ calls: number, tool_tokens: number })),
  token_count: orNull(objectOf<Nullable<"token_count">>({ source: text, encoding: text, counter: text })),
  prices_version: text,
  outcome: text,
  upstream: orNull(objectOf<Nullable<"upstream">>({ status: number, credential: text, bytes_in: number, bytes_out: number })),
  environment: text,
  region: text,
  rate: number,
  approval: nothing,
  oversight: nothing,
  incident: nothing,
  posture: nothing,
  remediation: nothing,
  model: nothing,
  details: canonicalJson,
};

/** The writers whose names stand between two others. */
function between<T>(from: string, writes: Partial<Writes<T>>, to: string): Partial<Writes<T>> {
  return Object.fromEntries(Object.entries(writes).filter(([name]) => from < name && name < to)) as Partial<Writes<T>>;
}

const END = "~";
const beforeSequence = membersOf<AuditRecord>(between("", RECORD, "sequence"));
const beforeSource = membersOf<AuditRecord>(between("sequence", RECORD, "source"));
const afterSource = membersOf<AuditRecord>(between("source", RECORD, END));

/** In two pieces: the journal puts `"sequence":N` between them. */
export type RecordText = { readonly before: string; readonly after: string };

export function recordText(record: AuditRecord, source: string, usageEvent: string | null): RecordText {
  return {
    before: `{${beforeSequence(record)}`,
    after: `${beforeSource(record)},"source":${text(source)},${afterSource(record)},"usage_event":${text(usageEvent)}}`,
  };
}

const setMembers = membersOf<AuditRecord>(RECORD, true);

/** Only the members that are set: read back by recovery alone, and a third shorter on its way to the disk. */
export function permitText(record: AuditRecord): string {
  return `{${setMembers(record)}}`;
}

type Data = UsageEvent["data"];

/** What many events have in common. */
const ATTRIBUTES: Writes<Omit<Data, "call_id" | "logical_call_id" | "quantity">> = {
  agent_id: text,
  agent: text,
  instance: text,
  team: text,
  workflow: text,
  server: text,
  target_kind: text,
  tool: text,
  definition: text,
  outcome: text,
  provisional: flag,
  token_source: text,
  token_encoding: text,
  token_counter: text,
  definition_version: text,
  environment: text,
  region: text,
  use: listOf(text),
};

const ofAgent = membersOf<Data>(between("", ATTRIBUTES, "call_id"));
const ofDefinition = membersOf<Data>(between("call_id", ATTRIBUTES, "logical_call_id"));
const ofOutcome = membersOf<Data>(between("logical_call_id", ATTRIBUTES, "quantity"));
const ofTool = membersOf<Data>(between("quantity", ATTRIBUTES, END));
const quantity = objectOf<Data["quantity"]>({
  calls: number,
  tool_tokens: number,
  input_tokens: number,
  output_tokens: number,
  bytes_in: number,
  bytes_out: number,
  duration_ms: number,
});

/** `event` is the whole of it; `attributes` is what it shares, with the customer's name among it. */
export type EventText = { readonly event: string; readonly attributes: string };

export function eventText({ id, type, time, subject, data }: UsageEvent): EventText {
  const agent = ofAgent(data);
  const definition = ofDefinition(data);
  const outcome = ofOutcome(data);
  const tool = ofTool(data);
  const calls = `"call_id":${text(data.call_id)}`;
  const logical = `"logical_call_id":${text(data.logical_call_id)}`;
  const counted = `"quantity":${quantity(data.quantity)}`;
  const written = `{${agent},${calls},${definition},${logical},${outcome},${counted},${tool}}`;
  return {
    event: `{"data":${written},"id":${text(id)},"subject":${text(subject)},"time":${text(time)},"type":${text(type)}}`,
    attributes: `{${agent},"customer":${text(subject)},${definition},${outcome},${tool}}`,
  };
}
