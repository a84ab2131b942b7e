/** A filtered list lacks exactly what the agent may not use; every other byte is as the upstream wrote it. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Era, Listed } from "../../src/call/accept/request.ts";
import { finalMessage } from "../../src/call/forward/json-answer.ts";
import { filterList, listMethodOf } from "../../src/call/forward/list-filter.ts";
import { isScanFault, member, scanJson } from "../../src/json.ts";
import { request, requestOf } from "./http-client.ts";

type Kind = { readonly method: string; readonly list: string; readonly kind: Listed["kind"]; readonly key: string };
const KINDS: readonly Kind[] = [
  { method: "tools/list", list: "tools", kind: "tool", key: "name" },
  { method: "prompts/list", list: "prompts", kind: "prompt", key: "name" },
  { method: "resources/list", list: "resources", kind: "resource", key: "uri" },
  { method: "resources/templates/list", list: "resourceTemplates", kind: "resource", key: "uriTemplate" },
];

function filter(text: string, { method }: Kind, era: Era, visible: (target: Listed) => boolean): string | null {
  const bytes = Buffer.from(text);
  const root = scanJson(bytes, { treeDepth: 4 });
  if (isScanFault(root)) throw new Error(`${root.fault} in ${text}`);
  const result = member(root, "result");
  if (result === undefined) throw new Error("no result");
  return filterList(bytes, result, method, era, visible)?.toString() ?? null;
}

/** White space anywhere JSON allows it, escapes where nobody expects them. */
const space = fc.constantFrom("", "", " ", "\n", "\t ", "\r\n");
const quoted = fc
  .tuple(
    fc.string({ unit: "grapheme" }).map((text) => text.replaceAll(/[\ud800-\udfff]/g, "x")),
    fc.boolean(),
  )
  .map(([text, escaped]) =>
    escaped
      ? `"${[...text].map((c) => [...Array(c.length).keys()].map((i) => `\\u${c.charCodeAt(i).toString(16).padStart(4, "0")}`).join("")).join("")}"`
      : JSON.stringify(text),
  );
const leaf = fc.oneof(
  quoted,
  fc.constantFrom("null", "true", "1", "9007199254740993", "-0.10e1", "[]", "{}", '{"tools":[]}', '[{"name":"hidden"}]'),
);
const NAMES = ["a", "b", "get_x", "x.y", "a/b", "A", "hidden"];
const name = fc.oneof(
  fc.constantFrom(...NAMES),
  fc.string({ minLength: 1, maxLength: 4, unit: "grapheme" }).filter((text) => text.isWellFormed()),
);

/** Members in any order, names distinct. */
function objectOf(members: readonly (readonly [string, string])[], gaps: readonly string[]): string {
  const gap = (i: number) => gaps[i % gaps.length] ?? "";
  return `{${members.map(([key, value], i) => `${gap(i)}${JSON.stringify(key)}${gap(i + 1)}:${gap(i + 2)}${value}`).join(",")}${gap(3)}}`;
}

function element(key: string) {
  return fc
    .tuple(
      name,
      fc.uniqueArray(fc.tuple(fc.constantFrom("title", "_meta", "inputSchema", "ünknown", "Name", "description"), leaf), {
        selector: ([k]) => k,
      }),
      fc.array(space, { minLength: 1 }),
      fc.nat(),
    )
    .map(([value, others, gaps, at]) => {
      const members: (readonly [string, string])[] = [...others];
      members.splice(at % (members.length + 1), 0, [key, JSON.stringify(value)]);
      return { name: value, text: objectOf(members, gaps) };
    });
}

const oddElement = fc.constantFrom("null", "7", '"a"', "[]", "{}", '{"name":7}', '{"title":"a"}').map((text) => ({ name: null, text }));

