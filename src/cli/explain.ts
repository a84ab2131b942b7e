/** Pure. An audit record in words. */
import type { AuditRecord, BudgetLine } from "../call/record/audit-record.ts";
import { WIRE } from "../refusal.ts";
import { grouped, plain } from "./table.ts";

export function explain(record: AuditRecord): string[] {
  const parts =
    record.administrator === null || record.kind === "call"
      ? [
          what(record),
          who(record),
          decision(record),
          repeats(record),
          approval(record),
          ...inspections(record),
          shadow(record),
          ...record.budget.map(budget),
          usage(record),
          outcome(record),
        ]
      : [what(record), who(record), details(record)];
  // Names come from outside: no line may steer the terminal.
  return parts.filter((line) => line !== "").map(plain);
}

function what({ call_id, kind, target, request, server, time_start }: AuditRecord): string {
  const name = target === null ? (request?.method ?? "") : `${target.kind} ${target.name}`;
  const view = request?.view ?? null;
  const said = [name, server === null ? "" : `on ${server}`, view === null ? "" : `asked for at ${view}`]
    .filter((part) => part !== "")
    .join(" ");
  return `${call_id ?? kind}: ${[said, time_start].filter((part) => part !== "").join(", ")}`;
}

function who({ agent, actor_chain, administrator, token }: AuditRecord): string {
  if (agent === null) return administrator === null ? "By nobody that could be verified." : `By the administrator ${administrator}.`;
  const parts = [agent.team && `team ${agent.team}`, `customer ${agent.customer}`, `owner ${agent.owner}`].filter(Boolean).join(", ");
  const whose = `agent ${agent.name} (${agent.id}; ${parts})`;
  // A reservation: whoever does the work asks for the agent, which itself is not there.
  if (administrator !== null) return `By the administrator ${administrator}, for ${whose}.`;
  const behind = actor_chain.length > 0 ? `, through ${actor_chain.join(" through ")}` : "";
  return `By ${whose}${behind}, with a token of ${token?.issuer ?? "no issuer"}.`;
}

/** What an act says of itself, but for what stands elsewhere. */
export function details({ details: told }: Pick<AuditRecord, "details">, elsewhere: readonly string[] = []): string {
  const known = Object.entries(told ?? {}).filter(([key, value]) => value !== null && !elsewhere.includes(key));
  return known.map(([key, value]) => `${key} ${String(value)}`).join(", ");
}

function decision(record: AuditRecord): string {
  const rule = record.rule === null ? "" : ` by ${record.rule.name} (${record.rule.file}:${record.rule.line})`;
  if (record.decision === "permit" && record.reason === null) return `Permitted${rule}.`;
  const meaning = record.reason !== null && Object.hasOwn(WIRE, record.reason) ? WIRE[record.reason as keyof typeof WIRE].title : "";
  const note = record.note === null ? "" : ` (${record.note})`;
  // A refusal after a permit is not the permitting rule's: a budget, a credential, the server.
  const refused = record.entitlement_result === "permitted" ? `Permitted${rule}, then refused` : `Refused${rule}`;
  const verb = record.decision === "permit" ? `Permitted${rule}, then not delivered` : refused;
  return `${verb}: ${record.reason ?? "no reason recorded"}${meaning === "" ? "" : `: ${meaning}`}${note}.`;
}

/** Whose retry it was, by the key that its caller gave both. */
function repeats({ call_id, logical_call_id, reason, outcome: ended }: AuditRecord): string {
  const isRetry = ended === "replayed" || reason === "idempotency_settled" || reason === "idempotency_in_flight";
  if (!isRetry || logical_call_id === null || logical_call_id === call_id) return "";
  const heard = ended === "replayed" ? "and was answered with what that was answered with" : "which was not made again";
  return `It repeats ${logical_call_id}, ${heard}.`;
}

/** Whom it waits for, or what a person said. */
function approval({ approval: line }: AuditRecord): string {
  // Records from before there were any have no such member.
  if (line == null) return "";
  const { id, state, by, decided_at, reason } = line;
  if (state === "pending") return `It waits for the approval ${id}: tollgate approval list.`;
  return `${by ?? "nobody"} ${state} it (${id}, ${decided_at ?? "at an unknown time"}): ${reason ?? "no reason recorded"}.`;
}

function inspections({ inspections: lines }: AuditRecord): string[] {
  return (lines ?? []).map(({ inspector, of, verdict, code, duration_ms }) => {
    const said = { allow: "allowed", refuse: "refused", failed: "gave no verdict on" }[verdict];
    return `Guard ${inspector} ${said} the ${of}${code === null ? "" : ` (${code})`}, after ${duration_ms} ms.`;
  });
}

/** What policies that are only tried would have said. */
function shadow({ shadow: verdict }: AuditRecord): string {
  // Records from before there were any have no such member.
  if (verdict == null) return "";
  const by = verdict.rule === null ? "" : ` by ${verdict.rule.name} (${verdict.rule.file}:${verdict.rule.line})`;
  const tried = verdict.mode === "observe" ? "Policies are only observed. Enforced, this would be" : "With the shadow rules this would be";
  // Which budget or limit it is stands in the note alone.
  const note = verdict.note === null ? "" : ` (${verdict.note})`;
  return `${tried} ${verdict.decision === "permit" ? `permitted${by}` : `refused${by}: ${verdict.reason ?? ""}${note}`}.`;
}

function budget(line: BudgetLine): string {
  const scope = line.scope === "" ? "" : ` for ${line.scope}`;
  const debt = line.debt > 0 ? `, ${grouped(line.debt)} as debt` : "";
  return `Budget ${line.budget}${scope}: held ${grouped(line.held)} ${line.meter}, posted ${grouped(line.posted)}${debt}.`;
}

const UNSENT: ReadonlySet<string> = new Set(["not_sent", "refused"]);

function usage({ usage: used, settlement, prices_version, outcome: ended }: AuditRecord): string {
  if (settlement === null) return "Nothing was charged.";
  if (settlement === "voided")
    return ended === null || UNSENT.has(ended) ? "Nothing was sent upstream and nothing was charged." : "Nothing was charged.";
  if (settlement === "unknown") return "Its fate after sending is unknown: the held amounts are charged, marked provisional.";
  if (used === null) return "";
  const [currency = ""] = (prices_version ?? "").split(" ");
  const cost = used.cost_micros === undefined ? "" : `, ${grouped(used.cost_micros)} millionths of ${currency}`;
  return `Charged: ${used.calls} call, ${grouped(used.tool_tokens)} tool tokens${cost}.`;
}

function outcome(record: AuditRecord): string {
  if (record.outcome === null || record.outcome === "refused") return "";
  const status = record.upstream?.status == null ? "" : `, HTTP ${record.upstream.status}`;
  return `Outcome: ${record.outcome}${status}, after ${record.duration_ms} ms.`;
}
