import fc from "fast-check";
import { expect, test } from "vitest";
import { foldsOnto, isScanFault, type JsonNode, knownNames, member, scanJson, splice, stringValue } from "../../src/json.ts";

const scan = (text: string | Buffer, treeDepth = 64) => scanJson(Buffer.isBuffer(text) ? text : Buffer.from(text), { treeDepth });

function tree(text: string, treeDepth = 64): JsonNode {
  const node = scan(text, treeDepth);
  if (isScanFault(node)) throw new Error(`${node.fault} at ${node.at}`);
  return node;
}

function faultOf(text: string | Buffer): string | null {
  const result = scan(text);
  return isScanFault(result) ? result.fault : null;
}

/** What the tree says, put together again. */
function readBack(bytes: Buffer, node: JsonNode): unknown {
  if (node.kind === "array") return node.elements.map((each) => readBack(bytes, each));
  if (node.kind === "object") return Object.fromEntries(node.members.map(({ name, value }) => [name, readBack(bytes, value)]));
  return node.kind === "string" ? stringValue(bytes, node) : JSON.parse(bytes.toString("utf8", node.start, node.end));
}

const spaces = fc.constantFrom("", " ", "\n", "\t\r\n ");
/** Values as text with free space and free escapes, so that more than JSON.stringify's one spelling is met. */
const written: fc.Arbitrary<string> = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.jsonValue({ maxDepth: 1 }).map((value) => JSON.stringify(value)),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
    fc.string({ unit: "grapheme" }).map(escapedAtWill),
    fc.array(fc.tuple(spaces, tie("value"), spaces)).map((each) => `[${each.map((parts) => parts.join("")).join(",")}]`),
    fc
      .uniqueArray(fc.tuple(fc.string(), spaces, tie("value")), { selector: ([name]) => name.replaceAll("\u0000", "") })
      .map(
        (each) =>
          `{${each.map(([name, space, value]) => `${escapedAtWill(name.replaceAll("\u0000", ""))}${space}:${space}${value}`).join(",")}}`,
      ),
  ),
})).value;

function escapedAtWill(text: string): string {
  let quoted = "";
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    quoted += code < 0x20 || code === 0x22 || code === 0x5c || code % 7 === 0 ? `\\u${code.toString(16).padStart(4, "0")}` : text[i];
  }
  // A pair that is half escaped is no pair for a byte scanner, nor is it one for a strict reader.
  return text.isWellFormed() && !/[\ud800-\udfff]/.test(text) ? `"${quoted}"` : JSON.stringify(text);
}

test("whatever is accepted has the value that JSON.parse sees, at the offsets it names", () => {
  fc.assert(
    fc.property(written, spaces, (text, space) => {
      const bytes = Buffer.from(space + text + space);
      const node = scanJson(bytes, { treeDepth: 64 });
      if (isScanFault(node)) throw new Error(`${node.fault} at ${node.at}`);
      expect(bytes.toString("utf8", node.start, node.end)).toBe(text);
      expect(readBack(bytes, node)).toEqual(JSON.parse(text));
    }),
    { numRuns: 500 },
  );
});

test("bytes that were damaged anywhere are refused, or still mean to JSON.parse what the tree says", () => {
  fc.assert(
    fc.property(written, fc.nat(), fc.nat({ max: 255 }), fc.boolean(), (text, at, byte, insert) => {
      const bytes = Buffer.from(text);
      const place = at % (bytes.length + 1);
      const damaged = Buffer.concat([bytes.subarray(0, place), Buffer.from([byte]), bytes.subarray(insert ? place : place + 1)]);
      const node = scanJson(damaged, { treeDepth: 64 });
      if (!isScanFault(node)) expect(readBack(damaged, node)).toEqual(JSON.parse(damaged.toString()));
    }),
    { numRuns: 2000 },
  );
});

test("what JSON.parse refuses is refused", () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'{}[]:,"\\u0aA19.eE+-tfnrul \n\u0000é'), maxLength: 24 }), (text) => {
      let parses = true;
      try {
        JSON.parse(text);
      } catch {
        parses = false;
      }
      if (!parses) expect(faultOf(text)).not.toBeNull();
    }),
    { numRuns: 3000 },
  );
});

const bytesOf = (...parts: (string | number)[]) =>
  Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part) : Buffer.from([part]))));
const many = (count: number) => `{${Array.from({ length: count }, (_, i) => `"k${i}":${i}`).join(",")}}`;