function listing(kind: Kind) {
  const others = fc.uniqueArray(
    fc.tuple(fc.constantFrom("nextCursor", "_meta", "ttlMs", "resultType", "vendor", "Tools", "cacheScope", "1"), leaf),
    { selector: ([k]) => k },
  );
  return fc
    .tuple(
      fc.array(fc.oneof({ weight: 6, arbitrary: element(kind.key) }, { weight: 1, arbitrary: oddElement }), { maxLength: 8 }),
      others,
      fc.array(space, { minLength: 1 }),
      fc.nat(),
    )
    .map(([elements, rest, gaps, at]) => {
      const gap = (i: number) => gaps[i % gaps.length] ?? "";
      const list = `[${elements.map(({ text }, i) => `${gap(i)}${text}${gap(i + 1)}`).join(",")}]`;
      const members: (readonly [string, string])[] = [...rest];
      members.splice(at % (members.length + 1), 0, [kind.list, list]);
      const result = objectOf(members, gaps);
      return { elements, members, result, list, text: `{"jsonrpc":"2.0",${gap(0)}"id":1,"result":${result}}` };
    });
}

/** The tool names of the MCP specification; a policy could not tell others apart. */
const mayBeNamed = (kind: Kind, text: string) => kind.kind !== "tool" || /^[A-Za-z0-9_./-]{1,128}$/.test(text);

for (const kind of KINDS) {
  test(`${kind.method}: exactly what may not be used is gone, in order, and every other byte stays`, () => {
    fc.assert(
      fc.property(
        listing(kind),
        fc.subarray(NAMES),
        fc.boolean(),
        fc.constantFrom<Era>("modern", "legacy"),
        (made, allowed, others, era) => {
          const asked: Listed[] = [];
          const permitted = (text: string) => (NAMES.includes(text) ? allowed.includes(text) : others);
          const got = filter(made.text, kind, era, (target) => {
            asked.push(target);
            return permitted(target.name);
          });
          if (got === null) throw new Error("refused");
          expect(asked.every((target) => target.kind === kind.kind)).toBe(true);

          const kept = made.elements.filter((each) => each.name !== null && mayBeNamed(kind, each.name) && permitted(each.name));
          const list = kept.length === made.elements.length ? made.list : `[${kept.map(({ text }) => text).join(",")}]`;
          const scoped = made.members.map(([key, value]) =>
            key === "cacheScope" && era === "modern" ? '"private"' : key === kind.list ? list : value,
          );
          // The value texts, in their order, joined by what stands between them in the original.
          let expected = made.text;
          let from = made.text.indexOf('"result":') + '"result":'.length + 1;
          for (const [i, [key, value]] of made.members.entries()) {
            from = expected.indexOf(JSON.stringify(key), from) + JSON.stringify(key).length;
            const at = expected.indexOf(value, expected.indexOf(":", from) + 1);
            const replacement = scoped[i] ?? "";
            expected = expected.slice(0, at) + replacement + expected.slice(at + value.length);
            from = at + replacement.length;
          }
          if (era === "modern" && !made.members.some(([key]) => key === "cacheScope"))
            expected = expected.replace('"result":{', '"result":{"cacheScope":"private",');
          expect(got).toBe(expected);
          expect(isScanFault(scanJson(Buffer.from(got), { treeDepth: 1 }))).toBe(false);
          if (era === "modern") expect(JSON.parse(got).result.cacheScope).toBe("private");
        },
      ),
      { numRuns: 300 },
    );
  });
}

const [TOOLS] = KINDS as [Kind];

test.each([
  [
    "nothing may be used",
    () => false,
    '{"result":{"tools":[ {"name":"a"} , {"name":"b"}],"nextCursor":"c"}}',
    '{"result":{"tools":[],"nextCursor":"c"}}',
  ],
  [
    "all may be used",
    () => true,
    '{"result":{"tools":[ {"name":"a"} , {"name":"b"}]}}',
    '{"result":{"tools":[ {"name":"a"} , {"name":"b"}]}}',
  ],
  [
    "one of two by the same name is no other",
    ({ name }: Listed) => name === "a",
    '{"result":{"tools":[{"name":"a","x":1},{"name":"b"},{"name":"a","x":9007199254740993}]}}',
    '{"result":{"tools":[{"name":"a","x":1},{"name":"a","x":9007199254740993}]}}',
  ],
  [
    "a name behind escapes is the name it means",
    ({ name }: Listed) => name !== "hidden",
    '{"result":{"tools":[{"name":"h\\u0069dden"},{"name":"\\u0061"}]}}',
    '{"result":{"tools":[{"name":"\\u0061"}]}}',
  ],
] as const)("%s", (_, visible, given, expected) => {
  expect(filter(given, TOOLS, "legacy", visible)).toBe(expected);
});

