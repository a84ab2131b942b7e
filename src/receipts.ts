/** What an agent is told with a tool's result: what the call was counted for, and what is left on the budgets that it drew on. */
import type { Outcome } from "./call/forward/outcome.ts";
import type { Story } from "./call/record/story.ts";
import type { Steps } from "./call/steps.ts";
import { remainingRow } from "./control/me/verdict.ts";

export function createReceipts(wanted: boolean): Steps["receipted"] {
  return (story) => {
    const { outcome, settlement } = story;
    if (!wanted || outcome?.withReceipt == null || outcome.kind !== "result" || settlement?.state !== "posted" || !isTool(story))
      return outcome;
    return { ...outcome, last: outcome.withReceipt(JSON.stringify(receiptOf(story, outcome))) };
  };
}

function isTool({ round, request }: Story): boolean {
  return (round.task?.target ?? request?.target)?.kind === "tool";
}

/** The same rows that the agent reads about itself: budgets that it draws on. */
function receiptOf({ opening, round, usage, measures, settlement }: Story, { refusal }: Outcome): object {
  const further = refusal === null && measures !== null ? { outcomes: measures.outcomes, outputs: measures.outputs } : {};
  return {
    call_id: opening.callId,
    logical_call_id: round.logicalCallId,
    usage: { calls: usage?.calls ?? 0, tool_tokens: usage?.tool_tokens ?? 0, cost_micros: usage?.cost_micros, ...further },
    remaining: (settlement?.lines ?? []).map(({ line: { draw, windowEndMs }, remaining }) =>
      remainingRow({ draw, remaining, windowEndMs }),
    ),
  };
}
