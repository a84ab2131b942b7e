/** Pure. The canonical (RFC 8785) texts of an audit record and of a usage event, written straight down in the order of their names. */
import type { AuditRecord, BudgetLine, Digest } from "./audit-record.ts";
import { canonicalJson, quoted } from "./canonical.ts";
import type { UsageEvent } from "./usage-event.ts";

// `canonicalJson` asks each value what it is and sorts its names: 9 us a record, this takes 2. A property test holds the two equal,
// so that no member is forgotten or out of place.

/** In two pieces: the journal puts `"sequence":N` between them. */
export type RecordText = { readonly before: string; readonly after: string };

export function recordText(record: AuditRecord, source: string, usageEvent: string | null): RecordText {
  const r = record;
  return {
    before:
      `{"actor_chain":${texts(r.actor_chain)},"administrator":${text(r.administrator)},"agent":${orNull(r.agent, agentText)},` +
      `"approval":${orNull(r.approval, approval)},"arguments":${orNull(r.arguments, digest)},"budget":${list(r.budget, budgetLine)},` +
      `"call_id":${text(r.call_id)},"condition_faults":${texts(r.condition_faults)},"config_version":${text(r.config_version)},` +
      `"decision":${text(r.decision)},"definition":${text(r.definition)},"details":${orNull(r.details, canonicalJson)},` +
      `"duration_ms":${number(r.duration_ms)},"entitlement_result":${text(r.entitlement_result)},` +
      `"environment":${text(r.environment)},"incident":${unset(r.incident)},"inspections":${list(r.inspections, inspection)},"kind":${text(r.kind)},"licence_result":${text(r.licence_result)},` +
      `"logical_call_id":${text(r.logical_call_id)},"model":${unset(r.model)},"note":${text(r.note)},"outcome":${text(r.outcome)},` +
      `"oversight":${unset(r.oversight)},"policy_version":${text(r.policy_version)},"posture":${unset(r.posture)},"prices_version":${text(r.prices_version)},` +
      `"rate":${number(r.rate)},"reason":${text(r.reason)},"region":${text(r.region)},"remediation":${unset(r.remediation)},` +
      `"request":${orNull(r.request, request)},"result":${orNull(r.result, digest)},"rule":${orNull(r.rule, ruleText)},` +
      `"schema_version":${text(r.schema_version)}`,
    after:
      `"server":${text(r.server)},"server_version":${text(r.server_version)},"settlement":${text(r.settlement)},` +
      `"shadow":${orNull(r.shadow, shadow)},` +
      `"source":${text(source)},"subject":${text(r.subject)},"target":${orNull(r.target, target)},` +
      `"time_end":${text(r.time_end)},"time_start":${text(r.time_start)},"token":${orNull(r.token, tokenText)},` +
      `"token_count":${orNull(r.token_count, tokenCount)},"upstream":${orNull(r.upstream, upstream)},` +
      `"usage":${orNull(r.usage, usage)},"usage_event":${text(usageEvent)}}`,
  };
}

type Nullable<Name extends keyof AuditRecord> = NonNullable<AuditRecord[Name]>;

const agentText = remembered<Nullable<"agent">>(
  (a) =>
    `{"client_id":${text(a.client_id)},"customer":${text(a.customer)},"id":${text(a.id)},"instance":${text(a.instance)},` +
    `"kind":${text(a.kind)},"name":${text(a.name)},"owner":${text(a.owner)},"purpose":${text(a.purpose)},` +
    `"risk_class":${text(a.risk_class)},"team":${text(a.team)},"workflow":${text(a.workflow)}}`,
);
const tokenText = remembered<Nullable<"token">>(({ id, issuer }) => `{"id":${text(id)},"issuer":${text(issuer)}}`);
const ruleText = remembered<Nullable<"rule">>(
  ({ file, line, name }) => `{"file":${text(file)},"line":${number(line)},"name":${text(name)}}`,
);

function budgetLine(line: BudgetLine): string {
  return (
    `{"budget":${text(line.budget)},"debt":${number(line.debt)},"held":${number(line.held)},"meter":${text(line.meter)},` +
    `"posted":${number(line.posted)},"scope":${text(line.scope)},"window_end":${text(line.window_end)},` +
    `"window_start":${text(line.window_start)}}`
  );
}

function request(r: Nullable<"request">): string {
  return (
    `{"era":${text(r.era)},"http_method":${text(r.http_method)},"id":${text(r.id)},"method":${text(r.method)},` +
    `"revision":${text(r.revision)},"user_agent":${text(r.user_agent)},"view":${text(r.view)}}`
  );
}

function digest({ bytes, hmac }: Digest): string {
  return `{"bytes":${number(bytes)},"hmac":${text(hmac)}}`;
}

function target({ kind, name }: Nullable<"target">): string {
  return `{"kind":${text(kind)},"name":${text(name)}}`;
}

