/** Pure. The answer to "is this allowed?": the rule that decided, and every budget that now has to carry the call. */
import type { Reason, Refusal, RuleRef } from "../../refusal.ts";
import type { McpRequest } from "../accept/request.ts";

/** `calls`, `tool_tokens`, `llm_tokens`, `bytes`, `duration_ms`, `cost_micros`, `outcome:NAME`, or a meter of the configuration. */
export type Meter = string;

/** `rolling`: the last `rollingMs` milliseconds, wherever the clock stands. */
export type Period = "hour" | "day" | "week" | "month" | "year" | "total" | "rolling";

/** One counter that a call draws on: a budget, and whose share of it. */
export type Draw = {
  readonly budget: string;
  /** Whose counter: `` (shared) or `team=support`, `agent=agt_...&server=tickets`: the budget's `each`, in its order. */
  readonly scope: string;
  readonly meter: Meter;
  /** Whole units of `meter`. */
  readonly limit: number;
  readonly period: Period;
  /** Of `rolling`; else 0. */
  readonly rollingMs: number;
  /** Of `total`: when its counter may be forgotten; absent: never. */
  readonly untilMs?: number;
  /** IANA zone in which the window's calendar runs. */
  readonly timeZone: string;
  readonly hard: boolean;
  /** How far beyond its limit a soft budget lets calls go; null: as far as they want. */
  readonly overage: number | null;
  /** `withhold`: a result over budget is refused; `deliver`: it passes and the excess becomes debt. */
  readonly overrun: "withhold" | "deliver";
  /** Percent of the limit at which people are told, ascending. */
  readonly notify: readonly number[];
  /** What this gateway may set aside of a shared counter, to go on with while the shared ledger is away; 0: nothing. */
  readonly lease: number;
  /** The agent whose call it is, which has a share of all counters that there may be; absent: nobody's. */
  readonly owner?: string;
  /** What whoever is refused may do about it, in the words of who made the budget. */
  readonly hint?: string;
};

/** So many calls in so long. `text` as it was written: `60/min`. `burst`: how many at once after a pause. */
export type Rate = { readonly text: string; readonly count: number; readonly perMs: number; readonly burst: number };

/** One caller makes the same call of the same tool more than `calls` times within `withinMs`. */
export type Loop = { readonly calls: number; readonly withinMs: number; readonly action: "refuse" | "suspend" };

/** One of the policies' `limits`. Null: without that bound. */
export type Limit = {
  readonly name: string;
  /** None, one, or a short and a long one. */
  readonly rates: readonly Rate[];
  /** Calls under way at once. */
  readonly concurrent: number | null;
  /** How long a call waits for its turn; 0: not at all. */
  readonly waitMs: number;
  readonly loop: Loop | null;
};

/** A limit that a call is held against, and whose counter of it. */
export type Pace = {
  readonly limit: Limit;
  /** As a draw's scope. */
  readonly scope: string;
  /** Of the counter: no two limits or scopes share one. */
  readonly key: string;
};

/** A person has to say yes: who may (`role:approver`, `key:NAME`), and how long the question stands. */
export type Approval = { readonly by: readonly string[]; readonly withinMs: number };

/** What became of a question to a person, as the record has it. `by` and `reason` are null until somebody decides. */
export type ApprovalLine = {
  readonly id: string;
  readonly state: "pending" | "approved" | "denied" | "expired";
  readonly by: string | null;
  readonly reason: string | null;
  /** RFC 3339, UTC. */
  readonly decided_at: string | null;
};

/** The call as it goes on: without what was said to the gateway itself. `approval` null: nobody had to be asked. */
export type Approved = { readonly request: McpRequest; readonly approval: ApprovalLine | null };

/** `approval`: the question that the call waits for, or its denial; absent where nobody was asked. */
export type Unapproved = Refusal & { readonly approval?: ApprovalLine };
/** The called tool, by the hash of its definition; null: what is called is no tool. `shadow`: what would have been said if pins were enforced. */
export type Recognised = { readonly definition: string | null; readonly shadow: ShadowVerdict | null };
/** An external guard that a permit asks for: its name in the configuration, and what it looks at. */
export type Guard = { readonly inspector: string; readonly of: readonly InspectionLine["of"][] };

/** What one guard said of the arguments or of the result. */
export type InspectionLine = {
  /** Its name in the configuration. */
  readonly inspector: string;
  readonly of: "arguments" | "result";
  /** `failed`: no verdict came, and the guard's failure mode decided. */
  readonly verdict: "allow" | "refuse" | "failed";
  /** The guard's own word for why; null where it gave none. */
  readonly code: string | null;
  /** `sha256:<hex>` of the guard's answer; null where none came. */
  readonly digest: string | null;
  readonly duration_ms: number;
};

/** What all guards of one permit said. `shadow`: the refusal that it would have been, where policies are only observed. */
export type Inspected = {
  readonly inspections: readonly InspectionLine[];
  readonly refusal: Refusal | null;
  readonly shadow: ShadowVerdict | null;
};

/** What a decision would have been: that of the enforced rules in `observe`, that of all rules where some are `shadow`. */
export type ShadowVerdict = {
  readonly mode: "observe" | "shadow";
  readonly decision: "permit" | "refuse";
  /** Null: permitted. */
  readonly reason: Reason | null;
  readonly rule: RuleRef | null;
  readonly note: string | null;
};

export type Permit = {
  /** Null: no rule permits it, and policies are only observed. */
  readonly rule: RuleRef | null;
  readonly policyVersion: string;
  readonly draws: readonly Draw[];
  /** Where policies are only observed: what the draws would be if they were enforced; null: they are. */
  readonly enforced: readonly Draw[] | null;
  /** Ceilings that the permit declares, by meter, in place of the server's; null: none. */
  readonly reserve: Readonly<Record<string, number>> | null;
  /** In the order of the files. */
  readonly limits: readonly Pace[];
  /** Rules whose condition failed to evaluate (a permit then does not apply, a forbid does); recorded. */
  readonly conditionFaults: readonly string[];
  /** Null: it may go on. */
  readonly approval: Approval | null;
  /** Asked one beside the other; the first of them that refuses is the one that is named. */
  readonly guards: readonly Guard[];
  /** How long the result is kept for a retry with the same key; null: it is not. */
  readonly replayMs: number | null;
  /** Set where policies are only observed: the refusal that it would have met. */
  readonly observed: Refusal | null;
};

/** Of one call, by one version of the policies. */
export type Judged = {
  readonly verdict: Permit | Refusal;
  readonly policyVersion: string;
  readonly shadow: ShadowVerdict | null;
};
