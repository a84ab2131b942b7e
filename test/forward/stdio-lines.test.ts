import fc from "fast-check";
import { expect, test } from "vitest";
import { passedOn } from "../../src/call/forward/stdio/environment.ts";
import { idOfEnds, idOfInvalid } from "../../src/call/forward/stdio/json-line.ts";
import { createLineSplitter } from "../../src/call/forward/stdio/line-splitter.ts";
import { createStderrLog } from "../../src/call/forward/stdio/stderr-log.ts";

test("lines are the same however the bytes are cut into chunks", () => {
  const line = fc.string({ unit: fc.constantFrom("a", "é", "漢", "{", " "), maxLength: 12 });
  fc.assert(
    fc.property(fc.array(line, { maxLength: 8 }), fc.array(fc.nat(40), { maxLength: 8 }), fc.boolean(), (texts, cuts, crlf) => {
      const bytes = Buffer.from(texts.map((text) => text + (crlf ? "\r\n" : "\n")).join(""));
      const splitter = createLineSplitter(1_000);
      const borders = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).toSorted((a, b) => a - b), bytes.length];
      const lines = borders.slice(1).flatMap((end, i) => splitter.push(bytes.subarray(borders[i], end)));
      expect(lines.map((each) => each.bytes.toString())).toEqual(texts.filter((text) => text !== ""));
      expect(lines.some((each) => each.cut)).toBe(false);
    }),
  );
});

test("a line that is too long keeps its two ends, and the next is whole", () => {
  const splitter = createLineSplitter(1_000);
  const long = Buffer.from(`HEAD${"x".repeat(100_000)}TAIL`);
  for (let at = 0; at < long.length; at += 777) expect(splitter.push(long.subarray(at, at + 777))).toEqual([]);
  const [cut, whole] = splitter.push(Buffer.from("\nnext\n"));
  expect(cut?.cut).toBe(true);
  expect(cut?.bytes.length).toBeLessThan(1_000);
  expect(cut?.bytes.toString()).toMatch(/^HEADx+TAIL$/);
  expect(whole).toEqual({ bytes: Buffer.from("next"), cut: false });
});

test.each([
  ['{"jsonrpc":"2.0","id":12,"result":{"content":"aaaa', 12],
  ['{"id": 13, "jsonrpc":"2.0","result":{"content":"aaaa', 13],
  ['{"result":{"content":["aaaa"]},"jsonrpc":"2.0","id":14}', 14],
  ['{"result":{"content":["aaaa"]},"id":15,"jsonrpc":"2.0"}', 15],
  ['{"result":{"id":16},"jsonrpc":"2.0","id":"x"}', Number.NaN],
  ['{"jsonrpc":"2.0","result":{"id":17,"content":"aaaa', Number.NaN],
])("the ends of a long line tell whose it was: %s", (ends, id) => {
  expect(idOfEnds(Buffer.from(ends))).toBe(id);
});

test.each([
  ['{"jsonrpc":"2.0","id":12,"result":{"a":1,"a":2}}', 12],
  ['{"jsonrpc":"2.0","id":"12","result":{"a":1,"a":2}}', Number.NaN],
  ['{"id":12,"method":"x","params":{"a":1,"a":2}}', Number.NaN],
  ["null", Number.NaN],
  ["Listening on stdio!", Number.NaN],
])("an invalid line fails the request that it names, if any: %s", (line, id) => {
  expect(idOfInvalid(Buffer.from(line))).toBe(id);
});

test("a server sees six variables of the gateway's environment, and no exported function", () => {
  const own = { PATH: "/bin", HOME: "/root", TICKETS_SECRET: "s3cret", SHELL: "() { :; }", NODE_OPTIONS: "--inspect" };
  expect(passedOn(own, "linux")).toEqual({ PATH: "/bin", HOME: "/root" });
});

test("a server's stderr is logged short, without the values it was given, and a bounded number of lines at a time", () => {
  let nowMs = 1;
  const written: string[] = [];
  const log = createStderrLog(
    { KEY: "sk-12345678", DEBUG: "1" },
    () => nowMs,
    (text) => written.push(text),
  );
  const say = (text: string, cut = false) => log({ bytes: Buffer.from(text), cut });
  say("using sk-12345678 1");
  say("sk-12345678".repeat(800), true);
  say("y".repeat(1_000));
  expect(written).toEqual(["using [redacted] 1", "[a line that is too long]", "y".repeat(256)]);
  for (let i = 0; i < 100; i++) say("again");
  expect(written).toHaveLength(50);
  nowMs += 10_000;
  say("later");
  expect(written.slice(50)).toEqual(["[53 more lines]", "later"]);
});
