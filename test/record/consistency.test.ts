import fc from "fast-check";
import { expect, test } from "vitest";
import { consistencyPath, verifyConsistency } from "../../src/call/record/consistency.ts";
import { leafHash, rootOf } from "../../src/call/record/merkle.ts";

const leaves = Array.from({ length: 70 }, (_, i) => leafHash(Buffer.from(`leaf ${i}`)));
const hashOf = (start: number, end: number) => rootOf(leaves.slice(start, end));
const head = (size: number) => ({ size, root: hashOf(0, size) });

test("every two sizes of a log are shown to be one log", () => {
  for (let to = 0; to <= leaves.length; to++)
    for (let from = 0; from <= to; from++)
      expect(verifyConsistency(head(from), head(to), consistencyPath(from, to, hashOf)), `${from} to ${to}`).toBe(true);
});

test("the proof of RFC 6962's example has the hashes that it names", () => {
  // Section 2.1.3: PROOF(3, D[7]) = [c, d, g, l], PROOF(4, D[7]) = [l], PROOF(6, D[7]) = [i, j, k].
  expect(consistencyPath(3, 7, hashOf)).toEqual([hashOf(2, 3), hashOf(3, 4), hashOf(0, 2), hashOf(4, 7)]);
  expect(consistencyPath(4, 7, hashOf)).toEqual([hashOf(4, 7)]);
  expect(consistencyPath(6, 7, hashOf)).toEqual([hashOf(4, 6), hashOf(6, 7), hashOf(0, 4)]);
});

test("a log with one other record is not shown to be the same, whatever proof is made for it", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 69 }), fc.integer({ min: 1, max: 70 }), fc.nat(), (a, b, at) => {
      const [from, to] = a < b ? [a, b] : [b, a];
      fc.pre(from < to);
      const forged = leaves.slice();
      forged[at % from] = leafHash(Buffer.from("forged"));
      const forgedHash = (start: number, end: number) => rootOf(forged.slice(start, end));
      const now = { size: to, root: forgedHash(0, to) };
      expect(verifyConsistency(head(from), now, consistencyPath(from, to, forgedHash))).toBe(false);
      expect(verifyConsistency(head(from), now, consistencyPath(from, to, hashOf))).toBe(false);
    }),
  );
});

test("a proof with one hash less, more or changed shows nothing", () => {
  for (const [from, to] of [
    [3, 7],
    [6, 7],
    [20, 70],
    [64, 70],
    [33, 64],
  ] as const) {
    const path = consistencyPath(from, to, hashOf);
    const wrong = [path.slice(1), path.slice(0, -1), [...path, leaves[0] ?? Buffer.alloc(32)], path.toReversed()];
    for (let i = 0; i < path.length; i++) wrong.push(path.map((hash, at) => (at === i ? leafHash(hash) : hash)));
    for (const bad of wrong) {
      if (bad.length === path.length && bad.every((hash, i) => path[i]?.equals(hash))) continue;
      expect(verifyConsistency(head(from), head(to), bad), `${from} to ${to}`).toBe(false);
    }
  }
});
