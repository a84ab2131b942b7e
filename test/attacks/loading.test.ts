import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { loadAttack } from "./attack.ts";

const WHOLE = `id: M99
title: a title
story: A story that is long enough to say what somebody who does this would gain by it, and how.
source: a test
era: legacy
request: { message: { method: ping } }
expect: { reason: tool_unknown, shows: [a] }
`;

function load(text: string, name = "m99-example.yaml") {
  const file = join(mkdtempSync(join(tmpdir(), "tollgate-attack-")), name);
  writeFileSync(file, text);
  return loadAttack(file);
}

test("a file is an attack; a variant replaces what it names and keeps the rest", () => {
  const variants = "variants:\n  first: {}\n  another one: { request: { body: x }, expect: { status: 400 } }\n";
  const { scenes } = load(WHOLE + variants);
  expect(scenes.map(({ name }) => name)).toEqual(["m99-example.first", "m99-example.another-one"]);
  expect(scenes[0]).toMatchObject({ request: { era: "legacy", message: { method: "ping" } }, expect: { reason: "tool_unknown" } });
  expect(scenes[1]).toMatchObject({ request: { era: "legacy", body: "x" }, expect: { status: 400, shows: ["a"] } });
  expect(scenes[1]?.expect.reason).toBe(undefined);
});

test.each([
  ["an unknown key", `${WHOLE}reach: nothing\n`],
  ["an unknown key in the request", WHOLE.replace("message:", "massage:")],
  ["an unknown key in a variant", `${WHOLE}variants:\n  first: { except: { status: 400 } }\n`],
  ["a reason that the contract does not know", WHOLE.replace("tool_unknown", "tool_unknwon")],
  ["neither a reason nor a status", WHOLE.replace("reason: tool_unknown, ", "")],
  ["two bodies", WHOLE.replace("message:", "body: x, message:")],
  ["a story that tells nothing", WHOLE.replace(/story: .*/, "story: short")],
  ["the name of another attack", WHOLE.replace("M99", "M98")],
  ["a key twice", `${WHOLE}era: modern\n`],
])("%s: the file is named and refused", (_, text) => {
  expect(() => load(text)).toThrow("m99-example.yaml");
});

/** All rows of the catalogue's sections; of OAuth those that concern machines. */
const M = [1, 2, 3, 4, 6, 7, 8, 9, 11, 13, 14, 15, 16, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 34, 36, 37, 38, 39, 40, 41];
const M_MORE = [42, 43, 45, 46, 47, 48, 49, 50, 52, 53, 54, 55, 57, 58, 59];
const H = [1, 2, 4, 6, 7, 8, 9, 10, 11, 13, 14, 15, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 29, 30];
const J = [1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, 22, 24, 25, 26, 27, 28, 30, 31, 32];
const O = [11, 12, 13, 14, 15, 25, 26, 28, 29, 31, 32, 33, 35, 36, 43, 44, 45, 46, 48, 49];
const A = [1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 15, 16, 17, 18];
const idOf = (letter: string) => (number: number) => `${letter}${String(number).padStart(2, "0")}`;

test("the table has every row of the catalogue, names every file, and says why where there is none", () => {
  const table = readFileSync(join(import.meta.dirname, "README.md"), "utf8");
  const rows = [...table.matchAll(/^\| ([MHJOA][0-9]{2}) \| (.*?) \| (.*?) ?\|$/gm)].map(([, id = "", files = "", note = ""]) => ({
    id,
    files: files === "-" ? [] : files.split("<br>"),
    note,
  }));
  expect(rows.map(({ id }) => id)).toEqual([
    ...[...M, ...M_MORE].map(idOf("M")),
    ...H.map(idOf("H")),
    ...J.map(idOf("J")),
    ...O.map(idOf("O")),
    ...A.map(idOf("A")),
  ]);
  const corpus = readdirSync(join(import.meta.dirname, "corpus")).map((file) => file.replace(/\.yaml$/, ""));
  for (const { id, files, note } of rows) {
    expect([id, files]).toEqual([id, corpus.filter((name) => name.startsWith(`${id.toLowerCase()}-`)).toSorted()]);
    expect([id, files.length > 0 || note.length > 10]).toEqual([id, true]);
  }
  expect(rows.flatMap(({ files }) => files).length).toBe(corpus.length);
});