test.each([
  ["absent", '{"tools":[]}', '{"cacheScope":"private","tools":[]}'],
  ["public", '{"tools":[],"cacheScope":"public"}', '{"tools":[],"cacheScope":"private"}'],
  ["another kind of value", '{"cacheScope" : {"cacheScope":"public"} ,"tools":[]}', '{"cacheScope" : "private" ,"tools":[]}'],
  [
    "below another member only",
    '{"_meta":{"cacheScope":"public"},"tools":[]}',
    '{"cacheScope":"private","_meta":{"cacheScope":"public"},"tools":[]}',
  ],
])("a modern list says that it is private where its cacheScope was %s", (_, given, expected) => {
  expect(filter(`{"result":${given}}`, TOOLS, "modern", () => true)).toBe(`{"result":${expected}}`);
  expect(filter(`{"result":${given}}`, TOOLS, "legacy", () => true)).toBe(`{"result":${given}}`);
});

test.each([
  "{}",
  '{"tools":{}}',
  '{"tools":null}',
  '{"tools":"a"}',
  '{"prompts":[{"name":"a"}]}',
  '{"Tools":[{"name":"a"}]}',
  "[]",
  "null",
  '"tools"',
])("%s is not the list that was asked for, and does not pass", (result) => {
  expect(filter(`{"result":${result}}`, TOOLS, "modern", () => true)).toBeNull();
  const job = { request: requestOf(request("tools/list")), visible: () => true } as unknown as Parameters<typeof finalMessage>[1];
  expect(finalMessage(Buffer.from(`{"jsonrpc":"2.0","id":1,"result":${result}}`), job)).toHaveProperty("why");
});

test("an error passes as it is: there is no list in it", () => {
  const bytes = Buffer.from('{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no","data":{"tools":[{"name":"a"}]}}}');
  const job = { request: requestOf(request("tools/list")), visible: () => false } as unknown as Parameters<typeof finalMessage>[1];
  expect(finalMessage(bytes, job)).toMatchObject({ bytes });
});

test("a list is known by what is in it, where its request is not", () => {
  for (const { method, list } of KINDS) {
    const root = scanJson(Buffer.from(`{"x":1,"${list}":[]}`), { treeDepth: 2 });
    expect(isScanFault(root) ? null : listMethodOf(root)).toBe(method);
  }
  const other = scanJson(Buffer.from('{"content":[],"tools":{}}'), { treeDepth: 2 });
  expect(isScanFault(other) ? "fault" : listMethodOf(other)).toBeNull();
});

test("a thousand tools with rich schemas pass", () => {
  const tool = (i: number) =>
    `{"name":"t${i}","inputSchema":{"type":"object","properties":{${[...Array(80).keys()].map((p) => `"p${p}":{"type":"string"}`)}}}}`;
  const text = `{"jsonrpc":"2.0","id":1,"result":{"tools":[${[...Array(1_000).keys()].map(tool)}]}}`;
  const job = { request: requestOf(request("tools/list")), visible: ({ name }: Listed) => name === "t7" } as unknown as Parameters<
    typeof finalMessage
  >[1];
  const judged = finalMessage(Buffer.from(text), job);
  expect("why" in judged ? judged.why : judged.bytes.toString()).toBe(
    `{"jsonrpc":"2.0","id":1,"result":{"cacheScope":"private","tools":[${tool(7)}]}}`,
  );
});
