/** What every store of keys promises, whatever it is made of. */
import { expect, test } from "vitest";
import type { KeyClaim, KeyEnding, RetryKeys } from "../../src/call/record/retry-key.ts";
import type { CallId } from "../../src/ids.ts";
import { NOW_MS, newCallId } from "./entries.ts";

export type KeyStage = {
  readonly keys: RetryKeys;
  /** The permit of the call is durable: it may run. */
  permit(claim: KeyClaim): Promise<void>;
  /** Its settlement is. */
  settle(claim: KeyClaim, ending: Omit<KeyEnding, "key">): Promise<void>;
  /** As after kill -9 and a new start. */
  crash(): Promise<void>;
  /** That time comes, where a store goes by a clock of its own. */
  until?(atMs: number): Promise<void>;
  /** Keys that are over go, and those of an agent. */
  drop(which: { expiredMs: number } | { agent: string } | { subject: string }): Promise<void>;
};

const DAY_MS = 86_400_000;
let last = 0;

export function claimOf(more: Partial<KeyClaim> = {}): KeyClaim {
  last += 1;
  const claim = { key: `key-${last}`, fingerprint: "print", callId: newCallId(), agent: "agt_1", subject: null, atMs: NOW_MS };
  return { ...claim, expiresMs: NOW_MS + DAY_MS, replayUntilMs: null, ...more };
}

const retryOf = (claim: KeyClaim, more: Partial<KeyClaim> = {}): KeyClaim => ({ ...claim, callId: newCallId(), ...more });
const SETTLED = { state: "settled", result: null } as const;

export function describeRetryKeys(open: () => Promise<KeyStage>): void {
  const run = async (stage: KeyStage, claim: KeyClaim, ending: Omit<KeyEnding, "key">): Promise<void> => {
    expect(await stage.keys.begin(claim)).toEqual({ kind: "begun" });
    await stage.permit(claim);
    await stage.settle(claim, ending);
    stage.keys.end(claim);
  };
  const settledAs = (callId: CallId, state = "settled") => ({ kind: "ended", known: { callId, state } });

  test("of many at once with one key exactly one begins", async () => {
    const { keys } = await open();
    const claim = claimOf();
    const begun = await Promise.all(Array.from({ length: 20 }, (_, i) => keys.begin(i === 0 ? claim : retryOf(claim))));
    expect(begun.map(({ kind }) => kind).sort()).toEqual(["begun", ...Array(19).fill("in_flight")].sort());
    expect(await keys.begin(retryOf(claim, { fingerprint: "other" }))).toEqual({ kind: "mismatch", callId: claim.callId });
  });

  test("a key that has ended stays the first call's, over a restart too, until its time is over", async () => {
    const stage = await open();
    const claim = claimOf();
    await run(stage, claim, SETTLED);
    for (const restart of [false, true]) {
      if (restart) await stage.crash();
      expect(await stage.keys.begin(retryOf(claim))).toMatchObject(settledAs(claim.callId));
      expect(await stage.keys.begin(retryOf(claim, { fingerprint: "other" }))).toEqual({ kind: "mismatch", callId: claim.callId });
    }
    await stage.drop({ expiredMs: NOW_MS + DAY_MS - 1 });
    expect(await stage.keys.begin(retryOf(claim))).toMatchObject(settledAs(claim.callId));
    await stage.until?.(NOW_MS + DAY_MS);
    const later = retryOf(claim, { atMs: NOW_MS + DAY_MS, expiresMs: NOW_MS + 2 * DAY_MS });
    await run(stage, later, SETTLED);
    expect(await stage.keys.begin(retryOf(later))).toMatchObject(settledAs(later.callId));
  });

  test("a call that was permitted and not settled has run, as far as anybody may know", async () => {
    const stage = await open();
    const claim = claimOf();
    await stage.keys.begin(claim);
    await stage.permit(claim);
    await stage.crash();
    expect(await stage.keys.begin(retryOf(claim))).toMatchObject(settledAs(claim.callId, "open"));
  });

  test("a call under way keeps its key, also where its time was over when it began", async () => {
    const stage = await open();
    // A clock that is days behind has written it; then it is set right.
    const claim = claimOf({ atMs: NOW_MS - 3 * DAY_MS, expiresMs: NOW_MS - 2 * DAY_MS });
    expect(await stage.keys.begin(claim)).toEqual({ kind: "begun" });
    await stage.permit(claim);
    await stage.drop({ expiredMs: NOW_MS });
    await stage.settle(claim, SETTLED);
    stage.keys.end(claim);
    expect(await stage.keys.begin(retryOf(claim))).toMatchObject(settledAs(claim.callId));
  });

  test("a call that was not permitted, or of which nothing was sent, leaves its key free", async () => {
    const stage = await open();
    const unsent = claimOf();
    expect(await stage.keys.begin(unsent)).toEqual({ kind: "begun" });
    stage.keys.end(unsent);
    await run(stage, retryOf(unsent), { state: "free", result: null });
    await stage.crash();
    // Nothing of it is left: it may be any call's now.
    const another = retryOf(unsent, { fingerprint: "other" });
    await run(stage, another, SETTLED);
    expect(await stage.keys.begin(retryOf(another))).toMatchObject(settledAs(another.callId));
  });

  test("a call that waits for its client goes on with its key, is the first one's, and waits again where nothing was sent", async () => {
    const stage = await open();
    const first = claimOf();
    await run(stage, first, { state: "waiting", result: null });
    expect(await stage.keys.begin(retryOf(first, { fingerprint: "other" }))).toMatchObject({ kind: "mismatch" });
    await run(stage, retryOf(first), { state: "free", result: null });
    await stage.crash();
    await run(stage, retryOf(first), SETTLED);
    expect(await stage.keys.begin(retryOf(first))).toMatchObject(settledAs(first.callId));
  });

  test("a result is kept as it was handed over, for its own time", async () => {
    const stage = await open();
    const claim = claimOf({ replayUntilMs: NOW_MS + 1_000 });
    await run(stage, claim, { state: "settled", result: "sealed" });
    expect(await stage.keys.begin(retryOf(claim))).toMatchObject({ known: { result: "sealed", replayUntilMs: NOW_MS + 1_000 } });
    await stage.drop({ expiredMs: NOW_MS + 1_000 });
    expect(await stage.keys.begin(retryOf(claim))).toMatchObject({ known: { result: null, state: "settled" } });
  });

  test("keys go with their agent and with their person, and nobody else's do", async () => {
    const stage = await open();
    const [theirs, hers, others] = [claimOf({ agent: "agt_2" }), claimOf({ subject: "s1" }), claimOf({ subject: "s2" })];
    for (const claim of [theirs, hers, others]) await run(stage, claim, SETTLED);
    await stage.drop({ agent: "agt_2" });
    await stage.drop({ subject: "s1" });
    for (const claim of [theirs, hers]) expect(await stage.keys.begin(retryOf(claim))).toEqual({ kind: "begun" });
    expect(await stage.keys.begin(retryOf(others))).toMatchObject(settledAs(others.callId));
  });
}