test.each<[string, string | Buffer]>([
  ["nothing", ""],
  ["only space", "  \n"],
  ["a byte order mark", bytesOf(0xef, 0xbb, 0xbf, "{}")],
  ["UTF-16", Buffer.from('{"a":1}', "utf16le")],
  ["a byte that is never UTF-8", bytesOf('{"a":"', 0xff, '"}')],
  ["an overlong slash", bytesOf('{"a":"', 0xc0, 0xaf, '"}')],
  ["an encoded surrogate", bytesOf('{"a":"', 0xed, 0xa0, 0x80, '"}')],
  ["a cut sequence", bytesOf('{"a":"', 0xe2, 0x82, '"}')],
  ["a name twice", '{"a":1,"a":2}'],
  ["a name twice below the tree", '{"a":[{"b":[{"c":1,"c":2}]}]}'],
  ["a name twice, once by escape", '{"method":"ping","m\\u0065thod":"tools/call"}'],
  ["a name twice, both by escape", '{"\\u0061":1,"\\u0061":2}'],
  ["an escaped name before its plain twin", '{"\\u006dethod":1,"method":2}'],
  ["a slash escaped and plain", '{"a/b":1,"a\\/b":2}'],
  ["a name outside ASCII twice", '{"é":1,"\\u00e9":2}'],
  ["a surrogate pair twice", '{"😀":1,"\\ud83d\\ude00":2}'],
  ["an empty name twice", '{"":1,"":2}'],
  ["__proto__ twice", '{"__proto__":1,"__proto__":2}'],
  ["a name twice, far apart", `${many(400).slice(0, -1)},"k0":0}`],
  ["a name twice at the edge of comparing", `${many(16).slice(0, -1)},"k0":0}`],
  ["a name twice by escape, far apart", `${many(400).slice(0, -1)},"\\u006b0":0}`],
  ["NUL in a name", '{"a\\u0000":1}'],
  ["a raw NUL", '"\u0000"'],
  ["a lone high surrogate", '"\\ud800"'],
  ["a lone low surrogate", '"\\udc00"'],
  ["a pair the wrong way round", '"\\udc00\\ud800"'],
  ["a high surrogate before a letter", '"\\ud800\\u0061"'],
  ["a high surrogate before an escape", '"\\ud800\\n"'],
  ["a high surrogate at the end", '"\\ud800'],
  ["depth 65", "[".repeat(65) + "]".repeat(65)],
  ["depth 65 of objects", `${'{"a":'.repeat(65)}1${"}".repeat(65)}`],
  ["depth 100,000", "[".repeat(100_000)],
  ["10,001 members", many(10_001)],
  ["a number beyond all", "1e400"],
  ["a negative number beyond all", "[-1e309]"],
  ["a number beyond all without an exponent", "9".repeat(310)],
  ["a number of 401 characters", `0.${"1".repeat(399)}`],
  ["bytes behind the value", "{} x"],
  ["a second value", "{}{}"],
  ["a NUL behind the value", "{}\u0000"],
  ["a trailing comma in an object", '{"a":1,}'],
  ["a trailing comma in an array", "[1,]"],
  ["only a comma", "[,]"],
  ["a leading comma", "{,}"],
  ["single quotes", "{'a':1}"],
  ["a bare name", "{a:1}"],
  ["a comment", "{/**/}"],
  ["NaN", "NaN"],
  ["Infinity", "[Infinity]"],
  ["hex", "0x10"],
  ["a leading zero", "01"],
  ["a leading zero behind the sign", "-01"],
  ["a leading plus", "+1"],
  ["a bare minus", "-"],
  ["a bare point", ".5"],
  ["a trailing point", "1."],
  ["an exponent without digits", "1e"],
  ["a signed exponent without digits", "1e+"],
  ["half a word", "tru"],
  ["a word too long", "nulll"],
  ["another case", "True"],
  ["a tab in a string", '"a\tb"'],
  ["a line break in a string", '"a\nb"'],
  ["an unknown escape", '"\\x41"'],
  ["a short unicode escape", '"\\u00"'],
  ["an unicode escape with a sign", '"\\u+041"'],
  ["a string without an end", '"abc'],
  ["a backslash at the end", '"abc\\'],
  ["an object without an end", '{"a":1'],
  ["an array without an end", "[1"],
  ["the wrong end", "[1}"],
  ["no colon", '{"a" 1}'],
  ["no value", '{"a":}'],
  ["a form feed as space", "\f{}"],
  ["a no-break space", "\u00a0{}"],
])("%s is refused", (_, text) => {
  expect(faultOf(text)).not.toBeNull();
});

