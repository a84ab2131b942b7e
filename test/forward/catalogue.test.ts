/** The catalogue asks once for all who share a credential, forgets when told, and never lets unknown names through to the upstream in a flood. */
import { expect, test } from "vitest";
import { createCatalogue, type ToolListing } from "../../src/call/forward/catalogue.ts";
import type { Definition } from "../../src/call/forward/upstream.ts";
import { type Refusal, refuse } from "../../src/refusal.ts";

function shelf(listing: ToolListing | Refusal = [{ name: "echo", description: "one" }]) {
  const clock = { nowMs: 1_000 };
  const catalogue = createCatalogue(() => clock.nowMs);
  const source = { listing, reads: 0 };
  const read = async () => {
    source.reads++;
    return "refused" in source.listing ? source.listing : { tools: source.listing, version: null };
  };
  const find = (name: string, key = "shared") => catalogue.find(key, name, read);
  return { clock, catalogue, source, find };
}

const sha256 = (found: Definition | null | Refusal) => (found !== null && "sha256" in found ? found.sha256 : null);

test("a known tool is found without asking again, for five minutes", async () => {
  const { clock, source, find } = shelf();
  expect(await find("echo")).toMatchObject({ name: "echo" });
  clock.nowMs += 299_999;
  await find("echo");
  expect(source.reads).toBe(1);
  clock.nowMs += 1;
  await find("echo");
  expect(source.reads).toBe(2);
});

test("a hundred calls at once read the list once", async () => {
  const { source, find } = shelf();
  const found = await Promise.all(Array.from({ length: 100 }, () => find("echo")));
  expect(new Set(found.map(sha256)).size).toBe(1);
  expect(source.reads).toBe(1);
});

test("other credentials see their own list", async () => {
  const { source, find } = shelf();
  await find("echo", "alice");
  source.listing = [{ name: "other" }];
  expect(await find("other", "bob")).toMatchObject({ name: "other" });
  expect(await find("echo", "alice")).toMatchObject({ name: "echo" });
  expect(await find("echo", "bob")).toBeNull();
});

test("an unknown name reads once more, and then not again for a second", async () => {
  const { clock, source, find } = shelf();
  await find("echo");
  clock.nowMs += 2_000;
  for (let i = 0; i < 50; i++) expect(await find(`no${i}`)).toBeNull();
  expect(source.reads).toBe(2);
  source.listing = [{ name: "echo" }, { name: "new" }];
  clock.nowMs += 1_000;
  expect(await find("new")).toMatchObject({ name: "new" });
  expect(source.reads).toBe(3);
});

test("what cannot be read is a refusal, and is asked again", async () => {
  const { source, find } = shelf(refuse("upstream_unreachable"));
  expect(await find("echo")).toMatchObject({ refused: "upstream_unreachable" });
  source.listing = [{ name: "echo" }];
  expect(await find("echo")).toMatchObject({ name: "echo" });
});

test("a reader that throws is not remembered", async () => {
  const { catalogue, find } = shelf();
  await expect(catalogue.find("shared", "echo", () => Promise.reject(new Error("bug")))).rejects.toThrow("bug");
  expect(await find("echo")).toMatchObject({ name: "echo" });
});

test("after a change the list is read anew", async () => {
  const { catalogue, source, find } = shelf();
  const before = sha256(await find("echo"));
  source.listing = [{ name: "echo", description: "two" }];
  catalogue.forget();
  expect(sha256(await find("echo"))).not.toBe(before);
  expect(source.reads).toBe(2);
});

test("a list that was being read when the change was announced is not kept, nor waited for by later calls", async () => {
  const { catalogue, source, find } = shelf([{ name: "echo", description: "new" }]);
  const slow = Promise.withResolvers<ToolListing>();
  const early = catalogue.find("shared", "echo", async () => ({ tools: await slow.promise, version: null }));
  catalogue.forget();
  const fresh = sha256(await find("echo"));
  slow.resolve([{ name: "echo", description: "old" }]);
  expect(sha256(await early)).not.toBe(fresh);
  expect(sha256(await find("echo"))).toBe(fresh);
  expect(source.reads).toBe(1);
});

test("the hash is over the whole definition, in whatever order its members stand", async () => {
  const definition = { name: "echo", description: "d", inputSchema: { type: "object", properties: { a: {}, b: {} } }, _meta: { v: 1 } };
  const hash = async (tool: ToolListing[number]) => sha256(await shelf([tool]).find("echo"));
  const pinned = await hash(definition);
  expect(pinned).toMatch(/^[0-9a-f]{64}$/);
  expect(
    await hash({ _meta: { v: 1 }, inputSchema: { properties: { b: {}, a: {} }, type: "object" }, description: "d", name: "echo" }),
  ).toBe(pinned);
  const changes = [
    { ...definition, title: "t" },
    { ...definition, _meta: { v: 2 } },
    { ...definition, annotations: { readOnlyHint: true } },
    { ...definition, outputSchema: {} },
    { ...definition, inputSchema: { type: "object", properties: { a: {}, b: { type: "string" } } } },
    { ...definition, unknown: null },
  ];
  for (const change of changes) expect(await hash(change)).not.toBe(pinned);
});

test.each([
  ["a number beyond JSON's", JSON.parse('{"name":"bad","x":1e400}')],
  ["a lone surrogate", { name: "bad", description: "\ud800" }],
])("a definition with %s is no tool, and costs the others nothing", async (_, bad) => {
  const { find } = shelf([bad, { name: "echo" }]);
  expect(await find("bad")).toBeNull();
  expect(await find("echo")).toMatchObject({ name: "echo" });
});

test("a definition nested a hundred thousand deep is no fault", async () => {
  const { find } = shelf([{ name: "deep", x: JSON.parse("[".repeat(100_000) + "]".repeat(100_000)) }, { name: "echo" }]);
  await find("deep");
  expect(await find("echo")).toMatchObject({ name: "echo" });
});

test("a name that MCP does not allow is no tool", async () => {
  const { find } = shelf(["", "a b", "ä", "a\u0000", "x".repeat(129)].map((name) => ({ name })));
  for (const name of ["", "a b", "ä", "a\u0000", "x".repeat(129)]) expect(await find(name)).toBeNull();
});

test("two hundred thousand definitions are kept in all; the list that was longest unused makes room", async () => {
  const tools = Array.from({ length: 9_999 }, (_, i) => ({ name: `t${i}` }));
  const { source, find } = shelf(tools);
  for (let i = 0; i < 20; i++) await find("t1", `key${i}`);
  await find("t1", "key0");
  expect(source.reads).toBe(20);
  await find("t1", "one more");
  await find("t1", "key0");
  expect(source.reads).toBe(21);
  await find("t1", "key1");
  expect(source.reads).toBe(22);
});
