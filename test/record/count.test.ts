import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { countTexts, piecesOf } from "../../src/call/record/count.ts";
import { openTokenCounter } from "../../src/call/record/token-counter.ts";

const faults: string[] = [];
const counter = openTokenCounter((message) => faults.push(message));
afterAll(() => counter.close());

/** Counted once with o200k_base; a change of the tokenizer or of the rules must change `TOKEN_DEFINITION_VERSION`. */
const GOLDEN: readonly [string, number][] = [
  ["", 0],
  ["hello world", 2],
  ["search_tickets", 3],
  ['{"query":"open tickets of ada@example.com","limit":20}', 14],
  ["Grüße aus Köln", 5],
  ["東京都千代田区", 5],
  ["👩‍👩‍👧‍👦", 11],
  ["<|endoftext|>", 7],
  ["a\n\n\tb  c", 5],
];

test.each(GOLDEN)("%j has %i tokens", async (text, tokens) => {
  expect(await counter.count([text], [])).toEqual({ input: tokens, output: 0, source: "estimated" });
});

test("input and output are counted apart, text by text", async () => {
  expect(await counter.count(["search_tickets", "{}"], ["hello world", "hello world"])).toEqual({
    input: 4,
    output: 4,
    source: "estimated",
  });
});

test("a short text and a long one are counted by the same rules, here or in the thread", async () => {
  const line = "The quick brown fox jumps over the lazy dog. ";
  const { input: short } = await counter.count([line.repeat(20)], []);
  const { input: long } = await counter.count([line.repeat(200)], []);
  expect(long).toBe(short * 10 - 9);
});

test("texts that break other counters have a bounded count", async () => {
  expect(await counter.count([], ["_".repeat(80_000)])).toEqual({ input: 0, output: 1_250, source: "estimated" });
  const special = await counter.count(["<|endoftext|><|endofprompt|>"], ["\ud800 lone \udfff", "\u0000\ufffd"]);
  expect(special.input).toBeGreaterThan(0);
  expect(special.output).toBeGreaterThan(0);
});

test("above 256 KB the count is sampled, says so, and is near the whole", async () => {
  const line = '{"id":12345,"title":"A ticket about nothing","state":"open"}\n';
  const text = line.repeat(Math.ceil(400_000 / line.length));
  const whole = countTexts([line.repeat(1_000)], []).input / 1_000;
  const { input, source } = await counter.count([text], []);
  expect(source).toBe("estimated:sampled");
  expect(Math.abs(input / ((whole * text.length) / line.length) - 1)).toBeLessThan(0.02);
});

test("cheap text where samples used to fall hides nothing, and many texts cost no more than one", () => {
  const whole = Array.from({ length: 60_000 }, (_, i) => `w${(i * 7919) % 10_007} `).join("");
  const honest = countTexts([whole], []).input;
  const step = Math.floor((whole.length - 8_192) / 15);
  let cheated = whole;
  for (let i = 0; i < 16; i++) cheated = cheated.slice(0, i * step) + "=".repeat(8_192) + cheated.slice(i * step + 8_192);
  // A third of the text is cheap now, and no more than that is missed.
  expect(countTexts([cheated], []).input).toBeGreaterThan(honest * 0.4);
  const texts = whole.match(/.{1,2000}/gs) ?? [];
  const { input, source } = countTexts(texts, []);
  expect(source).toBe("estimated:sampled");
  expect(Math.abs(input / honest - 1)).toBeLessThan(0.1);
});

test("text is cut only within long runs, never inside a surrogate pair, and nothing is lost", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.constantFrom("😀", " ", "\n", "x"), fc.string({ unit: "binary" })), { maxLength: 900 }), (parts) => {
      const text = parts.join("");
      const pieces = piecesOf(text);
      expect(pieces.join("")).toBe(text);
      for (const piece of pieces) for (const [run] of piece.matchAll(/\S+/g)) expect(run.length).toBeLessThanOrEqual(256);
      if (text.isWellFormed()) for (const piece of pieces) expect(piece.isWellFormed()).toBe(true);
    }),
    { numRuns: 300 },
  );
  expect(piecesOf("😀".repeat(400)).every((piece) => piece.isWellFormed())).toBe(true);
});

test("where the thread cannot answer, the number of bytes stands in, and says so", async () => {
  const lost = openTokenCounter(() => {});
  await lost.close();
  const long = "Grüße ".repeat(200);
  expect(await lost.count([long], ["abc"])).toEqual({ input: 1_600, output: 3, source: "estimated:bytes" });
  expect(faults).toEqual([]);
});