test.each<[string, string]>([
  ["depth 64", "[".repeat(64) + "]".repeat(64)],
  ["10,000 members", many(10_000)],
  ["the largest double", "1.7976931348623157e308"],
  ["an integer of 300 digits", "9".repeat(300)],
  ["a number too small to tell from zero", "1e-400"],
  ["minus zero", "-0"],
  ["an exponent with a sign", "1E+2"],
  ["an escaped pair", '"\\ud83d\\ude00"'],
  ["a raw astral character", '"😀"'],
  ["a noncharacter", '"\\uffff"'],
  ["NUL by escape in a value", '"\\u0000"'],
  ["names of one hash", '{"Aa":1,"BB":2}'],
  ["equal names in different objects", '[{"a":1},{"a":{"a":1}}]'],
  ["names that only look alike", `{"\u00e9":1,"e\u0301":2}`],
])("%s is accepted", (_, text) => {
  expect(faultOf(text)).toBeNull();
});

test("65,536 names of one simple hash cost no more than others", () => {
  // "Aa" and "BB" collide under h * 31 + c, and so do all their combinations.
  const names = Array.from({ length: 65_536 }, (_, i) => Array.from({ length: 16 }, (_, bit) => ((i >> bit) & 1 ? "Aa" : "BB")).join(""));
  const bytes = Buffer.from(`{${names.map((name) => `"${name}":0`).join(",")}}`);
  expect(isScanFault(scanJson(bytes, { treeDepth: 0, keysMax: 1_000_000 }))).toBe(false);
});

test("below the tree's depth nothing is built and everything is judged", () => {
  const node = tree('{"a":{"b":{"c":[1,2]}},"d":[[1]]}', 2);
  expect(member(node, "a")?.members.map(({ name }) => name)).toEqual(["b"]);
  expect(member(member(node, "a") ?? node, "b")).toMatchObject({ kind: "object", members: [], elements: [] });
  expect(member(node, "d")?.elements).toMatchObject([{ kind: "array", elements: [] }]);
  expect(scan('{"a":{"b":{"c":[1,01]}}}', 1)).toEqual({ fault: "a comma or the end of the array is expected", at: 19 });
});

test("a member's start is where its name begins and its value's span is exact", () => {
  const text = '{ "a" : "x\\n" , "b":[ 10 , true ] }';
  const node = tree(text);
  expect(node.members.map(({ name, start, value }) => [name, start, text.slice(value.start, value.end)])).toEqual([
    ["a", 2, '"x\\n"'],
    ["b", 16, "[ 10 , true ]"],
  ]);
  expect(member(node, "b")?.elements.map(({ start, end }) => text.slice(start, end))).toEqual(["10", "true"]);
  expect(stringValue(Buffer.from(text), member(node, "a"))).toBe("x\n");
  expect(stringValue(Buffer.from(text), member(node, "b"))).toBeUndefined();
});

test("__proto__ and constructor are names like any other", () => {
  const node = tree('{"__proto__":{"polluted":1},"constructor":2}');
  expect(node.members.map(({ name }) => name)).toEqual(["__proto__", "constructor"]);
  expect(Object.hasOwn(Object.prototype, "polluted")).toBe(false);
});

test("a large integer keeps every digit in its span", () => {
  const text = '{"id":9007199254740993}';
  const id = member(tree(text), "id");
  expect(text.slice(id?.start, id?.end)).toBe("9007199254740993");
});

test("a splice changes the named bytes and no other", () => {
  const bytes = Buffer.from("0123456789");
  const edit = (start: number, end: number, text: string) => ({ start, end, replacement: Buffer.from(text) });
  expect(splice(bytes, [edit(0, 1, "A"), edit(3, 3, "++"), edit(8, 10, "")]).toString()).toBe("A12++34567");
  expect(splice(bytes, []).equals(bytes)).toBe(true);
  expect(() => splice(bytes, [edit(4, 6, ""), edit(5, 7, "")])).toThrow(RangeError);
});

const known = knownNames(["method", "params", "task", "inputResponses", "taskId"]);

test.each(["Method", "METHOD", "paramſ", "taſK", "tas\u212a", "inputresponses", "InputResponses", "taskID", "task\u0131d", "task\u0130d"])(
  "%s folds onto a known name",
  (name) => {
    expect(foldsOnto(name, known)).toBe(true);
  },
);

test.each(["method", "inputResponses", "taskId", "methods", "meth\u043ed", "ｍethod", "method ", "", "__proto__"])(
  "%s does not fold onto another name",
  (name) => {
    expect(foldsOnto(name, known)).toBe(false);
  },
);

test("elements count, whether a tree is made of them or not", () => {
  const many = (count: number) => `[${Array(count).fill("0").join(",")}]`;
  expect(faultOf(many(10_000))).toBe(null);
  expect(faultOf(many(10_001))).toBe("more than 10000 elements");
  const below = (count: number) => scan(`{"a":{"b":${many(count)}}}`, 1);
  expect(isScanFault(below(100_000))).toBe(false);
  expect(below(100_001)).toMatchObject({ fault: "more than 100000 elements" });
});
