/** Pure. Recorded calls judged by a proposed set of policies, as of their own time: what would be decided otherwise, and what cannot be known. */
import { courseOf } from "./call/accept/methods.ts";
import type { Target } from "./call/accept/request.ts";
import type { AgentKind, RiskClass } from "./call/authenticate/agent.ts";
import type { PolicySet } from "./call/authorize/candidates.ts";
import type { Asked } from "./call/authorize/circumstances.ts";
import { decidePartly, type Evidence, type PartlyAsked, type PartlyDecided } from "./call/authorize/partly-known.ts";
import { writtenAs } from "./call/authorize/pattern.ts";
import type { CallGroup } from "./call/record/history.ts";
import type { ServerName } from "./ids.ts";
import { imagine } from "./imagined.ts";
import type { RuleRef } from "./refusal.ts";

export type Side = {
  readonly decision: "permit" | "ask" | "refuse";
  /** Null: permitted, or not the same whatever is not known. */
  readonly reason: string | null;
  readonly rule: RuleRef | null;
};

/** `passed`: of the calls, those that went to their server. */
export type Flip = {
  readonly agent: string;
  readonly target: string;
  readonly was: Side;
  readonly would: Side;
  readonly calls: number;
  readonly passed: number;
};

export type Report = {
  readonly calls: number;
  /** Most calls first. */
  readonly flips: readonly Flip[];
  /** Calls of further flips, beyond FLIPS_MAX different ones. */
  readonly further: number;
  /** By what is not recorded of them. */
  readonly unjudged: readonly { readonly without: string; readonly calls: number }[];
  /** A call that passed would wait for a person or be refused. */
  readonly narrows: boolean;
  /** A call that was refused would pass. */
  readonly widens: boolean;
};

export type BacktestParts = {
  readonly proposed: PolicySet;
  /** The set in force: what it decided tells something of the calls that it judged. */
  readonly current: PolicySet | null;
  /** What the accounts of customers allow; one that is absent has no bound. */
  readonly accounts: ReadonlyMap<string, readonly string[] | null>;
};

/** Whoever invents names makes flips: more different ones nobody reads. */
const FLIPS_MAX = 5_000;
/** Different questions whose answers are kept, about 1 kB each. */
const ANSWERS_MAX = 20_000;
const BORDERS_MAX = 500;

export function createBacktest(parts: BacktestParts): { add(group: CallGroup): void; report(): Report } {
  const { proposed, current, accounts } = parts;
  const answers = new Map<string, PartlyDecided | { readonly without: readonly string[] }>();
  const flips = new Map<string, Flip>();
  const unjudged = new Map<string, number>();
  const borders = bordersOf([proposed, current]);
  let [judged, further, narrows, widens] = [0, 0, false, false];

  const answerTo = (group: CallGroup) => {
    const when = borders === null ? group.first_ms : borders.filter((border) => border <= group.first_ms).length;
    const key = JSON.stringify([when, { ...group, sent: 0, first_ms: 0, last_ms: 0, calls: 0 }]);
    const known = answers.get(key) ?? judge(group, proposed, current, accounts.get(group.agent.customer) ?? null);
    if (answers.size >= ANSWERS_MAX) answers.clear();
    answers.set(key, known);
    return known;
  };
  return {
    add(group) {
      const would = answerTo(group);
      if ("without" in would) {
        const what = would.without.join(", ");
        unjudged.set(what, (unjudged.get(what) ?? 0) + group.calls);
        return;
      }
      judged += group.calls;
      const was = recordedBy(group);
      if (was.decision === would.decision) return;
      const passed = group.sent ? group.calls : 0;
      if (passed > 0 && would.decision !== "permit") narrows = true;
      if (was.decision === "refuse" || would.decision === "permit") widens = true;
      const [agent, target] = [group.agent.name, pathOf(group)];
      const key = JSON.stringify([agent, target, was, would]);
      const known = flips.get(key);
      if (known === undefined && flips.size >= FLIPS_MAX) further += group.calls;
      else flips.set(key, { agent, target, was, would, calls: (known?.calls ?? 0) + group.calls, passed: (known?.passed ?? 0) + passed });
    },
    report: () => ({
      calls: judged,
      flips: [...flips.values()].toSorted((a, b) => b.calls - a.calls),
      ...{ further, narrows, widens },
      unjudged: [...unjudged].map(([without, calls]) => ({ without, calls })).toSorted((a, b) => b.calls - a.calls),
    }),
  };
}

