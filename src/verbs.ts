/** The verbs of a call's life, put together from the parts that the gateway has made. */
import { shadowVerdict } from "./call/authorize/decide.ts";
import { watchesResults } from "./call/authorize/guards.ts";
import type { Recognised } from "./call/authorize/permit.ts";
import { type TaskRules, visibleWithTasks } from "./call/authorize/task-access.ts";
import type { Ledger } from "./call/budget/reservation.ts";
import type { Rounds } from "./call/budget/rounds.ts";
import { enterInline } from "./call/budget/task-bill.ts";
import { billedOnce, isKnownOf, mayCost, roundOfTask } from "./call/budget/task-hold.ts";
import type { Exchange } from "./call/exchange/exchange.ts";
import type { Sessions } from "./call/forward/sessions.ts";
import type { Inspection } from "./call/inspect/inspect.ts";
import { amountsOfResult } from "./call/record/measures.ts";
import type { Retries } from "./call/record/retries.ts";
import { limitedIn, type Story } from "./call/record/story.ts";
import type { Steps } from "./call/steps.ts";
import type { CallRates } from "./call-rates.ts";
import type { Charging } from "./charging.ts";
import type { Approving } from "./control/approvals/approve.ts";
import type { Limiting } from "./limiting.ts";
import type { OpenStreams } from "./open-streams.ts";
import type { PinnedUpstreams } from "./pinned-upstreams.ts";
import { isRefusal, refuse } from "./refusal.ts";
import type { Reserve } from "./reserving.ts";
import type { Views } from "./views.ts";

export type VerbParts = Pick<Steps, "authenticate" | "measure" | "receipted" | "journal" | "scribe" | "tell"> & {
  readonly views: Views;
  readonly sessions: Sessions;
  readonly taskRules: TaskRules;
  readonly limiting: Pick<Limiting, "admit" | "leave">;
  readonly approval: Approving;
  readonly exchange: Pick<Exchange, "exchange">;
  readonly upstreams: PinnedUpstreams;
  readonly inspection: Inspection;
  readonly rounds: Rounds;
  readonly ledger: Ledger;
  readonly retries: Retries;
  readonly rates: CallRates;
  readonly mono: () => number;
  readonly streams: OpenStreams;
  /** Aborts when the gateway gives up draining. */
  readonly stopping: AbortSignal;
  readonly reserve: Reserve;
  readonly givenToTask: Charging["givenToTask"];
  readonly now: () => number;
  /** Hears of each call that has ended. */
  readonly used: (story: Story) => void;
};

const NO_TOOL: Recognised = Object.freeze({ definition: null, shadow: null });

