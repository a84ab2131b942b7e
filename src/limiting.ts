/** Rates, calls at once and loops put together: the step in a call's life, what an agent has left of them, and what a storm of refusals costs others. */
import type { Answer } from "./call/accept/answer.ts";
import type { McpRequest } from "./call/accept/request.ts";
import type { Agent } from "./call/authenticate/agent.ts";
import { shadowVerdict } from "./call/authorize/decide.ts";
import type { Judged, Pace, Permit } from "./call/authorize/permit.ts";
import { createCrowds } from "./call/budget/crowds.ts";
import { createLoops } from "./call/budget/loops.ts";
import type { LeftOf, Part } from "./call/budget/paces.ts";
import { fingerprintOf } from "./call/budget/repetition.ts";
import type { Rounds } from "./call/budget/rounds.ts";
import { createTurns, type NoTurn, type Turns } from "./call/budget/turns.ts";
import { StoreUnavailable } from "./call/record/journal.ts";
import { limitedIn, type Story } from "./call/record/story.ts";
import type { Config } from "./config.ts";
import type { Registry } from "./control/agents/registry.ts";
import { RegistryAway } from "./control/postgres.ts";
import type { Metrics } from "./observe.ts";
import { isRefusal, type Quota, type Refusal, refuse } from "./refusal.ts";
import { refusalOfStopped } from "./stopped-agents.ts";

export type Limiting = {
  /** Null: the call passes, and what it takes up is free again at `leave`. */
  admit(
    story: Story,
    agent: Agent,
    request: McpRequest,
    permit: Permit,
    answer: Answer,
    part: Part,
  ): Refusal | null | Promise<Refusal | null>;
  leave(story: Story): void;
  leftOf: Turns["leftOf"];
  /** Nobody waits any longer. */
  drain(): void;
  close(): void;
};

export type LimitingParts = {
  readonly config: Pick<Config, "mode">;
  readonly registry: Pick<Registry, "changeState" | "byId" | "isRevoked" | "credentialsOf">;
  readonly rounds: Pick<Rounds, "putBack">;
  /** Whether policies still permit it. */
  readonly authorize: (agent: Agent, request: McpRequest) => Judged;
  readonly act: (kind: "limit.loop_detected", by: string, details: Readonly<Record<string, string | number | boolean>>) => Promise<void>;
  readonly metrics: Pick<Metrics, "waited" | "gauge">;
  readonly mono: () => number;
  readonly fault: (thrown: unknown) => void;
};

const SWEEP_MS = 60_000;

