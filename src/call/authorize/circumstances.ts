/** Pure. What a condition may look at: the caller, the server and the very bytes that the server would get. */
import type { McpRequest, Target } from "../accept/request.ts";
import type { Agent } from "../authenticate/agent.ts";
import { type CallArguments, readArguments } from "./call-arguments.ts";
import { type PolicySet, viewOf } from "./candidates.ts";
import type { Circumstances } from "./condition.ts";
import { lapseOf } from "./idle.ts";
import type { Offered } from "./pins.ts";
import type { Rule } from "./policy-set.ts";

/** What a decision looks at. `target` is the reference's for a completion. */
export type Asked = Pick<McpRequest, "server" | "course" | "method" | "target" | "body" | "argumentsSpan">;

/** What conditions may look at, and what else there is to know of a rule. */
export type Situation = Circumstances & {
  /** What rules with pins are held against; null: the server has not been read. */
  readonly offered: Offered | null;
  /** Why a rule counts no more for this agent; null: it does. */
  lapse(rule: Rule): string | null;
};

export function circumstancesOf(
  policySet: PolicySet,
  agent: Agent,
  server: string,
  target: Target,
  nowMs: number,
  asked: Asked | null,
): Situation {
  let args: CallArguments | null | undefined;
  return {
    agent: viewOf(policySet, agent).agent,
    subject: agent.subject,
    customer: agent.profile.customer,
    server,
    region: policySet.regions.get(server) ?? "",
    tool: target.name,
    now: new Date(nowMs),
    offered: policySet.offered(server, target.kind === "tool" ? target.name : null),
    claims: () => claimsOf(agent),
    lapse: (rule) => (rule.idleMs === null ? null : lapseOf(rule, policySet.lastUses, agent.profile.id, nowMs)),
    args() {
      if (args === undefined) args = asked === null ? null : readOrNull(asked);
      return args;
    },
  };
}

/** Read once for each verified token, as arguments are: integers exact, objects as maps. */
const claimsRead = new WeakMap<Agent, CallArguments | null>();

function claimsOf(agent: Agent): CallArguments | null {
  let claims = claimsRead.get(agent);
  if (claims === undefined) {
    claims = argumentsOrNull(Buffer.from(JSON.stringify(agent.claims)));
    claimsRead.set(agent, claims);
  }
  return claims;
}

const EMPTY_OBJECT = Buffer.from("{}");

/** What is judged is what the upstream gets: the received bytes. */
function readOrNull({ body, argumentsSpan }: Asked): CallArguments | null {
  return argumentsOrNull(argumentsSpan === null ? EMPTY_OBJECT : body.subarray(argumentsSpan.start, argumentsSpan.end));
}

function argumentsOrNull(bytes: Uint8Array): CallArguments | null {
  try {
    return readArguments(bytes);
  } catch {
    return null;
  }
}
