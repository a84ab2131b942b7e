import { beforeAll, expect, test } from "vitest";
import { createFrontier } from "../../src/call/record/frontier.ts";
import { EMPTY_ROOT, inclusionPath, leafHash, nodeHash, rootOf, verifyInclusion } from "../../src/call/record/merkle.ts";
import { recordRow } from "../../src/call/record/rows.ts";
import { openStore, type Store } from "../../src/call/record/store.ts";
import { FAN_OUT, treeReader } from "../../src/call/record/tree.ts";
import { createWriter } from "../../src/call/record/writer.ts";
import { auditOf, newCallId } from "./entries.ts";
import { newFolder, SOURCE } from "./journal-fixture.ts";

const hex = (text: string) => Buffer.from(text, "hex");
/** The eight leaves of the reference vectors of RFC 6962 implementations, and the roots of their first n. */
const VECTOR_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"].map(hex);
const VECTOR_ROOTS: Readonly<Record<number, string>> = {
  1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
  2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
  3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
  8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
};

test("hashes and roots are those of the reference vectors", () => {
  expect(EMPTY_ROOT.toString("hex")).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  for (const [size, root] of Object.entries(VECTOR_ROOTS))
    expect(rootOf(VECTOR_LEAVES.slice(0, Number(size)).map(leafHash)).toString("hex")).toBe(root);
});

test("a leaf can never pass for a node", () => {
  const [a, b] = [leafHash(Buffer.from("a")), leafHash(Buffer.from("b"))];
  expect(leafHash(Buffer.concat([a, b]))).not.toEqual(nodeHash(a, b));
});

test("for every tree of up to 70 leaves: each leaf's path leads to the root, and to no other place, leaf, size or root", () => {
  const leaves = Array.from({ length: 70 }, (_, i) => leafHash(Buffer.from([i])));
  const frontier = createFrontier();
  expect(frontier.root()).toEqual(EMPTY_ROOT);
  for (let size = 1; size <= leaves.length; size++) {
    const leafNow = leaves[size - 1] ?? EMPTY_ROOT;
    frontier.add(leafNow);
    const root = rootOf(leaves.slice(0, size));
    expect(frontier.root()).toEqual(root);
    for (let index = 0; index < size; index++) {
      const path = inclusionPath(index, size, (start, end) => rootOf(leaves.slice(start, end)));
      const leaf = leaves[index] ?? EMPTY_ROOT;
      expect(verifyInclusion(leaf, index, size, path, root)).toBe(true);
      expect(verifyInclusion(leaf, size, size, path, root)).toBe(false);
      expect(verifyInclusion(EMPTY_ROOT, index, size, path, root)).toBe(false);
      expect(verifyInclusion(leaf, index, size, path, EMPTY_ROOT)).toBe(false);
      if (size > 1) {
        expect(verifyInclusion(leaf, (index + 1) % size, size, path, root)).toBe(false);
        expect(verifyInclusion(leaf, index, size, path.slice(1), root)).toBe(false);
        expect(verifyInclusion(leaf, index, size, [...path, EMPTY_ROOT], root)).toBe(false);
      }
    }
  }
});

let store: Store;
const SIZE = FAN_OUT * FAN_OUT + FAN_OUT + 3;
const leaves: Buffer[] = [];

/** Leaves straight into the table: 66,000 whole records would take a while. */
beforeAll(() => {
  store = openStore(newFolder(), true);
  const insert = store.prepare("INSERT INTO audit_record (sequence, kind, leaf, body) VALUES (?, 'call', ?, '')");
  const insertNode = store.prepare("INSERT INTO merkle_node (level, number, hash) VALUES (?, ?, ?)");
  store.transaction(() => {
    for (let i = 0; i < SIZE; i++) {
      const leaf = leafHash(Buffer.from(String(i)));
      leaves.push(leaf);
      insert.run(i, leaf);
    }
    for (let number = 0; number < FAN_OUT + 1; number++)
      insertNode.run(1, number, rootOf(leaves.slice(number * FAN_OUT, (number + 1) * FAN_OUT)));
    insertNode.run(2, 0, rootOf(leaves.slice(0, FAN_OUT * FAN_OUT)));
  })();
});

test("the root and the proofs of 66,000 leaves come from stored roots, and read at most 256 rows a level", () => {
  const tree = treeReader(store);
  const root = rootOf(leaves);
  expect(tree.root()).toEqual(root);
  for (const index of [0, 1, 255, 256, 32_767, 32_768, 65_535, 65_536, 65_791, 65_792, SIZE - 1]) {
    const proof = tree.proof(index);
    expect(proof).toMatchObject({ leaf_index: index, tree_size: SIZE, root: root.toString("hex") });
    expect(verifyInclusion(leaves[index] ?? EMPTY_ROOT, index, SIZE, proof.hashes.map(hex), root)).toBe(true);
  }
});

test("the writer stores a root for every complete run, and goes on with the open one after a restart", () => {
  const dir = newFolder();
  const row = () => recordRow(auditOf(newCallId(), [], null, 0), SOURCE);
  const first = openStore(dir, true);
  createWriter(first).writeAll(Array.from({ length: FAN_OUT + 100 }, row));
  first.close();
  const second = openStore(dir, true);
  const writer = createWriter(second);
  expect(() => writer.writeAll([row(), row(), { ...row(), recordKind: null as unknown as string }])).toThrow("NOT NULL");
  writer.writeAll(Array.from({ length: FAN_OUT }, row));
  const stored = second.prepare("SELECT leaf FROM audit_record ORDER BY sequence").pluck().all() as Buffer[];
  expect(stored).toHaveLength(2 * FAN_OUT + 100);
  expect(second.prepare("SELECT hash FROM merkle_node ORDER BY number").pluck().all()).toEqual([
    rootOf(stored.slice(0, FAN_OUT)),
    rootOf(stored.slice(FAN_OUT, 2 * FAN_OUT)),
  ]);
  expect(treeReader(second).root()).toEqual(rootOf(stored));
  second.close();
});
