import { describe, expect, test } from "vitest";
import { serverViewOf } from "../../src/call/authorize/server-view.ts";
import { edited, headerValue } from "../../src/call/forward/edited-request.ts";
import { addressIn } from "../../src/call/forward/merged/address.ts";
import { fits } from "../../src/call/forward/merged/resource-owners.ts";
import { modernised, withinSession } from "../../src/call/forward/other-era.ts";
import { parameterHeadersOf } from "../../src/call/forward/parameter-headers.ts";
import type { ServerName } from "../../src/ids.ts";
import { isRefusal } from "../../src/refusal.ts";
import { requestOf, request as rpc } from "./http-client.ts";

const servers = ["a", "a-b", "b"] as ServerName[];
const everything = serverViewOf("/mcp", servers, { tools: null, max: null, rename: new Map() });
const tool = (name: string) => ({ kind: "tool", name }) as const;

describe("a shown name", () => {
  test.each([
    ["a", "x", "a__x"],
    ["a", "b__c", "a__b__c"],
    ["a-b", "_x", "a-b___x"],
    ["b", "__proto__", "b____proto__"],
  ])("of %s/%s is %s, and means it again", (server, name, shown) => {
    expect(everything.shownAs(server as ServerName, tool(name))).toBe(shown);
    expect(everything.meaningOf("tool", shown)).toEqual({ server, name });
  });

  test.each(["", "__", "__x", "x", "a_x", "c__x", "A__x", "constructor", "__proto__"])("%j means nothing", (shown) => {
    expect(everything.meaningOf("tool", shown)).toBeNull();
  });

  test("that the operator gave is the only one, for tools and prompts apart", () => {
    const rename = new Map([
      ["a/x", "find"],
      ["prompt:b/y", "find"],
    ]);
    const view = serverViewOf("/mcp/v", servers, { tools: ["a/*", "prompt:b/*"], max: null, rename });
    expect(view.meaningOf("tool", "find")).toEqual({ server: "a", name: "x" });
    expect(view.meaningOf("prompt", "find")).toEqual({ server: "b", name: "y" });
    expect(view.meaningOf("tool", "a__x")).toBeNull();
    expect(view.meaningOf("prompt", "a__x")).toBeNull();
    expect(view.meaningOf("tool", "b__z")).toBeNull();
    expect([view.servers, view.mayShow("b" as ServerName, "tool")]).toEqual([["a", "b"], false]);
  });
});

const call = (name: string, rest = "") =>
  `{"method":"tools/call","params":{"_meta":{"progressToken":"p"},"name":${JSON.stringify(name)},"arguments":{"n":9007199254740993}${rest}},"id":"i","jsonrpc":"2.0"}`;

describe("a request to a view", () => {
  test("keeps every byte but those of its name, and every part is found again", () => {
    const asked = { ...requestOf(call("a\u005f_tool"), { era: "legacy" }), server: "" as ServerName };
    const request = addressIn(everything, asked);
    if (isRefusal(request) || "resource" in request) throw new Error("not addressed");
    expect(request.body.toString()).toBe(call("tool"));
    expect(request).toMatchObject({ server: "a", view: "/mcp", target: { kind: "tool", name: "tool" } });
    const part = (span: { start: number; end: number } | null) => request.body.toString("utf8", span?.start, span?.end);
    expect([part(request.targetSpan), part(request.argumentsSpan), part(request.idSpan), part(request.progressTokenSpan)]).toEqual([
      '"tool"',
      '{"n":9007199254740993}',
      '"i"',
      '"p"',
    ]);
  });

  test("repeats its own name in the header, as the header can hold it", () => {
    const prompt = rpc("prompts/get", { name: "a__grüße" });
    const asked = {
      ...requestOf(prompt, { era: "legacy" }),
      server: "" as ServerName,
      forwarded: { "mcp-name": "x", "mcp-method": "prompts/get" },
    };
    const request = addressIn(everything, asked);
    if (isRefusal(request) || "resource" in request) throw new Error("not addressed");
    expect(request.forwarded).toEqual({ "mcp-name": `=?base64?${Buffer.from("grüße").toString("base64")}?=`, "mcp-method": "prompts/get" });
  });
});

test.each([
  ["plain", "plain"],
  ["with space", "with space"],
  [" ends", `=?base64?${Buffer.from(" ends").toString("base64")}?=`],
  ["ü", "=?base64?w7w=?="],
  ["a\nb", "=?base64?YQpi?="],
  ["=?base64?eA==?=", `=?base64?${Buffer.from("=?base64?eA==?=").toString("base64")}?=`],
])("the header value of %j is %j", (text, value) => {
  expect(headerValue(text)).toBe(value);
});

