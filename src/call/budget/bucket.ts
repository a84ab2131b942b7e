/** Pure. The arithmetic of one rate: a bucket of tokens that fills with time, in whole numbers, by a clock that may stand still but never turns back. */
import type { Rate } from "../authorize/permit.ts";

/** `level` counts parts of which `perMs` make one token, so that every millisecond brings exactly `count` of them. */
export type Bucket = { level: number; perMs: number; burst: number; atMs: number };

export function fullBucket(rate: Rate, nowMs: number): Bucket {
  return { level: rate.burst * rate.perMs, perMs: rate.perMs, burst: rate.burst, atMs: nowMs };
}

/**
 * `nowMs`: whole monotonic milliseconds. An earlier one than before brings nothing and takes nothing. Where the policies have changed
 * the rate since, it stays as full as it was, in whole tokens.
 */
export function fill(bucket: Bucket, rate: Rate, nowMs: number): void {
  if (bucket.perMs !== rate.perMs || bucket.burst !== rate.burst) {
    bucket.level = Math.floor((bucket.level * rate.burst) / (bucket.burst * bucket.perMs)) * rate.perMs;
    bucket.perMs = rate.perMs;
    bucket.burst = rate.burst;
  }
  const elapsedMs = Math.max(0, nowMs - bucket.atMs);
  bucket.atMs += elapsedMs;
  // Beyond 2^53 the product is no longer exact, and far beyond what the bucket holds.
  bucket.level = Math.min(rate.burst * rate.perMs, bucket.level + elapsedMs * rate.count);
}

/** How long until so many tokens are there, in whole milliseconds; 0: now. More than the burst are never there at once. */
export function delayMs({ level }: Bucket, rate: Rate, tokens: number): number {
  return Math.ceil(Math.max(0, tokens * rate.perMs - level) / rate.count);
}

export function take(bucket: Bucket): void {
  if (bucket.level < bucket.perMs) throw new Error("a token that is not there was taken");
  bucket.level -= bucket.perMs;
}

export function tokensIn({ level, perMs }: Bucket): number {
  return Math.floor(level / perMs);
}

export function isFull({ level }: Bucket, rate: Rate): boolean {
  return level >= rate.burst * rate.perMs;
}
