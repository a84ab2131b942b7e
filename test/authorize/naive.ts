/** What a policy means, read from its files rule by rule: no index, no cache, no order of evaluation worth a thought. Only CEL is compiled. */
import type { Agent } from "../../src/call/authenticate/agent.ts";
import { readArguments } from "../../src/call/authorize/call-arguments.ts";
import type { Asked } from "../../src/call/authorize/circumstances.ts";
import { type Condition, compileCondition } from "../../src/call/authorize/condition.ts";
import type { EntitlementFile, PolicyFile } from "../../src/call/authorize/policy-file.ts";
import { asciiUri, isPlainUri } from "../../src/call/authorize/resource-uri.ts";
import type { Reason } from "../../src/refusal.ts";

export type World = { readonly files: readonly PolicyFile[]; readonly servers: readonly string[] };
/** `rule` is the one that is recorded: who permits, who forbids, or whose demand is not met. */
export type Judgement = { readonly reason: Reason | null; readonly rule: string | null };

export function judge({ files, servers }: World, agent: Agent, asked: Asked, nowMs: number): Judgement {
  const { server, course, method, body, argumentsSpan } = asked;
  const rules = files
    .flatMap(({ entitlements }) => entitlements.filter((rule) => rule !== null))
    .filter(({ who, shadow }) => isAbout(who ?? {}, agent) && !shadow)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const account = (kind: string) => agent.profile.account.tools?.map(partsOf).filter((part) => part.kind === kind) ?? null;
  const counts = ({ from, until }: EntitlementFile) =>
    nowMs >= (from === undefined ? -Infinity : Date.parse(from)) && nowMs < (until === undefined ? Infinity : Date.parse(until));
  const always = ({ from, until, when }: EntitlementFile) => [from, until, when].every((bound) => bound === undefined);
  const reach = rules.filter(counts).find(({ permit = [] }) =>
    permit.map(partsOf).some(({ kind, server: where, name }) => {
      const taken = rules.some((rule) => always(rule) && rule.forbid?.some((written) => matches(written, kind, server, name)));
      return matchesText(where, server) && !taken && account(kind)?.some((part) => matchesText(part.server, server)) !== false;
    }),
  );
  if (reach === undefined || !servers.includes(server)) return { reason: "server_unknown", rule: null };
  if (!["metered", "other", "list"].includes(course)) return { reason: null, rule: reach.name };

  const holds = ({ when }: EntitlementFile, name: string, listing: boolean): boolean | null => {
    if (when === undefined) return true;
    const { id, name: called, kind, customer, team, workflow, owner, purpose, riskClass } = agent.profile;
    const { instance, roles, subject } = agent;
    const who = { id, name: called, kind, customer, team, workflow, owner, purpose, riskClass, instance, roles };
    const args = () =>
      listing ? null : argumentsOf(argumentsSpan === null ? Buffer.from("{}") : body.subarray(argumentsSpan.start, argumentsSpan.end));
    return conditionOf(when).holds({
      agent: new Map(Object.entries(who)),
      subject,
      customer,
      server,
      region: "",
      tool: name,
      claims: () => null,
      now: new Date(nowMs),
      args,
    });
  };
  /** Without the arguments: by whom a target is hidden, and which rules are about it. */
  const look = (kind: string, name: string, listing: boolean) => {
    const isTarget = (kind !== "tool" || /^[\w./-]{1,128}$/.test(name)) && (kind !== "resource" || isPlainUri(name));
    const covered =
      account(kind)?.some((part) => matchesText(part.server, server) && matchesText(part.name, spelled(kind, name))) !== false;
    const about = rules
      .filter(counts)
      .filter(({ permit, forbid }) => isTarget && (permit ?? forbid)?.some((written) => matches(written, kind, server, name)));
    const forbids = about.filter((rule) => rule.forbid !== undefined);
    const permits = about.filter((rule) => rule.permit !== undefined && covered);
    const hiding = forbids.find((rule) => !onArguments(rule) && holds(rule, name, listing) !== false);
    const left = permits.filter((rule) => onArguments(rule) || holds(rule, name, listing) === true);
    const named = [...permits, ...forbids].some((rule) => rule.disclosure === "named");
    return { forbids, permits: left, named, hidden: hiding !== undefined || left.length === 0, hiding: hiding?.name ?? null };
  };

  const target = asked.target ?? { kind: "method", name: method ?? "" };
  const { forbids, permits, named, hidden, hiding } = look(target.kind, target.name, false);
  const forbid = forbids.find((rule) => holds(rule, target.name, false) !== false);
  if (target.kind === "method" && FREE.includes(target.name)) {
    if (forbid !== undefined) return { reason: "method_unknown", rule: forbid.name };
    const uris =
      target.name === "subscriptions/listen" ? (JSON.parse(body.toString()).params?.notifications?.resourceSubscriptions ?? []) : [];
    const closed = (uris as string[]).map((uri) => look("resource", uri, true)).find((resource) => resource.hidden);
    return closed === undefined ? { reason: null, rule: reach.name } : { reason: "tool_unknown", rule: closed.hiding };
  }
  if (hidden) return { reason: named ? "entitlement_denied" : target.kind === "method" ? "method_unknown" : "tool_unknown", rule: hiding };
  if (forbid !== undefined) return { reason: "arguments_denied", rule: forbid.name };
  const lacks = ({ requires = [] }: EntitlementFile) => requires.filter((scope) => scope !== "mcp" && !agent.scopes.has(scope)).length;
  const asks = (rule: EntitlementFile) => lacks(rule) + (rule.approval === undefined ? 0 : 1_000_000);
  const [best] = permits.filter((rule) => holds(rule, target.name, false) === true).sort((a, b) => asks(a) - asks(b));
  if (best === undefined) return { reason: "arguments_denied", rule: permits[0]?.name ?? null };
  if (lacks(best) > 0) return { reason: "scope_insufficient", rule: best.name };
  return { reason: best.approval === undefined ? null : "approval_required", rule: best.name };
}

