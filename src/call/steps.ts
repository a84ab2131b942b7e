/** Pure. The verbs of the life of a call, in its order, as the composition root hands them over. */
import type { ServerName } from "../ids.ts";
import type { Refusal } from "../refusal.ts";
import type { Answer } from "./accept/answer.ts";
import type { McpRequest } from "./accept/request.ts";
import type { Agent } from "./authenticate/agent.ts";
import type { Approved, Inspected, Judged, Permit, Recognised, Unapproved } from "./authorize/permit.ts";
import type { Reservation } from "./budget/reservation.ts";
import type { Round } from "./budget/rounds.ts";
import type { IssuedToken } from "./exchange/issued-token.ts";
import type { Outcome } from "./forward/outcome.ts";
import type { ForwardJob, IsVisible } from "./forward/upstream.ts";
import type { Scribe } from "./record/compose.ts";
import type { Journal } from "./record/journal.ts";
import type { Measured } from "./record/measures.ts";
import type { Story } from "./record/story.ts";

export type Admitted = Refusal | Outcome | null;

export type Steps = {
  authenticate(authorization: string | null, server: ServerName, nowMs: number): Agent | Refusal | Promise<Agent | Refusal>;
  /** A request to several servers as one becomes one to the server that it means. */
  address(agent: Agent, request: McpRequest): McpRequest | Refusal | Promise<McpRequest | Refusal>;
  authorize(agent: Agent, request: McpRequest): Judged;
  /**
   * What is looked at before a person is asked and anything is held: rates, calls at once, and whether this is a retry. Null: it goes
   * on. An outcome: what the call that this one repeats was answered with. `leave` takes back what is counted until the call ends.
   */
  admit(story: Story, agent: Agent, request: McpRequest, permit: Permit, answer: Answer): Admitted | Promise<Admitted>;
  /** Where the permit asks for a person's yes: the call as it goes on with it, or the refusal that tells how to wait for it. */
  approve(agent: Agent, request: McpRequest, permit: Permit, round: Round): Approved | Unapproved | Promise<Approved | Unapproved>;
  /** The call has ended: what a person approved and was then not sent may be called again, and its place is free. Never fails. */
  leave(story: Story): Promise<void> | void;
  /** The request with its server's own session and event id; refused where they belong to another principal or route, or to nobody. */
  openSession(agent: Agent, request: McpRequest): McpRequest | Refusal;
  /** The answer asks for input, or is a task: the requests that bring the one and follow the other belong to the same call. */
  expectRound(agent: Agent, request: McpRequest, round: Round, outcome: Outcome): void;
  /** What the agent may see of a list, which a resumed stream may bring as well; null: the answer holds none. */
  visible(agent: Agent, request: McpRequest): IsVisible | null;
  /** The called tool by its definition, which has to be the one that counts. A tool that its server does not list is unknown, whatever a pattern reaches. */
  recognise(agent: Agent, request: McpRequest, permit: Permit, issued: IssuedToken): Promise<Recognised | Refusal>;
  /** Asks the guards that the permit names: about the arguments, or about what the server answered. */
  inspect(permit: Permit, agent: Agent, request: McpRequest, outcome: Outcome | null, answer: Answer): Inspected | Promise<Inspected>;
  /** Which round of which call: a server may ask for input, or answer with a task, and further requests follow. */
  round(agent: Agent, request: McpRequest): Round;
  /** Where policies are only observed nothing is refused, and the story tells what would have been. */
  hold(story: Story, permit: Permit, request: McpRequest): Reservation | Refusal | Promise<Reservation | Refusal>;
  /** `toolName`: of a call of one tool, whose token may be narrower. */
  exchange(agent: Agent, server: ServerName, toolName?: string | null): IssuedToken | Refusal | Promise<IssuedToken | Refusal>;
  forward(job: ForwardJob): Promise<Outcome>;
  /** What a sent call came to, by meter: its tokens, its price, and what the configuration counts of it. */
  measure(request: McpRequest, round: Round, outcome: Outcome): Promise<Measured>;
  /** The outcome with what it cost in its last piece, where agents are to be told. */
  receipted(story: Story): Outcome | null;
  journal: Journal;
  scribe: Scribe;
  /** Ends the job: a stream when the gateway drains, a call when it gives up waiting for it. */
  stopped(agent: Agent, request: McpRequest): AbortSignal;
  /** Metrics and log of a finished story; a fault is named there and nowhere else. */
  tell(story: Story, fault: unknown): void;
};
