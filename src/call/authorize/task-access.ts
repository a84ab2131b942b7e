/** Pure. Who may follow a task: the principal whose call it is, as long as that call's target is permitted. A forbidden method stays forbidden. */
import { isRefusal, type Refusal, refuse } from "../../refusal.ts";
import type { Listed, McpRequest } from "../accept/request.ts";
import type { Agent } from "../authenticate/agent.ts";
import { candidatesOf, isInForce, type PolicySet, reachOf, viewOf } from "./candidates.ts";
import { circumstancesOf } from "./circumstances.ts";
import { decide, holds, noteOf, openTo, permitBy, shadowOf, shadowVerdict, stepUp } from "./decide.ts";
import { allGuards } from "./guards.ts";
import type { Judged, Permit } from "./permit.ts";
import { drawingOnSubBudgets } from "./sub-budgets.ts";
import { subscribed } from "./subscriptions.ts";
import { declaresTasks, TASKS_EXTENSION } from "./task-request.ts";
import type { Task, Tasks } from "./tasks.ts";
import { visible } from "./visible.ts";

export type TaskRules = {
  readonly policySet: PolicySet;
  readonly tasks: Tasks;
  /** False: the server's transport carries no tasks. */
  readonly carries: (server: McpRequest["server"]) => boolean;
};

export function judgeWithTasks(rules: TaskRules, agent: Agent, request: McpRequest, nowMs: number): Judged {
  const { policySet } = rules;
  const verdict = decideWithTasks(rules, agent, request, nowMs);
  const observed = isRefusal(verdict) ? null : verdict.observed;
  const shadow = observed !== null ? shadowVerdict("observe", observed) : shadowOf(policySet, agent, request, nowMs);
  return { verdict, policyVersion: policySet.policyVersion, shadow };
}

function decideWithTasks(rules: TaskRules, agent: Agent, request: McpRequest, nowMs: number): Permit | Refusal {
  const { server, method } = request;
  if (request.course === "task") return followTask(rules, agent, request, nowMs);
  const decision = decide(rules.policySet, agent, request, nowMs);
  if (isRefusal(decision)) return decision;
  if (method === "tasks/list" && !rules.carries(server)) return NOT_CARRIED;
  // A push says as much of a task as an answer does.
  const heard = method === "subscriptions/listen" ? subscribed(request.body, "taskIds") : [];
  if (heard !== null && heard.length > 0 && !declaresTasks(request.body)) return UNDECLARED;
  const closed = heard === null || heard.some((taskId) => !mayFollow(rules, agent, server, taskId, nowMs));
  return closed ? UNKNOWN : decision;
}

/** What the agent sees of a list: what it may call, and the tasks that it may follow. */
export function visibleWithTasks(
  rules: TaskRules,
  agent: Agent,
  server: McpRequest["server"],
  nowMs: number,
): (element: Listed, definition?: string) => boolean {
  const isVisible = visible(rules.policySet, agent, server, nowMs);
  return (element, definition) =>
    element.kind === "task" ? mayFollow(rules, agent, server, element.name, nowMs) : isVisible(element, definition);
}

function mayFollow(rules: TaskRules, agent: Agent, server: McpRequest["server"], taskId: string, nowMs: number): boolean {
  const task = rules.tasks.find(agent.principal, server, taskId);
  return task !== null && !isRefusal(permitFor(rules, agent, server, task, nowMs));
}

function followTask(rules: TaskRules, agent: Agent, request: McpRequest, nowMs: number): Permit | Refusal {
  const { policySet, tasks, carries } = rules;
  const { server, target } = request;
  const view = viewOf(policySet, agent);
  const enforced = policySet.mode === "enforce";
  if (enforced && reachOf(policySet, view, server, nowMs) === null) {
    return refuse("server_unknown", {}, `no rule permits ${agent.profile.name} anything on ${server}`);
  }
  if (target === null || !carries(server)) return NOT_CARRIED;
  const { forbids } = candidatesOf(policySet, view, server, target);
  const circumstances = circumstancesOf(policySet, agent, server, target, nowMs, request);
  const forbid = forbids.find((rule) => isInForce(rule, nowMs) && holds(rule, circumstances, []) !== false);
  if (enforced && forbid !== undefined) return refuse("method_unknown", {}, noteOf(forbid, server, target, []), forbid.ref);
  if (request.era === "modern" && !declaresTasks(request.body)) return UNDECLARED;
  const task = tasks.of(agent.principal, request);
  return task === null ? UNKNOWN : permitFor(rules, agent, server, task, nowMs);
}

/** As a call of the same target would be judged, but for its arguments: those were judged when it was made. */
function permitFor({ policySet }: TaskRules, agent: Agent, server: string, { target }: Task, nowMs: number): Permit | Refusal {
  const verdict = enforcedFor(policySet, agent, server, target, nowMs);
  if (policySet.mode === "enforce" || !isRefusal(verdict)) return verdict;
  return { ...permitBy(policySet, null, [], []), observed: verdict };
}

function enforcedFor(policySet: PolicySet, agent: Agent, server: string, target: Task["target"], nowMs: number): Permit | Refusal {
  const view = viewOf(policySet, agent);
  const candidates = candidatesOf(policySet, view, server, target);
  const faults: string[] = [];
  const open = openTo(candidates, circumstancesOf(policySet, agent, server, target, nowMs, null), faults, nowMs);
  if ("hiddenBy" in open) return refuse("task_unknown", {}, noteOf(open.hiddenBy, server, target, faults), open.hiddenBy?.ref ?? null);
  const rule = open.permits.find(({ requires }) => requires.every((scope) => scope === "mcp" || agent.scopes.has(scope)));
  // Which of them let the call through hung on its arguments: what any of them has looked at, is looked at.
  const guards = allGuards(open.permits.map((permit) => permit.guards));
  if (rule !== undefined)
    return drawingOnSubBudgets(agent, { ...permitBy(policySet, rule.ref, candidates.draws, faults), guards }, policySet.mode);
  const [lacking] = open.permits;
  return lacking === undefined ? UNKNOWN : stepUp(view, agent, lacking, noteOf(lacking, server, target, faults));
}

/** The same for a task of another principal, one that has ended, and one that never was. */
const UNKNOWN: Refusal = refuse("task_unknown", {}, "no task of this principal");
/** SEP-2663: before anything is said of the task. */
const UNDECLARED: Refusal = refuse("capability_missing", { requiredCapabilities: { extensions: { [TASKS_EXTENSION]: {} } } });
const NOT_CARRIED: Refusal = refuse("method_unknown", {}, "tasks do not cross to this server");
