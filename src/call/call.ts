/** The life of one call, from its first byte to its last: every branch of it, and no I/O of its own. */
import { isRefusal, type Refusal, refuse } from "../refusal.ts";
import type { Answer } from "./accept/answer.ts";
import { argumentsOf, type McpRequest, type RequestSketch } from "./accept/request.ts";
import type { Agent } from "./authenticate/agent.ts";
import type { Permit } from "./authorize/permit.ts";
import type { Reservation, Settlement } from "./budget/reservation.ts";
import { isMetered } from "./budget/task-hold.ts";
import type { IssuedToken } from "./exchange/issued-token.ts";
import type { Outcome } from "./forward/outcome.ts";
import type { ForwardJob } from "./forward/upstream.ts";
import { auditOfCall, permitOf, settlementOf } from "./record/compose.ts";
import { StoreUnavailable, unlessAway } from "./record/journal.ts";
import { approvedIn, inspectedIn, judgedIn, leavingWith, measuredIn, openStory, recognisedIn, type Story } from "./record/story.ts";
import type { Steps } from "./steps.ts";

type Verdict = Promise<Refusal | null>; // Null: the answer is given.

export async function live(request: McpRequest, answer: Answer, steps: Steps): Promise<void> {
  const story = openStory(request, request);
  let fault: unknown = null;
  try {
    const refusal = await govern(story, request, answer, steps).finally(() => steps.leave(story));
    if (refusal !== null) await sayNo(story, refusal, answer, steps);
  } catch (thrown) {
    fault = thrown instanceof StoreUnavailable ? null : thrown;
    if (fault === null) await sayNo(story, refuse("store_unavailable"), answer, steps, story.settlement !== null);
    else await stumble(story, answer, steps);
  }
  steps.tell(story, fault);
}

/** A request that was refused before it became one: recorded and answered like any other. */
export async function refuseAtDoor(sketch: RequestSketch, refusal: Refusal, answer: Answer, steps: Steps): Promise<void> {
  const story = openStory(sketch, null);
  await sayNo(story, refusal, answer, steps);
  steps.tell(story, null);
}

async function govern(story: Story, asked: McpRequest, answer: Answer, steps: Steps): Verdict {
  const agent = await steps.authenticate(asked.authorization, asked.server, asked.receivedAtMs);
  if (isRefusal(agent)) return agent;
  story.agent = agent;
  if (agent.subject !== null) story.subjectDigest = steps.scribe.digest(agent, Buffer.from(agent.subject));
  if (!steps.journal.available) return refuse("store_unavailable");
  const addressed = await steps.address(agent, asked);
  if (isRefusal(addressed)) return addressed;
  story.request = addressed;
  const permit = judgedIn(story, steps.authorize(agent, addressed));
  if (isRefusal(permit)) return permit;
  story.round = steps.round(agent, addressed);
  const before = await steps.admit(story, agent, addressed, permit, answer);
  if (before !== null) return isRefusal(before) ? before : close(story, before, answer, steps);
  const approved = approvedIn(story, await steps.approve(agent, addressed, permit, story.round));
  if (isRefusal(approved)) return approved;
  const request = steps.openSession(agent, approved.request);
  if (isRefusal(request)) return request;
  story.request = request;
  if (isMetered(request, story.round, permit)) return meter(story, request, agent, permit, answer, steps);
  return pass(story, request, agent, answer, steps);
}