export function openLimiting({ config, registry, rounds, authorize, act, metrics, mono, fault }: LimitingParts): Limiting {
  const observe = config.mode === "observe";
  const turns = createTurns(mono, metrics.waited);
  const loops = createLoops();
  const crowds = createCrowds(mono);
  metrics.gauge("tollgate_calls_waiting", "Calls that wait for their turn under a limit.", () => turns.waiting);
  const sweep = setInterval(() => turns.sweep(), SWEEP_MS).unref();

  /** Told before the call is answered: once it is, the agent is suspended. Where that cannot be done, the call is refused all the same. */
  async function tellLoop({ profile }: Agent, { server, target }: McpRequest, { limit }: Pace): Promise<void> {
    const { calls, withinMs, action } = limit.loop ?? { calls: 0, withinMs: 0, action: "refuse" };
    const tool = `${server}/${target?.name ?? ""}`;
    const whose = { agent_id: profile.id, agent: profile.name, customer: profile.customer };
    const facts = { ...whose, limit: limit.name, tool, calls, within_ms: withinMs, action, enforced: !observe };
    try {
      await act("limit.loop_detected", "gateway", facts);
      const cause = `limit ${limit.name}: ${tool} with the same arguments more than ${calls} times`;
      if (action === "suspend" && !observe) await registry.changeState(profile.id, "suspend", cause, "gateway");
    } catch (thrown) {
      if (!(thrown instanceof StoreUnavailable || thrown instanceof RegistryAway)) fault(thrown);
    }
  }

  const admit: Limiting["admit"] = (story, agent, request, permit, answer, part) => {
    const owner = agent.profile.id;
    if (part !== "places" && request.course === "metered" && !crowds.enter(owner, request.callId))
      return refused(story, owner, answer, CROWDED);
    const paces = permit.limits;
    if (paces.length === 0) return null;
    // A retry runs nothing, and is no repetition.
    const repeats = part === "rates" ? [] : paces.filter(({ limit }) => limit.loop !== null);
    // A further round of a call repeats its arguments, and is no repetition.
    const fingerprint = repeats.length === 0 || story.round.number > 1 ? null : fingerprintOf(request);
    // Of one person, or of the agent itself: another instance or session is no other caller, whatever `each` says.
    const caller = ({ limit }: Pace) => `${limit.name}\0${owner}\0${agent.person ?? ""}`;
    let loop: { readonly pace: Pace; readonly begins: boolean } | null = null;
    const verdict = turns.take({
      ...{ callId: request.callId, owner, paces, part, mayWait: !observe, gone: () => answer.gone },
      isLoop() {
        for (const pace of repeats) {
          if (pace.limit.loop === null || fingerprint === null) continue;
          const { isLoop, begins } = loops.judge(pace.limit.loop, caller(pace), fingerprint, mono());
          if (isLoop) loop = { pace, begins };
          if (isLoop) return true;
        }
        return false;
      },
      passes() {
        for (const pace of repeats)
          if (pace.limit.loop !== null && fingerprint !== null) loops.note(pace.limit.loop, caller(pace), fingerprint, mono());
      },
    });
    const said = (no: NoTurn | null): ReturnType<Limiting["admit"]> => {
      if (no === null) return null;
      const refusal = no.no === "loop" && loop !== null ? refuseLoop(loop.pace) : refusalOf(no, (pace) => turns.leftOf([pace]));
      const told = loop?.begins === true ? tellLoop(agent, request, loop.pace) : null;
      return told === null ? refused(story, owner, answer, refusal) : told.then(() => refused(story, owner, answer, refusal));
    };
    return verdict instanceof Promise ? verdict.then((no) => (no === null ? stillMay(story, agent, request) : said(no))) : said(verdict);
  };

  /** Seconds have gone by since it was authenticated and judged. Its place is free again when it leaves. */
  function stillMay(story: Story, agent: Agent, request: McpRequest): Refusal | null {
    const { verdict } = authorize(agent, request);
    const refusal = refusalOfStopped(registry, agent) ?? (isRefusal(verdict) ? verdict : null);
    if (refusal !== null) rounds.putBack(story.round);
    return refusal;
  }

  function refused(story: Story, owner: string, answer: Answer, refusal: Refusal): ReturnType<Limiting["admit"]> {
    if (observe && OBSERVED.has(refusal.refused)) {
      limitedIn(story, shadowVerdict("observe", refusal));
      return null;
    }
    rounds.putBack(story.round);
    const held = crowds.hold(owner, answer);
    return held === null ? refusal : held.then(() => refusal);
  }

  const drain = () => {
    turns.close();
    crowds.close();
  };
  return {
    admit,
    leave({ opening: { callId } }) {
      turns.leave(callId);
      crowds.leave(callId);
    },
    leftOf: turns.leftOf,
    drain,
    close() {
      clearInterval(sweep);
      drain();
    },
  };
}

/** What policies decide; that there is no room is no matter of policies. */
const OBSERVED: ReadonlySet<string> = new Set(["rate_limited", "concurrency_limited", "loop_detected"]);
const RETRY_MS = 1_000;

const CROWDED: Refusal = refuse("overloaded", { retry_after_ms: RETRY_MS }, "this agent has too many calls under way at once");
const FULL: Refusal = refuse("overloaded", { retry_after_ms: RETRY_MS }, "more counters of limits than the gateway keeps");
const CLOSING: Refusal = refuse("overloaded", { retry_after_ms: RETRY_MS }, "the gateway is draining, and nothing waits for its turn");
const LEFT: Refusal = refuse("request_timeout", {}, "the client left while the call waited for its turn");

function refusalOf(no: NoTurn, leftOf: (pace: Pace) => readonly LeftOf[]): Refusal {
  if (no.no === "left") return LEFT;
  if (no.no === "closing") return CLOSING;
  if (no.no !== "blocked") return FULL;
  const { pace, reason, retryAfterMs } = no;
  const { name, concurrent } = pace.limit;
  const places = reason === "concurrency_limited" && concurrent !== null ? { limit: concurrent } : {};
  const refusal = refuse(reason, { limit_name: name, ...places, retry_after_ms: retryAfterMs }, noteOf(pace));
  return { ...refusal, quotas: leftOf(pace).map(quotaOf) };
}

function refuseLoop(pace: Pace): Refusal {
  const { name, loop } = pace.limit;
  return refuse("loop_detected", { limit_name: name, retry_after_ms: loop?.withinMs ?? RETRY_MS }, noteOf(pace));
}

function noteOf({ limit, scope }: Pace): string {
  return `limit ${limit.name}${scope === "" ? "" : ` for ${scope}`}`;
}

function quotaOf({ limit, rate, left, resetMs }: LeftOf): Quota {
  if (rate === null) return { name: `${limit.name}:concurrent`, quota: limit.concurrent ?? 0, windowMs: null, left, resetMs };
  return {
    name: `${limit.name}:${rate.text}`,
    quota: rate.count,
    windowMs: rate.perMs,
    ...(rate.burst === rate.count ? {} : { burst: rate.burst }),
    left,
    resetMs,
  };
}