const FREE = [
  ...["initialize", "server/discover", "ping", "logging/setLevel", "subscriptions/listen"],
  ...["tools/list", "prompts/list", "resources/list", "resources/templates/list", "tasks/list"],
];

function isAbout(who: NonNullable<EntitlementFile["who"]>, { profile, instance, subject, roles }: Agent): boolean {
  const { team, workflow, customer, kind } = profile;
  const values = { agent: [profile.id, profile.name], team, workflow, customer, kind, instance, subject, role: roles };
  return Object.entries(who).every(([key, written]) =>
    [values[key as keyof typeof values] ?? []]
      .flat()
      .some((value) => [written ?? []].flat().some((pattern) => matchesText(pattern, value))),
  );
}

function partsOf(written: string): { kind: string; server: string; name: string } {
  const [, kind = "tool", server = "", name = ""] = /^(?:(\w+):)?([^/]*)\/(.*)$/s.exec(written) ?? [];
  return { kind, server, name: spelled(kind, name) };
}

const spelled = (kind: string, name: string): string => (kind === "resource" ? asciiUri(name) : name);

function matches(written: string, kind: string, server: string, name: string): boolean {
  const pattern = partsOf(written);
  return pattern.kind === kind && matchesText(pattern.server, server) && matchesText(pattern.name, spelled(kind, name));
}

/** Letter by letter; a star takes nothing, or one letter and tries again. */
export function matchesText(pattern: string, text: string, p = 0, t = 0): boolean {
  if (p === pattern.length) return t === text.length;
  if (pattern[p] === "*") return matchesText(pattern, text, p + 1, t) || (t < text.length && matchesText(pattern, text, p, t + 1));
  return t < text.length && pattern[p] === text[t] && matchesText(pattern, text, p + 1, t + 1);
}

const compiled = new Map<string, Condition>();

function conditionOf(when: string): Condition {
  const condition = compiled.get(when) ?? compileCondition(when);
  if (!("holds" in condition)) throw new Error(condition.message);
  compiled.set(when, condition);
  return condition;
}

const onArguments = ({ when }: EntitlementFile): boolean => when !== undefined && conditionOf(when).readsArguments;

function argumentsOf(bytes: Buffer): ReturnType<typeof readArguments> | null {
  try {
    return readArguments(bytes);
  } catch {
    return null;
  }
}
