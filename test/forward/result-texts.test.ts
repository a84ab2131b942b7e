/** Counted is what a model reads, once; whatever shape a result has, counting it is no fault. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { textsOf } from "../../src/call/forward/result-texts.ts";

const texts = (result: unknown) => textsOf(Buffer.from(JSON.stringify(result)));

test.each<[string, unknown, string[]]>([
  [
    "text blocks, in order",
    {
      content: [
        { type: "text", text: "a" },
        { type: "text", text: "b" },
      ],
    },
    ["a", "b"],
  ],
  [
    "no image, no audio, no blob",
    {
      content: [
        { type: "image", data: "AAAA" },
        { type: "audio", data: "AAAA" },
      ],
      contents: [{ uri: "x", blob: "AAAA" }],
    },
    [],
  ],
  ["text of embedded resources", { content: [{ type: "resource", resource: { uri: "x", text: "inside" } }] }, ["inside"]],
  ["a link by its address", { content: [{ type: "resource_link", uri: "file:///x", name: "x" }] }, ["file:///x"]],
  [
    "contents of resources",
    {
      contents: [
        { uri: "x", text: "r1" },
        { uri: "y", text: "r2" },
      ],
    },
    ["r1", "r2"],
  ],
  ["messages of prompts", { messages: [{ role: "user", content: { type: "text", text: "p" } }] }, ["p"]],
  ["completion values", { completion: { values: ["v1", 7, "v2"] } }, ["v1", "v2"]],
  ["structured content", { structuredContent: { sum: 3 } }, ['{"sum":3}']],
  [
    "structured content that a text repeats in other spacing, once",
    { content: [{ type: "text", text: '{ "sum" : 3 }' }], structuredContent: { sum: 3 } },
    ['{ "sum" : 3 }'],
  ],
  [
    "structured content beside another text",
    { content: [{ type: "text", text: "three" }], structuredContent: { sum: 3 } },
    ["three", '{"sum":3}'],
  ],
  ["the message of an error", { code: -32602, message: "no such tool" }, ["no such tool"]],
])("counted: %s", (_, result, expected) => {
  expect(texts(result)).toEqual(expected);
});

test("no shape is a fault", () => {
  const name = fc.constantFrom(
    "content",
    "contents",
    "messages",
    "structuredContent",
    "message",
    "completion",
    "resource",
    "text",
    "values",
    "type",
    "uri",
  );
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { depthSize: "small" },
      fc.constantFrom(null, true, 0, "text", "resource_link"),
      fc.array(tie("any"), { maxLength: 4 }),
      fc.dictionary(name, tie("any"), { maxKeys: 5 }),
    ),
  })).any;
  fc.assert(
    fc.property(value, (result) => {
      expect(texts(result).every((text) => typeof text === "string")).toBe(true);
    }),
    { numRuns: 2_000 },
  );
});
