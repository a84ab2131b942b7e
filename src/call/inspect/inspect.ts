/** Asks all guards of one permit, one beside the other: the first that refuses is named, each is recorded. */
import { type Refusal, refuse } from "../../refusal.ts";
import type { Answer } from "../accept/answer.ts";
import type { McpRequest, Target } from "../accept/request.ts";
import type { Agent } from "../authenticate/agent.ts";
import type { Inspected, InspectionLine, Permit, ShadowVerdict } from "../authorize/permit.ts";
import type { Outcome } from "../forward/outcome.ts";
import type { Answered, Inspector } from "./inspector.ts";
import { argumentContent, resultContent } from "./question.ts";

export type Inspection = {
  /** `outcome` null: nothing is sent yet, and the arguments are in question. `target`: what is called in the end. */
  inspect(
    permit: Permit,
    agent: Agent,
    request: McpRequest,
    target: Target | null,
    outcome: Outcome | null,
    answer: Pick<Answer, "gone">,
  ): Inspected | Promise<Inspected>;
};

export type InspectionOptions = {
  readonly inspectors: ReadonlyMap<string, Inspector>;
  /** Policies are only observed: guards are asked and recorded, and refuse nothing. */
  readonly observes: boolean;
  readonly now: () => number;
  readonly warn: (facts: Readonly<Record<string, string>>, message: string) => void;
};

const NOTHING: Inspected = Object.freeze({ inspections: [], refusal: null, shadow: null });
/** The gateway's own word in place of a guard's, where no verdict came. */
const UNAVAILABLE = "inspector_unavailable";

type Verdict = Answered & { readonly name: string; readonly onFailure: Inspector["onFailure"] };

export function createInspection({ inspectors, observes, now, warn }: InspectionOptions): Inspection {
  async function ask(permit: Permit, agent: Agent, request: McpRequest, target: Target | null, outcome: Outcome | null, gone: Gone) {
    const of = outcome === null ? "arguments" : "result";
    const content = outcome === null ? argumentContent(request) : resultContent(outcome);
    if (content === null) return NOTHING;
    const question = { of, permit, agent, request, target, outcome: outcome?.kind ?? null, content, nowMs: now() } as const;
    const guards = permit.guards.filter((guard) => guard.of.includes(of));
    const verdicts = await Promise.all(
      guards.map(async ({ inspector: name }): Promise<Verdict> => {
        const inspector = inspectors.get(name);
        if (inspector === undefined) return { name, onFailure: "refuse", ...UNKNOWN };
        const answered = await inspector.ask(question, gone);
        const { verdict, reason } = answered.said;
        if (verdict === "failed" && gone?.aborted !== true)
          warn({ inspector: name, of, call_id: request.callId, why: reason }, "a guard gave no verdict");
        return { name, onFailure: inspector.onFailure, ...answered };
      }),
    );
    const inspections = verdicts.map((verdict) => lineOf(verdict, of));
    // Nobody waits any more, and nothing is sent: whatever the guards would have said.
    if (gone?.aborted === true)
      return { inspections, refusal: refuse("request_timeout", {}, "the client left while guards were asked"), shadow: null };
    const refusal = verdicts.map((verdict) => refusalOf(verdict, of, permit)).find((each) => each !== null) ?? null;
    return observes && refusal !== null
      ? { inspections, refusal: null, shadow: shadowOf(refusal) }
      : { inspections, refusal, shadow: null };
  }

  return {
    inspect(permit, agent, request, target, outcome, answer) {
      const of = outcome === null ? "arguments" : "result";
      if (!permit.guards.some((guard) => guard.of.includes(of))) return NOTHING;
      // In older revisions to leave is not to cancel; and what has come back is looked at for the record, whoever is there to read it.
      const gone = outcome === null && request.era === "modern" ? answer.gone : null;
      return ask(permit, agent, request, target, outcome, gone);
    },
  };
}

type Gone = AbortSignal | null;

/** The policies are checked against the configuration when they are read: this is for a hole in that. */
const UNKNOWN: Answered = { said: { verdict: "failed", code: null, reason: "it is not configured" }, digest: null, durationMs: 0 };

function lineOf({ name, said, digest, durationMs }: Verdict, of: InspectionLine["of"]): InspectionLine {
  return { inspector: name, of, verdict: said.verdict, code: said.code, digest, duration_ms: durationMs };
}

/** The caller learns the guard's code, never its name or its reason. */
function refusalOf({ name, said, onFailure }: Verdict, of: InspectionLine["of"], { rule }: Permit): Refusal | null {
  if (said.verdict === "allow" || (said.verdict === "failed" && onFailure === "unsafeAllow")) return null;
  const code = said.verdict === "failed" ? UNAVAILABLE : said.code;
  const does = said.verdict === "failed" ? `gives no verdict on the ${of}` : `refuses the ${of}`;
  const note = said.reason === null ? `${name} ${does}` : `${name} ${does}: ${said.reason}`;
  return refuse("content_refused", { of, ...(code === null ? {} : { code }) }, note, rule);
}

function shadowOf({ refused, rule, note }: Refusal): ShadowVerdict {
  return { mode: "observe", decision: "refuse", reason: refused, rule, note };
}
