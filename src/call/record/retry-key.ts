/** Pure. A key that a caller gave its call: what is kept of it, and what whoever brings it again hears. */
import type { CallId } from "../../ids.ts";
import type { Settlement } from "../budget/reservation.ts";
import type { Story } from "./story.ts";

/** Digests under the gateway's own key: no key of a caller, and no argument, can be read from them. */
export type KeyClaim = {
  /** Of whose key it is and of its text. */
  readonly key: string;
  /** Of method, server, target and arguments. */
  readonly fingerprint: string;
  /** The request that brings it. */
  readonly callId: CallId;
  readonly agent: string;
  /** Digest of the person on whose behalf it is called; null: of nobody. */
  readonly subject: string | null;
  readonly atMs: number;
  /** Until when it is kept. */
  readonly expiresMs: number;
  /** Until when the result is kept for whoever brings the key again; null: it is not. */
  readonly replayUntilMs: number | null;
};

/** A call that has a key. */
export type KeyRun = { readonly key: string; readonly runId: CallId };

/** How a key's call ended: not at all (nothing was sent), with a question that the client answers, or for good. */
export type KeyEnding = {
  readonly key: string;
  readonly state: "free" | "waiting" | "settled";
  /** Sealed; null: not kept. */
  readonly result: string | null;
};

/** What a store knows of a key whose call is not under way. */
export type KnownKey = {
  readonly fingerprint: string;
  /** The first request with this key. */
  readonly callId: CallId;
  /** The request that it is about: the first one, or the latest that brought what the server had asked for. */
  readonly runId: CallId;
  /** `open`: the gateway stopped before its settlement was written. */
  readonly state: "open" | "waiting" | "settled";
  readonly expiresMs: number;
  readonly replayUntilMs: number | null;
  readonly result: string | null;
  /** Of the request that ended it; null: its record is not there. */
  readonly record: { readonly outcome: string | null; readonly settlement: string | null; readonly usage: Usage | null } | null;
};
type Usage = Readonly<Record<string, number>>;

export type Begun =
  /** Nobody else has it: the call goes on, and `end` has to follow. */
  | { readonly kind: "begun" }
  | { readonly kind: "mismatch"; readonly callId: CallId }
  | { readonly kind: "in_flight"; readonly callId: CallId }
  | { readonly kind: "ended"; readonly known: KnownKey };

/**
 * Who may call with which key. What makes a key last is written by the journal itself, with the permit and the settlement of its call.
 * Rejects where the store cannot be asked: the call is then refused.
 */
export interface RetryKeys {
  /** Of two at once exactly one begins. */
  begin(claim: KeyClaim): Promise<Begun>;
  /** The call is over, whatever became of it. */
  end(claim: KeyClaim): void;
}

/** Larger results are not kept: whoever asks again hears how the call ended. One row of the journal. */
export const REPLAY_BYTES_MAX = 65_536;

export type KeptAnswer = { readonly member: "result" | "error"; readonly text: string };

/** Undefined: the call has no key. `seal` hides what is kept. */
export function endingOf(
  { retry, outcome }: Story,
  { state, withheld }: Pick<Settlement, "state" | "withheld">,
  seal: (key: string, answer: KeptAnswer) => string,
): KeyEnding | undefined {
  if (retry === null) return undefined;
  const { key, replayUntilMs } = retry;
  if (state === "voided") return { key, state: "free", result: null };
  const delivered = state === "posted" && withheld === null && outcome !== null && outcome.refusal === null;
  if (delivered && outcome.kind === "input_required") return { key, state: "waiting", result: null };
  const answer = delivered && replayUntilMs !== null ? outcome.result : null;
  if (answer === null || answer.length > REPLAY_BYTES_MAX) return { key, state: "settled", result: null };
  const member = outcome?.kind === "protocol_error" ? "error" : "result";
  return { key, state: "settled", result: seal(key, { member, text: answer.toString() }) };
}