function shadow({ decision, mode, note, reason, rule }: Nullable<"shadow">): string {
  return `{"decision":${text(decision)},"mode":${text(mode)},"note":${text(note)},"reason":${text(reason)},"rule":${orNull(rule, ruleText)}}`;
}

function approval({ by, decided_at, id, reason, state }: Nullable<"approval">): string {
  return `{"by":${text(by)},"decided_at":${text(decided_at)},"id":${text(id)},"reason":${text(reason)},"state":${text(state)}}`;
}

function inspection({ code, digest: sha256, duration_ms, inspector, of, verdict }: AuditRecord["inspections"][number]): string {
  return (
    `{"code":${text(code)},"digest":${text(sha256)},"duration_ms":${number(duration_ms)},"inspector":${text(inspector)},` +
    `"of":${text(of)},"verdict":${text(verdict)}}`
  );
}

function tokenCount({ counter, encoding, source }: Nullable<"token_count">): string {
  return `{"counter":${text(counter)},"encoding":${text(encoding)},"source":${text(source)}}`;
}

function upstream(u: Nullable<"upstream">): string {
  return `{"bytes_in":${number(u.bytes_in)},"bytes_out":${number(u.bytes_out)},"credential":${text(u.credential)},"duration_ms":${number(u.duration_ms)},"status":${number(u.status)}}`;
}

function usage({ calls, cost_micros, tool_tokens }: Nullable<"usage">): string {
  return `{"calls":${number(calls)},${cost(cost_micros)}"tool_tokens":${number(tool_tokens)}}`;
}

function cost(micros: number | undefined): string {
  return micros === undefined ? "" : `"cost_micros":${number(micros)},`;
}

/** `event` is the whole of it; `attributes` is what it shares with many others, with the customer's name among it. */
export type EventText = { readonly event: string; readonly attributes: string };

export function eventText({ id, type, time, subject, data }: UsageEvent): EventText {
  const d = data;
  const agent = `"agent":${text(d.agent)},"agent_id":${text(d.agent_id)}`;
  const middle =
    `"definition":${text(d.definition)},"definition_digest":${text(d.definition_digest)},"definition_version":${text(d.definition_version)},"environment":${text(d.environment)},` +
    `"instance":${text(d.instance)}`;
  const outcome = `"outcome":${text(d.outcome)},"provisional":${d.provisional}`;
  const end =
    `"region":${text(d.region)},"server":${text(d.server)},"target_kind":${text(d.target_kind)},"team":${text(d.team)},` +
    `"token_counter":${text(d.token_counter)},"token_encoding":${text(d.token_encoding)},"token_source":${text(d.token_source)},` +
    `"tool":${text(d.tool)},"use":${texts(d.use)},"workflow":${text(d.workflow)}}`;
  const customer = text(subject);
  return {
    event:
      `{"data":{${agent},"call_id":${text(d.call_id)},${middle},"logical_call_id":${text(d.logical_call_id)},${outcome},` +
      `"quantity":${quantity(d.quantity)},${end},"id":${text(id)},"subject":${customer},"time":${text(time)},"type":${text(type)}}`,
    attributes: `{${agent},"customer":${customer},${middle},${outcome},${end}`,
  };
}

function quantity(q: UsageEvent["data"]["quantity"]): string {
  return (
    `{"bytes_in":${number(q.bytes_in)},"bytes_out":${number(q.bytes_out)},"calls":${number(q.calls)},${cost(q.cost_micros)}` +
    `"duration_ms":${number(q.duration_ms)},"input_tokens":${number(q.input_tokens)},${further("outcomes", q.outcomes)}` +
    `"output_tokens":${number(q.output_tokens)},${further("outputs", q.outputs)}` +
    `"tool_tokens":${number(q.tool_tokens)}}`
  );
}

function further(name: string, amounts: object | undefined): string {
  return amounts === undefined ? "" : `"${name}":${canonicalJson(amounts)},`;
}

function text(value: string | null): string {
  return value === null ? "null" : quoted(value);
}

/** Of members that nothing fills so far; one that is filled does not compile. */
function unset(_: null): string {
  return "null";
}

/** `canonicalJson` throws for what is not finite. */
function number(value: number | null): string {
  return Number.isFinite(value) ? `${value}` : canonicalJson(value);
}

function orNull<T>(value: T | null, write: (value: T) => string): string {
  return value === null ? "null" : write(value);
}

function list<T>(values: readonly T[], write: (value: T) => string): string {
  let written = "";
  for (const value of values) written += written === "" ? write(value) : `,${write(value)}`;
  return `[${written}]`;
}

function texts(values: readonly string[]): string {
  return values.length === 0 ? "[]" : list(values, quoted);
}

/** For objects that are the same from call to call and never change: written once, then known by their identity. */
function remembered<T extends object>(write: (value: T) => string): (value: T) => string {
  const known = new WeakMap<T, string>();
  return (value) => {
    const before = known.get(value);
    if (before !== undefined) return before;
    const written = write(value);
    known.set(value, written);
    return written;
  };
}