describe("a request across the eras", () => {
  const forwarded = { "mcp-protocol-version": "2025-06-18", traceparent: "00-1" };

  test.each([
    '{"jsonrpc":"2.0","id":1,"method":"x/y"}',
    '{"jsonrpc":"2.0","id":1,"method":"x/y","params":{}}',
    '{"jsonrpc":"2.0","id":1,"method":"x/y","params":{"a":9007199254740993}}',
    '{"jsonrpc":"2.0","id":1,"method":"x/y","params":{"_meta":{"k":1}}}',
  ])("to 2026-07-28 describes itself: %s", (body) => {
    const request = modernised({ ...requestOf(body, { era: "legacy" }), forwarded });
    const parsed = JSON.parse(request.body.toString()) as { params: { _meta: object } };
    expect(parsed.params._meta).toMatchObject({
      "io.modelcontextprotocol/protocolVersion": "2026-07-28",
      "io.modelcontextprotocol/clientCapabilities": {},
    });
    expect(request.forwarded).toEqual({ traceparent: "00-1", "mcp-protocol-version": "2026-07-28", "mcp-method": "x/y" });
    expect(request.body.toString("utf8", request.idSpan?.start, request.idSpan?.end)).toBe("1");
    if (body.includes("9007")) expect(request.body.toString()).toContain('"a":9007199254740993');
  });

  test("into a session of ours goes under our id, with no header of the newer era", () => {
    const request = withinSession(
      {
        ...requestOf(call("x"), { era: "legacy" }),
        forwarded: { "mcp-method": "tools/call", "mcp-name": "x", "mcp-param-y": "z", tracestate: "t" },
      },
      { era: "legacy", id: "s", revision: "2025-06-18", version: null },
      "12345",
    );
    expect(request.body.toString()).toContain('"id":12345');
    expect(request).toMatchObject({ sessionId: "s", idText: "12345", era: "legacy" });
    expect(request.forwarded).toEqual({ tracestate: "t", "mcp-protocol-version": "2025-06-18" });
    expect(request.body.toString("utf8", request.argumentsSpan?.start, request.argumentsSpan?.end)).toBe('{"n":9007199254740993}');
  });

  test("edits that stand in any order move what stands behind them", () => {
    const request = requestOf('{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"n","arguments":{}}}', { era: "legacy" });
    const { idSpan, targetSpan } = request;
    if (idSpan === null || targetSpan === null) throw new Error("no spans");
    const changed = edited(request, [
      { ...targetSpan, replacement: Buffer.from('"longer"') },
      { ...idSpan, replacement: Buffer.from("4242") },
    ]);
    expect(changed.body.toString()).toBe('{"jsonrpc":"2.0","id":4242,"method":"tools/call","params":{"name":"longer","arguments":{}}}');
    expect(changed.body.toString("utf8", changed.targetSpan?.start, changed.targetSpan?.end)).toBe('"longer"');
    expect(changed.body.toString("utf8", changed.argumentsSpan?.start, changed.argumentsSpan?.end)).toBe("{}");
  });
});

test.each([
  ["file:///a/{name}", "file:///a/b", true],
  ["file:///a/{name}", "file:///b/b", false],
  ["file:///{+path}.md", "file:///x/y.md", true],
  ["file:///{+path}.md", "file:///x/y.txt", false],
  ["x://{a}/b/{c}", "x://1/b/2", true],
  ["x://{a}/b/{c}", "x://1/c/2", false],
  ["x://{a}/{b}", "x://{a}/{b}", true],
  ["x://fixed", "x://fixed", true],
  ["x://fixed", "x://fixed2", false],
  ["{a}{a}{a}{a}{a}{a}{a}{a}b", "c".repeat(100_000), false],
])("the template %s and the URI %s: %s", (template, uri, expected) => {
  expect(fits(template, uri)).toBe(expected);
});

describe("arguments that a tool wants in the head", () => {
  const schema = {
    type: "object",
    properties: {
      region: { type: "string", "x-mcp-header": "Region" },
      count: { type: "integer", "x-mcp-header": "Count" },
      deep: { type: "object", properties: { flag: { type: "boolean", "x-mcp-header": "Flag" } } },
      list: { type: "array", "x-mcp-header": "List" },
      bad: { type: "string", "x-mcp-header": "not a token" },
    },
    anyOf: [{ properties: { other: { type: "string", "x-mcp-header": "Other" } } }],
  };

  test("are repeated there, each as it was received", () => {
    const body = rpc("tools/call", { name: "t", arguments: { region: "grüße", count: 42, deep: { flag: true }, list: ["x"], bad: "y" } });
    expect(modernised(requestOf(body, { era: "legacy" }), parameterHeadersOf(schema)).forwarded).toEqual({
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": "tools/call",
      "mcp-name": "t",
      "mcp-param-region": `=?base64?${Buffer.from("grüße").toString("base64")}?=`,
      "mcp-param-count": "42",
      "mcp-param-flag": "true",
    });
  });

  test("are left out where they are absent or null, and where two share a name", () => {
    const body = rpc("tools/call", { name: "t", arguments: { region: null } });
    const { forwarded } = modernised(requestOf(body, { era: "legacy" }), parameterHeadersOf(schema));
    expect(Object.keys(forwarded).filter((name) => name.startsWith("mcp-param-"))).toEqual([]);
    const twins = { properties: { a: { type: "string", "x-mcp-header": "X" }, b: { type: "string", "x-mcp-header": "x" } } };
    expect(parameterHeadersOf(twins)).toEqual([]);
  });
});
