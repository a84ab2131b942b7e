/** What a server says of its tools is read while policies load: whatever it is, it is read to an end. */
import { expect, test } from "vitest";
import type { Known } from "../../src/call/authorize/known.ts";
import { loadPolicies } from "../../src/policy-load.ts";
import { folderOf, SERVERS } from "./fixture.ts";

const properties = (count: number, of: object) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`p${i}`, of]));
const text = { type: "string" };
const chain = (length: number, wide: number) =>
  Object.fromEntries(
    Array.from({ length }, (_, i) => [
      `d${i + 1}`,
      i === 0 ? { type: "object", properties: { a: text } } : { allOf: Array(wide).fill({ $ref: `#/$defs/d${i}` }) },
    ]),
  );

const HOSTILE: readonly [what: string, schema: object][] = [
  [
    "forty properties that are each the same recursive schema",
    {
      type: "object",
      required: ["a"],
      properties: { a: text, ...properties(40, { $ref: "#/$defs/n" }) },
      $defs: { n: { type: "object", properties: properties(40, { $ref: "#/$defs/n" }) } },
    },
  ],
  ["a chain in which each part refers to the one before many times", { $ref: "#/$defs/d30", $defs: chain(30, 8) }],
  ["a schema that is itself", { $ref: "#" }],
  ["branches of branches", { anyOf: [{ $ref: "#" }, { anyOf: [{ $ref: "#" }, { type: "object", properties: { a: text } }] }] }],
  [
    "five thousand values beside five hundred properties",
    { type: "object", properties: { a: text, b: { enum: Array.from({ length: 5_000 }, (_, i) => i) }, ...properties(500, text) } },
  ],
  ["more values than are evaluated", { type: "object", required: ["a"], properties: { a: text, b: { const: Array(20_001).fill(1) } } }],
];

test.each(HOSTILE)("%s keeps no policy from counting", (_, inputSchema) => {
  const tools = [{ server: "crm", tool: "read", inputSchema }];
  const known: Known = {
    tools: new Map([["crm", tools]]),
    registered: { agent: new Set(), team: new Set(), workflow: new Set(), customer: new Set() },
  };
  const folder = folderOf({
    "a.yaml": "apiVersion: tollgate/v1\nentitlements: [{ name: a, permit: [crm/read], when: \"args.a != 'x'\" }]\n",
  });
  const loaded = loadPolicies(folder, SERVERS, "enforce", { known });
  expect(loaded).toHaveProperty("policySet");
  expect(loaded.notes.filter(({ message }) => message.includes("could not be compared"))).toEqual([]);
});
