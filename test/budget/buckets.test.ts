import fc from "fast-check";
import { expect, test } from "vitest";
import type { Rate } from "../../src/call/authorize/permit.ts";
import { delayMs, fill, fullBucket, take, tokensIn } from "../../src/call/budget/bucket.ts";

const rateOf = (count: number, perMs: number, burst = count): Rate => ({ text: `${count}/${perMs}ms`, count, perMs, burst });

/** Times of asking against one rate, and whether each was let in. */
function lettingIn(rate: Rate, times: readonly number[]): boolean[] {
  const bucket = fullBucket(rate, times[0] ?? 0);
  return times.map((atMs) => {
    fill(bucket, rate, atMs);
    const passes = delayMs(bucket, rate, 1) === 0;
    if (passes) take(bucket);
    return passes;
  });
}

test.each<[what: string, rate: Rate, times: number[], passes: string]>([
  ["60 a minute, 2 at once", rateOf(60, 60_000, 2), [0, 0, 0, 999, 1_000, 1_000, 3_000, 3_000, 3_000], "++--+-++-"],
  ["3 a second", rateOf(3, 1_000), [0, 0, 0, 0, 333, 334, 666, 667, 1_000], "+++--+-++"],
  ["7 a minute, 1 at once", rateOf(7, 60_000, 1), [0, 8_571, 8_572, 17_143, 17_144], "+-+-+"],
  ["1 a day", rateOf(1, 86_400_000), [0, 86_399_999, 86_400_000], "+-+"],
  ["a clock that goes back", rateOf(1, 1_000), [5_000, 4_000, 0, 5_999, 6_000, 2_000, 7_000], "+---+-+"],
  ["a clock that goes back takes no token away", rateOf(2, 1_000), [5_000, 0, 0], "++-"],
  ["a clock that stands still", rateOf(2, 1_000), [9, 9, 9, 9], "++--"],
  ["a pause of three years", rateOf(1_000_000, 1_000, 3), [0, 0, 0, 1e11, 1e11, 1e11, 1e11], "++++++-"],
])("%s", (_, rate, times, passes) => {
  expect(
    lettingIn(rate, times)
      .map((each) => (each ? "+" : "-"))
      .join(""),
  ).toBe(passes);
});

/** A call may come unless, since some earlier one inclusive, more would have come than the burst and what the time brought. */
function naive({ count, perMs, burst }: Rate, times: readonly number[]): boolean[] {
  const admitted: number[] = [];
  return times.map((atMs) => {
    const passes = admitted.every((since, i) => (admitted.length - i + 1) * perMs <= burst * perMs + (atMs - since) * count);
    if (passes) admitted.push(atMs);
    return passes;
  });
}

test("a bucket lets in exactly what a list of all earlier times lets in, for any rate", () => {
  const rates = fc
    .record({ count: fc.integer({ min: 1, max: 50 }), perMs: fc.constantFrom(7, 1_000, 60_000), burst: fc.integer({ min: 1, max: 12 }) })
    .map(({ count, perMs, burst }) => rateOf(count, perMs, burst));
  const steps = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 20_000 })), { maxLength: 60 });
  fc.assert(
    fc.property(rates, steps, (rate, gaps) => {
      let atMs = 0;
      const times = gaps.map((gap) => {
        atMs += gap;
        return atMs;
      });
      expect(lettingIn(rate, times)).toEqual(naive(rate, times));
    }),
    { numRuns: 300 },
  );
});

test("whoever waits as long as told gets the token, and not a millisecond earlier", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 999 }),
      fc.constantFrom(1_000, 60_000, 3_600_000),
      fc.integer({ min: 1, max: 5 }),
      (count, perMs, burst) => {
        const rate = rateOf(count, perMs, burst);
        const bucket = fullBucket(rate, 0);
        for (let i = 0; i < burst; i++) take(bucket);
        const waitMs = delayMs(bucket, rate, 1);
        fill(bucket, rate, waitMs - 1);
        expect(tokensIn(bucket)).toBe(0);
        fill(bucket, rate, waitMs);
        expect(tokensIn(bucket)).toBe(1);
      },
    ),
  );
});

test("a rate that changes stays as full as it was, in whole tokens", () => {
  const bucket = fullBucket(rateOf(10, 1_000), 0);
  for (let i = 0; i < 7; i++) take(bucket);
  fill(bucket, rateOf(100, 60_000), 0);
  expect(tokensIn(bucket)).toBe(30);
  fill(bucket, rateOf(100, 60_000, 50), 0);
  expect(tokensIn(bucket)).toBe(15);
  fill(bucket, rateOf(2, 1_000), 0);
  expect(tokensIn(bucket)).toBe(0);
  const full = fullBucket(rateOf(10, 1_000), 0);
  fill(full, rateOf(1_000, 3_600_000), 0);
  expect(tokensIn(full)).toBe(1_000);
});

test("a token that is not there cannot be taken", () => {
  const bucket = fullBucket(rateOf(1, 1_000), 0);
  take(bucket);
  expect(() => take(bucket)).toThrow("not there");
});