/** Moments between which the decisions of the sets do not change by themselves; null: they may change at any. */
export function bordersOf(sets: readonly (PolicySet | null)[]): readonly number[] | null {
  const rules = sets.flatMap((set) => set?.rules ?? []);
  if (rules.some(({ condition }) => condition?.reads.has("now"))) return null;
  const moments = rules.flatMap(({ validity, idleMs }) => {
    const { fromMs = null, untilMs = null } = validity ?? {};
    return [fromMs, untilMs, fromMs === null || idleMs === null ? null : fromMs + idleMs];
  });
  const borders = [...new Set(moments.filter((moment) => moment !== null))].toSorted((a, b) => a - b);
  return borders.length > BORDERS_MAX ? null : borders;
}

/** What policies said of it then. What passed because they were only observed is told as passed. */
function recordedBy({ entitlement_result, approval, reason, rule }: CallGroup): Side {
  if (entitlement_result !== "permitted") return { decision: "refuse", reason, rule };
  return approval || reason?.startsWith("approval_")
    ? { decision: "ask", reason: "approval_required", rule }
    : { decision: "permit", reason: null, rule };
}

function judge(group: CallGroup, proposed: PolicySet, current: PolicySet | null, account: readonly string[] | null) {
  const { method, policy_version } = group;
  // Who may follow a task is decided by the call that it began with, and which one that was is not recorded.
  if (method?.startsWith("tasks/") && method !== "tasks/list") return { without: ["the task's call"] };
  if (method === "subscriptions/listen") return { without: ["arguments"] };
  const evidence = current !== null && policy_version === current.policyVersion ? evidenceOf(group, current) : null;
  return decidePartly(serving(proposed, group), questionOf(group, account), evidence);
}

function evidenceOf(group: CallGroup, current: PolicySet): Evidence {
  const { shadow } = group;
  const policySet = serving(current, group);
  if (shadow?.mode !== "observe") {
    const { decision, reason, rule } = recordedBy(group);
    return { policySet, decision, reason, rule: rule?.name ?? null };
  }
  const decision = shadow.decision === "permit" ? "permit" : shadow.reason === "approval_required" ? "ask" : "refuse";
  return { policySet, decision, reason: shadow.reason, rule: shadow.rule?.name ?? null };
}

/** What is no tool of a server is reserved for as `feature/NAME`. */
function serving(policySet: PolicySet, { method, server }: CallGroup): PolicySet {
  return method === "reservation" ? { ...policySet, servers: new Set([...policySet.servers, server]) } : policySet;
}

function questionOf(group: CallGroup, tools: readonly string[] | null): PartlyAsked {
  const { agent, has_subject, has_arguments, first_ms } = group;
  const { id, name, customer, owner, purpose, team, workflow, instance, kind, risk_class } = agent;
  const imagined = imagine({
    ...{ id, name, customer, owner, purpose },
    ...{ team: team ?? undefined, workflow: workflow ?? undefined, instance: instance ?? undefined },
    ...{ kind: kind as AgentKind, riskClass: risk_class as RiskClass, account: { tools, scopes: null } },
  });
  return { agent: imagined, hasSubject: has_subject, hasArguments: has_arguments, asked: askedFor(group), nowMs: first_ms };
}

const EMPTY_OBJECT = Buffer.from("{}");

function askedFor({ method, server, target }: CallGroup): Asked {
  const course = method === null ? "stream" : method.startsWith("notifications/") ? "notification" : courseOf(method);
  return { server: server as ServerName, course, method, target: target as Target | null, body: EMPTY_OBJECT, argumentsSpan: null };
}

function pathOf({ server, target, method }: CallGroup): string {
  return writtenAs(server, (target as Target | null) ?? { kind: "method", name: method ?? "" });
}