/** Held, permitted on disk, forwarded, settled on disk, and only then answered to its end. */
async function meter(story: Story, request: McpRequest, agent: Agent, permit: Permit, answer: Answer, steps: Steps): Verdict {
  const held = await steps.hold(story, permit, request);
  if (isRefusal(held)) return held;
  using reservation = held;
  const suspect = inspectedIn(story, await steps.inspect(permit, agent, request, null, answer));
  if (suspect !== null) return suspect;
  const issued = await steps.exchange(agent, request.server, request.target?.kind === "tool" ? request.target.name : null);
  if (isRefusal(issued)) return issued;
  const recognised = recognisedIn(story, await steps.recognise(agent, request, permit, issued));
  if (isRefusal(recognised)) return recognised;
  leavingWith(story, issued, reservation, steps.scribe.digest(agent, argumentsOf(request)));
  if (request.era === "modern" && answer.gone.aborted) return refuse("request_timeout", {}, "the client left before the call was sent");
  await steps.journal.permit(permitOf(story, request, reservation, steps.scribe));
  reservation.sent();
  try {
    const outcome = await steps.forward(jobOf(request, agent, issued, reservation, answer, steps));
    story.outcome = await inspectResult(story, permit, agent, request, outcome, answer, steps);
    steps.expectRound(agent, request, story.round, story.outcome);
    if (outcome.result !== null) story.resultDigest = steps.scribe.digest(agent, outcome.result);
    story.settlement = await settle(story, request, story.outcome, reservation, steps);
  } finally {
    // A fault between sending and settling: the fate is unknown, and the books say so before the client hears of it.
    story.settlement ??= reservation.postUnknown();
    story.refusal = story.settlement.withheld ?? story.outcome?.refusal ?? null;
    await steps.journal.settle(settlementOf(story, request, story.settlement, steps.scribe));
  }
  release(steps.receipted(story), story.refusal, answer);
  return null;
}

/** What a guard refuses was made and is charged, and stays here. */
async function inspectResult(story: Story, permit: Permit, agent: Agent, asked: McpRequest, came: Outcome, answer: Answer, steps: Steps) {
  const refusal = inspectedIn(story, await steps.inspect(permit, agent, asked, came, answer));
  return refusal === null ? came : { ...came, refusal };
}

/** Free of charge: forwarded, recorded, answered. A stream is recorded when it opens and when it closes. */
async function pass(story: Story, request: McpRequest, agent: Agent, answer: Answer, steps: Steps): Verdict {
  const issued = await steps.exchange(agent, request.server);
  if (isRefusal(issued)) return issued;
  story.issued = issued;
  const opensStream = request.course === "stream" || request.method === "subscriptions/listen";
  if (opensStream) await steps.journal.append(auditOfCall(story, steps.scribe));
  const outcome = await steps.forward(jobOf(request, agent, issued, null, answer, steps));
  return close(story, outcome, answer, steps, opensStream ? "stream.closed" : "call");
}

/** Nothing was drawn: recorded, and answered to its end. */
async function close(story: Story, outcome: Outcome, answer: Answer, steps: Steps, kind: "call" | "stream.closed" = "call"): Verdict {
  story.outcome = outcome;
  story.refusal = outcome.refusal;
  await steps.journal.append(auditOfCall(story, steps.scribe, kind));
  release(outcome, outcome.refusal, answer);
  return null;
}

/** Post the truth: what was measured, or the whole hold where the fate is unknown, or nothing where nothing was sent. */
async function settle(story: Story, request: McpRequest, outcome: Outcome, reservation: Reservation, steps: Steps): Promise<Settlement> {
  if (!outcome.sent) return reservation.voidUnsent();
  if (outcome.kind === "unknown" || outcome.kind === "timeout" || outcome.kind === "cancelled")
    return reservation.postUnknown({ bytes: request.body.length + outcome.bytesIn });
  return reservation.post(measuredIn(story, await steps.measure(request, story.round, outcome)), outcome);
}

function release(outcome: Outcome | null, refusal: Refusal | null, answer: Answer): void {
  if (refusal !== null) return answer.refuse(refusal);
  if (!answer.started) answer.head(outcome?.status ?? 200, outcome?.headers ?? {});
  answer.last(outcome?.last ?? null);
}

/** A refusal is on disk before it is said; where the disk is away it is counted instead, and said all the same: nothing ran. */
async function sayNo(story: Story, refusal: Refusal, answer: Answer, steps: Steps, recorded = false): Promise<void> {
  story.refusal = refusal;
  if (!recorded) await steps.journal.append(auditOfCall(story, steps.scribe)).catch(unlessAway);
  answer.refuse(refusal);
}

/** A bug of ours: recorded where it is not yet, told to the client by the call's id alone. */
async function stumble(story: Story, answer: Answer, steps: Steps): Promise<void> {
  story.fault = true;
  if (story.settlement === null) await steps.journal.append(auditOfCall(story, steps.scribe)).catch(unlessAway);
  answer.fault();
}

function jobOf(request: McpRequest, agent: Agent, issued: IssuedToken, held: Reservation | null, answer: Answer, steps: Steps): ForwardJob {
  return { request, agent, issued, visible: steps.visible(agent, request), held, answer, stopped: steps.stopped(agent, request) };
}
