/** Pure. What is known of a call so far: each step adds its noun, and the records are written from it. */
import type { CallId } from "../../ids.ts";
import { isRefusal, type Refusal } from "../../refusal.ts";
import type { Era, McpRequest } from "../accept/request.ts";
import type { Agent } from "../authenticate/agent.ts";
import type {
  ApprovalLine,
  Approved,
  Inspected,
  InspectionLine,
  Judged,
  Permit,
  Recognised,
  ShadowVerdict,
  Unapproved,
} from "../authorize/permit.ts";
import type { Reservation, Settlement, Usage } from "../budget/reservation.ts";
import type { Round } from "../budget/rounds.ts";
import type { IssuedToken } from "../exchange/issued-token.ts";
import type { Outcome } from "../forward/outcome.ts";
import type { Digest } from "./audit-record.ts";
import type { Measured, Measures } from "./measures.ts";
import type { KeyClaim } from "./retry-key.ts";
import type { TokenCount } from "./token-count.ts";

/** What every request has, also one that was refused before it could be parsed. */
export type Opening = {
  readonly callId: CallId;
  readonly receivedAtMs: number;
  readonly receivedMonoMs: number;
  readonly httpMethod: string;
  readonly server: string | null;
  readonly method: string | null;
  readonly era: Era | null;
  readonly revision: string | null;
  readonly idText: string | null;
  readonly userAgent: string | null;
};

export type Story = {
  readonly opening: Opening;
  /** Null where the request was refused before it could be parsed. A view's becomes the one to the server that it means. */
  request: McpRequest | null;
  agent: Agent | null;
  /** Also of a refusal: by which version of the policies, and what those that are only tried would have said. */
  judged: Judged | null;
  permit: Permit | null;
  /** The yes that let it through, the question that it waits for, or the no; null: nobody had to be asked. */
  approval: ApprovalLine | null;
  inspections: readonly InspectionLine[];
  /** Which round of which logical call this request is. */
  round: Round;
  /** The key that its caller gave it; null: none, or it is not this call's to hold. */
  retry: KeyClaim | null;
  /** For our own record: whose answer it was given. */
  note: string | null;
  /** Hex SHA-256 of the tool's definition. */
  definition: string | null;
  reservation: Reservation | null;
  issued: IssuedToken | null;
  outcome: Outcome | null;
  subjectDigest: Digest | null;
  argumentsDigest: Digest | null;
  resultDigest: Digest | null;
  tokenCount: TokenCount | null;
  measures: Measures | null;
  usage: Usage | null;
  settlement: Settlement | null;
  refusal: Refusal | null;
  /** A bug of the gateway ended it. */
  fault: boolean;
};

export function openStory(opening: Opening, request: McpRequest | null): Story {
  return {
    opening,
    request,
    agent: null,
    judged: null,
    permit: null,
    approval: null,
    inspections: [],
    round: { logicalCallId: opening.callId, number: 1, calls: 1, key: null, task: null },
    retry: null,
    note: null,
    definition: null,
    reservation: null,
    issued: null,
    outcome: null,
    subjectDigest: null,
    argumentsDigest: null,
    resultDigest: null,
    tokenCount: null,
    measures: null,
    usage: null,
    settlement: null,
    refusal: null,
    fault: false,
  };
}

export function judgedIn(story: Story, judged: Judged): Permit | Refusal {
  const { verdict } = judged;
  story.judged = judged;
  story.permit = isRefusal(verdict) ? null : verdict;
  return verdict;
}

export function approvedIn(story: Story, approved: Approved | Unapproved): Approved | Unapproved {
  story.approval = approved.approval ?? null;
  return approved;
}

/** What pins would have said stands beside what policies would have, where those had nothing to say. */
export function recognisedIn(story: Story, recognised: Recognised | Refusal): Recognised | Refusal {
  if (isRefusal(recognised)) return recognised;
  story.definition = recognised.definition;
  if (recognised.shadow !== null && story.judged?.shadow === null) story.judged = { ...story.judged, shadow: recognised.shadow };
  return recognised;
}

/** Nothing can refuse it now but the journal and the client's leaving. */
export function leavingWith(story: Story, issued: IssuedToken, reservation: Reservation, argumentsDigest: Digest): void {
  story.issued = issued;
  story.reservation = reservation;
  story.argumentsDigest = argumentsDigest;
}

/** What the call is charged. */
export function measuredIn(story: Story, { tokenCount, measures, usage }: Measured): Usage {
  story.tokenCount = tokenCount;
  story.measures = measures;
  story.usage = usage;
  return usage;
}

/** A limit would have refused it, where policies are only observed. What was said before stands. */
export function limitedIn(story: Story, shadow: ShadowVerdict): void {
  if (story.judged !== null && story.judged.shadow?.decision !== "refuse") story.judged = { ...story.judged, shadow };
}

export function inspectedIn(story: Story, { inspections, refusal, shadow }: Inspected): Refusal | null {
  if (inspections.length > 0) story.inspections = [...story.inspections, ...inspections];
  if (shadow !== null && story.judged !== null && story.judged.shadow?.decision !== "refuse") story.judged = { ...story.judged, shadow };
  return refusal;
}
