/** Events are cut at their borders wherever the network cut the bytes, and pass as they came. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { createEventCutter, messageEvent, type SseEvent, withData, withId } from "../../src/call/forward/sse.ts";

const MAX = 65_536;

function cut(chunks: readonly Buffer[], max = MAX): { events: SseEvent[]; rest: number; oversized: boolean } {
  const cutter = createEventCutter(max);
  const events = chunks.flatMap((chunk) => cutter.push(chunk));
  return { events, rest: cutter.rest, oversized: cutter.oversized };
}

function said({ events }: { events: readonly SseEvent[] }): string[] {
  return events.flatMap(({ data }) => (data === null ? [] : [data.toString()]));
}

const STREAM = [
  "\ufeff: a comment first",
  "",
  "id: 1",
  "retry: 500",
  "data:",
  "",
  "event: message",
  'data: {"a":',
  "data: 1}",
  "",
  "data",
  "",
  "data:no space",
  "data:  two spaces",
  "",
  ": keep-alive",
  "",
  "datax: not data",
  "Data: nor this",
  " data: nor this",
  "",
  "data: naïve 🚀",
  "id",
  "",
  "",
];
const SAID = ["", '{"a":\n1}', "", "no space\n two spaces", "naïve 🚀"];

for (const [name, end] of [
  ["LF", "\n"],
  ["CR", "\r"],
  ["CRLF", "\r\n"],
] as const) {
  const bytes = Buffer.from(STREAM.join(end));
  const unmarked = bytes.subarray(Buffer.byteLength("\ufeff"));

  test(`${name}: every split at two places gives the same events and loses no byte but the mark`, () => {
    for (let i = 0; i <= bytes.length; i++) {
      for (let j = i; j <= bytes.length; j += 7) {
        const got = cut([bytes.subarray(0, i), bytes.subarray(i, j), bytes.subarray(j)]);
        expect(said(got)).toEqual(SAID);
        expect(Buffer.concat(got.events.map((event) => event.bytes)).equals(unmarked)).toBe(true);
        expect(got.rest).toBe(0);
      }
    }
  });

  test(`${name}: byte by byte, an event is there as soon as its blank line is`, () => {
    const cutter = createEventCutter(MAX);
    const text = Buffer.from(`data: x${end}${end}`);
    const counts = [...text].map((byte) => cutter.push(Buffer.from([byte])).filter(({ data }) => data !== null).length);
    expect(counts.lastIndexOf(1)).toBe(name === "CRLF" ? text.length - 2 : text.length - 1);
    expect(counts.reduce((a, b) => a + b)).toBe(1);
  });
}

test("ids are seen, with and without a value", () => {
  expect(cut([Buffer.from("id: 1\ndata: a\n\nid\n\ndata: id: 1\n\nidx: 1\ndata: b\n\n")]).events.map(({ id }) => id)).toEqual([
    "1",
    "",
    null,
    null,
  ]);
});

test("an event under another id is the same event otherwise, whatever its line ends are", () => {
  const [event] = cut([Buffer.from("\ufeffid: 1\r\nevent: message\r\nid: 2\r\ndata: a\r\ndata: b\r\nretry: 5\r\n\r\n")]).events;
  if (event === undefined) throw new Error("no event");
  const other = withId(event, "x.2");
  expect(other.bytes.toString()).toBe("id: x.2\nevent: message\nid: x.2\ndata: a\ndata: b\nretry: 5\n\n");
  expect([event.id, other.id, other.data?.toString()]).toEqual(["2", "x.2", "a\nb"]);
  expect(withData(other, Buffer.from("c")).toString()).toBe("id: x.2\nevent: message\nid: x.2\nretry: 5\ndata: c\n\n");
});

test("a byte order mark counts at the beginning of the stream only", () => {
  expect(said(cut([Buffer.from("\ufeffdata: a\n\n\ufeffdata: b\n\n")]))).toEqual(["a"]);
});

test("an event names its type, by its last event line", () => {
  const types = cut([Buffer.from("data: a\n\nevent: ping\nevent: message\ndata: b\n\nevent:ping\ndata: c\n\nevent\ndata: d\n\n")]).events;
  expect(types.map(({ type }) => type)).toEqual(["", "message", "ping", ""]);
});

test("half an event at the end of a stream is a rest, never an event", () => {
  for (const half of ["data: x", "data: x\n", "data: x\r", "data: x\r\n", ": c", "event: message\ndata: 1\n"]) {
    const { events, rest } = cut([Buffer.from(`data: whole\n\n${half}`)]);
    expect(said({ events })).toEqual(["whole"]);
    expect(rest).toBe(half.length);
  }
});

test("an event of exactly the limit passes, one byte more does not, whether it ends or not", () => {
  const event = (length: number) => Buffer.from(`data: ${"x".repeat(length - 8)}\n\n`);
  const whole = cut([event(100)], 100);
  expect([whole.events.length, whole.oversized]).toEqual([1, false]);
  for (const chunks of [[event(101)], [event(101).subarray(0, 50), event(101).subarray(50)], [event(200).subarray(0, 101)]]) {
    const over = cut(chunks, 100);
    expect([over.events.length, over.oversized]).toEqual([0, true]);
  }
});

test("events before one that is too large still come, none after it does, and nothing more is kept", () => {
  const cutter = createEventCutter(20);
  expect(cutter.push(Buffer.from(`data: first\n\ndata: ${"x".repeat(50)}\n\ndata: third\n\n`)).map(({ data }) => `${data}`)).toEqual([
    "first",
  ]);
  expect(cutter.oversized).toBe(true);
  expect(cutter.push(Buffer.from("data: fourth\n\n"))).toEqual([]);
  expect(cutter.rest).toBe(0);
});

test("a large event in single bytes costs by its length, not by its square", () => {
  // Joined anew with each of them, 60,000 chunks would copy 1.8 GB; counted is what was really copied.
  let copied = 0;
  const { copy } = Buffer.prototype;
  const { concat } = Buffer;
  Buffer.prototype.copy = function (this: Buffer, ...args: Parameters<typeof copy>) {
    const count = copy.apply(this, args);
    copied += count;
    return count;
  };
  Buffer.concat = (...args) => {
    const joined = concat(...args);
    copied += joined.length;
    return joined;
  };
  try {
    const cutter = createEventCutter(MAX);
    const bytes = Buffer.from(`data: ${"x".repeat(60_000)}\n\n`);
    let events = 0;
    for (let i = 0; i < bytes.length; i++) events += cutter.push(bytes.subarray(i, i + 1)).length;
    expect(events).toBe(1);
  } finally {
    Buffer.prototype.copy = copy;
    Buffer.concat = concat;
  }
  expect(copied).toBeLessThan(1_000_000);
});

test("what a stream says does not depend on how its bytes were cut", () => {
  const line = fc.constantFrom("data: x", "data:", "id: 1", ": c", "event: message", "", "", "retry: 1", "data: é");
  const end = fc.constantFrom("\n", "\r", "\r\n");
  fc.assert(
    fc.property(fc.array(fc.tuple(line, end), { maxLength: 30 }), fc.array(fc.nat(200), { maxLength: 20 }), (lines, places) => {
      const bytes = Buffer.from(lines.flat().join(""));
      const chunks: Buffer[] = [];
      let from = 0;
      for (const place of [...places, bytes.length].toSorted((a, b) => a - b)) {
        chunks.push(bytes.subarray(from, place));
        from = Math.min(bytes.length, place);
      }
      const pieces = cut(chunks);
      expect(said(pieces)).toEqual(said(cut([bytes])));
      expect(Buffer.concat(pieces.events.map((event) => event.bytes)).length + pieces.rest).toBe(bytes.length);
    }),
    { numRuns: 500 },
  );
});

test("an event with other data keeps its other lines, and says the new data only", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), (text) => {
      const [event] = cut([Buffer.from("id: 7\r\nevent: message\r\ndata: old\r\ndata: older\r\nretry: 5\r\n\r\n")]).events;
      if (event === undefined) throw new Error("no event");
      const [again, ...more] = cut([withData(event, Buffer.from(text))]).events;
      expect(more).toEqual([]);
      expect(again?.data?.toString()).toBe(text.replaceAll(/\r\n|\r|\n/g, "\n"));
      expect(again?.bytes.toString()).toMatch(/^id: 7\nevent: message\nretry: 5\ndata: /);
    }),
  );
});

test("an event of our own is one event, whatever line ends its JSON has", () => {
  const json = '{"a":\r\n1,\r"b":\n2}';
  expect(said(cut([messageEvent(Buffer.from(json))]))).toEqual(['{"a":\n1,\n"b":\n2}']);
});