export function createSteps(parts: VerbParts): Steps {
  const {
    authenticate,
    views,
    sessions,
    taskRules,
    limiting,
    approval,
    exchange,
    upstreams,
    rounds,
    ledger,
    streams,
    journal,
    scribe,
    now,
  } = parts;
  const { tasks } = taskRules;
  /** What a handle has brought along of its task is charged with the call. */
  const billInline = ({ agent, request, outcome, settlement, measures }: Story) => {
    if (outcome?.task == null || outcome.cameTo === null || settlement?.state !== "posted" || settlement.withheld !== null) return;
    const task = agent === null || request === null ? null : tasks.find(agent.principal, request.server, outcome.task.taskId);
    if (task !== null) enterInline(task.bill, outcome.cameTo, amountsOfResult(measures));
  };
  return {
    authenticate,
    async address(agent, request) {
      const addressed = await views.address(agent, request);
      return isRefusal(addressed) ? addressed : ((await upstreams.know(agent, addressed, exchange.exchange)) ?? addressed);
    },
    authorize(agent, request) {
      if (request.course === "metered") parts.rates.note(agent.profile.id, request.callId, request.receivedAtMs);
      return views.authorize(agent, request);
    },
    openSession(agent, request) {
      const opened = sessions.open(agent, request);
      return isRefusal(opened) ? opened : parts.retries.shown(agent, opened);
    },
    visible: (agent, { course, server }) => {
      const visible = () => upstreams.visible(agent, server, visibleWithTasks(taskRules, agent, server, now()));
      // A stream may outlive the policies that it began under.
      return course === "list" ? visible() : course === "stream" ? (...element) => visible()(...element) : null;
    },
    approve: approval.approve,
    async admit(story, agent, request, permit, answer) {
      // Rates first: a replay costs work too.
      const isKnown = parts.retries.repeats(agent, request);
      const limited = await limiting.admit(story, agent, request, permit, answer, isKnown ? "rates" : "all");
      if (limited !== null) return limited;
      const said = await parts.retries.admit(story, agent, request, permit);
      // The time of its key is over, or nothing was sent under it: it runs, and is a call like any other.
      return said === null && isKnown ? limiting.admit(story, agent, request, permit, answer, "places") : said;
    },
    leave(story) {
      limiting.leave(story);
      billInline(story);
      // Of a round of which nothing was sent the answer may come again.
      if (story.outcome?.sent !== true && story.settlement?.state !== "unknown") rounds.putBack(story.round);
      const left = approval.leave(story);
      // Last: a retry that comes now finds the yes where it was.
      return left === undefined ? parts.retries.leave(story) : left.then(() => parts.retries.leave(story));
    },
    inspect(permit, agent, request, outcome, answer) {
      // Resumed, a result would come past the guards: it comes with its own answer or not at all.
      if (outcome === null && taskRules.policySet.mode === "enforce" && watchesResults(permit)) sessions.withhold(agent.principal, request);
      const target = tasks.of(agent.principal, request)?.target ?? request.target;
      return parts.inspection.inspect(permit, agent, request, target, outcome, answer);
    },
    async recognise(agent, { server, target }, { rule }) {
      if (target?.kind !== "tool") return NO_TOOL;
      // A list is read with the general token: that of one tool may not open it.
      const issued = await exchange.exchange(agent, server);
      if (isRefusal(issued)) return issued;
      const definition = await upstreams.get(server).definition(target.name, agent, issued);
      if (isRefusal(definition)) return definition;
      if (definition === null) return refuse("tool_unknown");
      const objection = await upstreams.keepsTo(rule, agent, server, issued, definition);
      if (objection !== null && !upstreams.observe) return objection;
      const observed = definition.observed ?? objection;
      return { definition: definition.sha256, shadow: observed === null ? null : shadowVerdict("observe", observed) };
    },
    round: ({ principal }, request) => roundOfTask(tasks.of(principal, request)) ?? rounds.roundOf(principal, request),
    expectRound: ({ principal }, request, round, { kind, requestState, task, refusal }) => {
      // What a guard keeps the client has not heard of.
      if (refusal !== null) return;
      if (kind === "input_required") rounds.remember(principal, request, round, requestState);
      if (task !== null) tasks.remember(principal, request, round.logicalCallId, task, parts.givenToTask(request));
    },
    async hold(story, permit, request) {
      const { round } = story;
      const draws = mayCost(request, round) ? permit.draws : [];
      // What draws on nothing needs no estimate, and no price.
      const amounts = draws.length === 0 ? {} : parts.reserve(permit, request, round);
      if (permit.enforced !== null && draws.length > 0 && !isRefusal(amounts)) {
        const { refusal } = await ledger.weigh(permit.enforced, amounts, request.receivedAtMs);
        if (refusal !== null) limitedIn(story, shadowVerdict("observe", refusal));
      }
      const held = isRefusal(amounts) ? amounts : await ledger.hold(request.callId, draws, amounts, request.receivedAtMs);
      if (!isRefusal(held)) return billedOnce(held, round.task);
      if (!isKnownOf(round.task)) return held;
      const nothing = await ledger.hold(request.callId, [], {}, request.receivedAtMs);
      return isRefusal(nothing) ? held : billedOnce(nothing, round.task, held);
    },
    exchange: views.exchange,
    async forward(job) {
      const fromMs = parts.mono();
      const outcome = await approval.unlessSent(job.request.callId, views.get(job.request.server).forward(job));
      return { ...outcome, upstreamMs: parts.mono() - fromMs };
    },
    measure: parts.measure,
    receipted(story) {
      const outcome = parts.receipted(story);
      const reading = story.request === null ? null : sessions.underWay(story.request)?.reading;
      // Whoever resumes it reads the same.
      if (reading && outcome?.last) reading.answer = outcome.last;
      return outcome;
    },
    journal,
    scribe,
    stopped(agent, request) {
      if (request.course !== "stream" && request.method !== "subscriptions/listen") return parts.stopping;
      return streams.open(request.callId, agent, () => !isRefusal(views.authorize(agent, request).verdict));
    },
    tell(story, thrown) {
      streams.closed(story.opening.callId);
      parts.rates.forget(story.opening.callId);
      parts.used(story);
      parts.tell(story, thrown);
    },
  };
}
