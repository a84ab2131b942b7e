import { expect, test } from "vitest";
import { digestOfText } from "../../src/call/record/digest.ts";
import { eventLeaf, leafHash, rootOf } from "../../src/call/record/merkle.ts";
import { provenBy } from "../../src/call/record/tlog-proof.ts";

const EVENTS = ['{"id":"evt_1"}', '{"id":"evt_2"}'];
const [FIRST, SECOND] = EVENTS.map((event) => eventLeaf(digestOfText(event))) as [Buffer, Buffer];
const RECORD = JSON.stringify({ sequence: 0, details: { events: 2, events_root: rootOf([FIRST, SECOND]).toString("hex") } });
const PATH = leafOf(FIRST);

function leafOf(leaf: Buffer): string {
  return leaf.toString("hex");
}

function verdict(batch: string) {
  const root = rootOf([leafHash(Buffer.from(RECORD))]);
  return provenBy({ extra: `${RECORD}\n${EVENTS[1]}\n${batch}`, index: 0, path: [], checkpoint: { size: 1, root } as never });
}

test("an event of a batch is proved by one text alone", () => {
  expect(verdict(`1 2 ${PATH}`)).toMatchObject({ event: { id: "evt_2" } });
  for (const index of ["1.0", "0x1", "01", "+1", "1e0"]) expect(verdict(`${index} 2 ${PATH}`)).toContain("not the one");
  for (const size of ["2.0", "0x2", "02"]) expect(verdict(`1 ${size} ${PATH}`)).toContain("not the one");
  for (const more of ["", "anything"]) expect(verdict(`1 2 ${PATH}\n${more}`)).toContain("which nothing proves");
});
