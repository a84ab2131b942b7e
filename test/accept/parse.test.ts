import { expect, test } from "vitest";
import { type MessageHeaders, parseMessage } from "../../src/call/accept/parse.ts";

const VERSION = "io.modelcontextprotocol/protocolVersion";
const META = { [VERSION]: "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} };
const NO_HEADERS: MessageHeaders = { protocolVersion: null, mcpMethod: null, mcpName: null };

const legacy = (body: unknown, headers: Partial<MessageHeaders> = {}) =>
  parseMessage(Buffer.from(typeof body === "string" ? body : JSON.stringify(body)), { ...NO_HEADERS, ...headers });

const rpc = (method: string, params?: unknown, id: unknown = 7) => ({
  jsonrpc: "2.0",
  id,
  method,
  ...(params === undefined ? {} : { params }),
});

function modern(method: string, params: Record<string, unknown>, headers: Partial<MessageHeaders> = {}) {
  const name = typeof params.name === "string" ? params.name : typeof params.uri === "string" ? params.uri : null;
  return parseMessage(Buffer.from(JSON.stringify(rpc(method, { _meta: META, ...params }))), {
    protocolVersion: "2026-07-28",
    mcpMethod: method,
    mcpName: name,
    ...headers,
  });
}

const codeOf = ({ refusal }: ReturnType<typeof parseMessage>) => refusal?.code ?? refusal?.refused ?? null;

test("a tool call of the older era is read with the spans of all that may be spliced", () => {
  const body = Buffer.from(
    '{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"t\\u0069ck","arguments":{"q":[1]},"_meta":{"progressToken":9}}}',
  );
  const { message, refusal } = parseMessage(body, NO_HEADERS);
  const cut = (span: { start: number; end: number } | null) => (span === null ? null : body.toString("utf8", span.start, span.end));
  expect(refusal).toBeNull();
  expect(message).toMatchObject({ course: "metered", era: "legacy", revision: null, method: "tools/call", idText: '"a"' });
  expect(message.target).toEqual({ kind: "tool", name: "tick" });
  expect([message.idSpan, message.targetSpan, message.argumentsSpan, message.progressTokenSpan].map(cut)).toEqual([
    '"a"',
    '"t\\u0069ck"',
    '{"q":[1]}',
    "9",
  ]);
});

test.each<[string, unknown, string, unknown]>([
  ["tools/call", { name: "x" }, "metered", { kind: "tool", name: "x" }],
  ["prompts/get", { name: "x" }, "metered", { kind: "prompt", name: "x" }],
  ["resources/read", { uri: "file:///x" }, "metered", { kind: "resource", name: "file:///x" }],
  ["resources/subscribe", { uri: "file:///x" }, "other", { kind: "resource", name: "file:///x" }],
  ["completion/complete", { ref: { type: "ref/prompt", name: "x" } }, "metered", { kind: "prompt", name: "x" }],
  ["completion/complete", { ref: { type: "ref/resource", uri: "a:b" } }, "metered", { kind: "resource", name: "a:b" }],
  ["tools/list", undefined, "list", { kind: "method", name: "tools/list" }],
  ["resources/templates/list", {}, "list", { kind: "method", name: "resources/templates/list" }],
  ["initialize", { protocolVersion: "2025-11-25" }, "handshake", { kind: "method", name: "initialize" }],
  ["server/discover", undefined, "handshake", { kind: "method", name: "server/discover" }],
  ["ping", undefined, "handshake", { kind: "method", name: "ping" }],
  ["tasks/get", { taskId: "1" }, "task", { kind: "method", name: "tasks/get" }],
  ["tasks/list", {}, "list", { kind: "method", name: "tasks/list" }],
  ["nobody/knows", { arguments: 1 }, "other", { kind: "method", name: "nobody/knows" }],
  ["__proto__", undefined, "other", { kind: "method", name: "__proto__" }],
  ["constructor", undefined, "other", { kind: "method", name: "constructor" }],
])("%s %j takes the course %s", (method, params, course, target) => {
  const { message, refusal } = legacy(rpc(method, params));
  expect(refusal).toBeNull();
  expect(message).toMatchObject({ course, target });
});

test.each<[string, unknown, unknown]>([
  ["an unreadable body", "{", -32700],
  ["an empty body", "", -32700],
  ["a duplicate member by escape", '{"jsonrpc":"2.0","id":1,"method":"ping","m\\u0065thod":"tools/call"}', -32700],
  ["an empty batch", [], -32600],
  ["a batch of one", [rpc("ping")], -32600],
  ["a batch that hides a call", [...Array.from({ length: 999 }, () => rpc("ping")), rpc("tools/call", { name: "x" })], -32600],
  ["a string", '"ping"', -32600],
  ["null", "null", -32600],
  ["no jsonrpc", { id: 1, method: "ping" }, -32600],
  ["jsonrpc 1.0", { jsonrpc: "1.0", id: 1, method: "ping" }, -32600],
  ["jsonrpc as a number", { jsonrpc: 2, id: 1, method: "ping" }, -32600],
  ["neither method nor result", { jsonrpc: "2.0", id: 1 }, -32600],
  ["method and result", { jsonrpc: "2.0", id: 1, method: "ping", result: {} }, -32600],
  ["method and error", { jsonrpc: "2.0", id: 1, method: "ping", error: {} }, -32600],
  ["result and error", { jsonrpc: "2.0", id: 1, result: {}, error: {} }, -32600],
  ["method as a number", { jsonrpc: "2.0", id: 1, method: 1 }, -32600],
  ["a method of 129 bytes", rpc("m".repeat(129)), -32600],
  ["params as an array", rpc("tools/call", ["x"]), -32600],
  ["params as a string", rpc("tools/call", "x"), -32600],
  ["params null", rpc("tools/call", null), -32600],
  ["_meta as an array", rpc("ping", { _meta: [] }), -32600],
  ["id null", rpc("ping", {}, null), -32600],
  ["id true", rpc("ping", {}, true), -32600],
  ["id as an object", rpc("ping", {}, {}), -32600],
  ["id with a fraction", rpc("ping", {}, 1.5), -32600],
  ["id with an exponent", '{"jsonrpc":"2.0","id":1e2,"method":"ping"}', -32600],
  ["id of 300 characters", rpc("ping", {}, "i".repeat(300)), -32600],
  ["a notification with an id", rpc("notifications/initialized"), -32600],
  ["a request without an id", { jsonrpc: "2.0", method: "tools/call", params: { name: "x" } }, -32600],
  ["a response without an id", { jsonrpc: "2.0", result: {} }, -32600],
  ["Method beside method", { jsonrpc: "2.0", id: 1, method: "ping", Method: "tools/call" }, -32600],
  ["paramſ beside params", { jsonrpc: "2.0", id: 1, method: "ping", paramſ: {} }, -32600],
  ["Name beside name", rpc("tools/call", { name: "x", Name: "y" }), -32600],
  ["NAME instead of name", rpc("tools/call", { NAME: "y" }), -32600],
  ["inputresponses", rpc("tools/call", { name: "x", inputresponses: {} }), -32600],
  ["a reference's Name", rpc("completion/complete", { ref: { type: "ref/prompt", name: "x", Name: "y" } }), -32600],
  ["_meta's progresstoken", rpc("ping", { _meta: { progresstoken: 1 } }), -32600],
  ["no name", rpc("tools/call", {}), -32602],
  ["no params", rpc("tools/call"), -32602],
  ["a name as a number", rpc("tools/call", { name: 1 }), -32602],
  ["a name of 9,000 bytes", rpc("tools/call", { name: "n".repeat(9000) }), -32602],
  ["arguments as an array", rpc("tools/call", { name: "x", arguments: [] }), -32602],
  ["arguments null", rpc("prompts/get", { name: "x", arguments: null }), -32602],
  ["no uri", rpc("resources/read", { name: "x" }), -32602],
  ["a completion of nothing", rpc("completion/complete", {}), -32602],
  ["a completion of something else", rpc("completion/complete", { ref: { type: "ref/tool", name: "x" } }), -32602],
])("%s is refused", (_, body, code) => {
  expect(codeOf(legacy(body))).toBe(code);
});

test("members of arguments may be called anything", () => {
  expect(legacy(rpc("tools/call", { name: "x", arguments: { Name: 1, METHOD: 2, __proto__: 3 } })).refusal).toBeNull();
});

test("a refusal carries the id whenever it could be read", () => {
  expect(legacy(rpc("tools/call", "x", "abc")).message).toMatchObject({ idText: '"abc"', method: "tools/call" });
  expect(legacy({ jsonrpc: "1.0", id: 12 }).message.idText).toBe("12");
  expect(legacy(rpc("notifications/x")).message.idText).toBe("7");
  expect(legacy("{").message.idText).toBeNull();
  expect(legacy(rpc("ping", {}, 1.5)).message.idText).toBeNull();
});

test("an id keeps every digit", () => {
  expect(legacy('{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}').message.idText).toBe("9007199254740993");
});

test("a hostile method is bounded before it is recorded", () => {
  expect(legacy(rpc("m".repeat(100_000))).message.method).toBeNull();
});

test.each([null, "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"])(
  "the older era takes the version header %s",
  (protocolVersion) => {
    const { message, refusal } = legacy(rpc("ping"), { protocolVersion });
    expect(refusal).toBeNull();
    expect(message).toMatchObject({ era: "legacy", revision: protocolVersion });
  },
);

test.each(["garbage", "2025-11-26", "2025-11-25, 2025-11-25", "2027-03-30", ""])(
  "without a claim the version header %j is malformed",
  (protocolVersion) => {
    const parsed = legacy(rpc("ping"), { protocolVersion });
    expect(codeOf(parsed)).toBe(-32600);
    expect(parsed.message.idText).toBe("7");
  },
);

test("in the older era Mcp-Method and Mcp-Name decide nothing", () => {
  expect(legacy(rpc("tools/call", { name: "x" }), { mcpMethod: "ping", mcpName: "y" }).refusal).toBeNull();
});

test.each([{ result: {} }, { error: { code: 1, message: "" } }])("a posted response %j passes in the older era only", (half) => {
  const response = { jsonrpc: "2.0", id: 3, ...half };
  expect(legacy(response)).toMatchObject({ refusal: null, message: { course: "response", idText: "3", method: null } });
  expect(codeOf(legacy(response, { protocolVersion: "2026-07-28" }))).toBe(-32600);
});

test("a notification without an id takes its course in both eras", () => {
  const note = { jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: 1 } };
  expect(legacy(note)).toMatchObject({ refusal: null, message: { course: "notification", idText: null, era: "legacy" } });
  expect(legacy(note, { protocolVersion: "2026-07-28" })).toMatchObject({
    refusal: null,
    message: { course: "notification", era: "modern" },
  });
  expect(codeOf(legacy(note, { protocolVersion: "2026-07-28", mcpMethod: "tools/call" }))).toBe("header_mismatch");
});

test.each<[string, Record<string, unknown>]>([
  ["tools/call", { name: "search" }],
  ["prompts/get", { name: "p" }],
  ["resources/read", { uri: "file:///x" }],
  ["completion/complete", { ref: { type: "ref/prompt", name: "p" } }],
  ["tools/list", {}],
])("%s of the newer era passes when header and body agree", (method, params) => {
  const { message, refusal } = modern(method, params);
  expect(refusal).toBeNull();
  expect(message).toMatchObject({ era: "modern", revision: "2026-07-28", method });
});

const base64 = (text: string) => `=?base64?${Buffer.from(text).toString("base64")}?=`;

test.each<[string, string, string | null, boolean]>([
  ["plain", "search", "search", true],
  ["encoded", "suche für alle", base64("suche für alle"), true],
  ["encoded without need", "search", base64("search"), true],
  ["missing", "search", null, false],
  ["of another case", "search", "Search", false],
  ["of another tool", "search", "delete", false],
  ["joined from two", "search", "search, search", false],
  ["encoded wrongly", "search", base64("delete"), false],
  ["raw UTF-8", "für", Buffer.from("für").toString("latin1"), false],
  ["with junk in the coding", "search", "=?base64?c2Vhc!mNo?=", false],
  ["with unused bits", "a", "=?base64?YR==?=", false],
  ["with URL-safe letters", "??>", "=?base64?Pz8-?=", false],
  ["with bytes that are not UTF-8", "\ufffd", "=?base64?/w==?=", false],
  ["a literal that looks broken", "=?base64?!?=", "=?base64?!?=", false],
])("Mcp-Name %s", (_, name, mcpName, agrees) => {
  expect(codeOf(modern("tools/call", { name }, { mcpName }))).toBe(agrees ? null : "header_mismatch");
});

test.each<[string, Partial<MessageHeaders>]>([
  ["no Mcp-Method", { mcpMethod: null }],
  ["another Mcp-Method", { mcpMethod: "tools/list" }],
  ["Mcp-Method of another case", { mcpMethod: "Tools/Call" }],
  ["no version header", { protocolVersion: null }],
  ["an older version header", { protocolVersion: "2025-11-25" }],
  ["an unknown version header", { protocolVersion: "2027-03-30" }],
])("%s is a header mismatch that echoes the id", (_, headers) => {
  const parsed = modern("tools/call", { name: "x" }, headers);
  expect(codeOf(parsed)).toBe("header_mismatch");
  expect(parsed.message).toMatchObject({ idText: "7", era: "modern", course: "metered" });
});

test("a task's Mcp-Name is its id", () => {
  expect(codeOf(modern("tasks/get", { taskId: "t1" }, { mcpName: "t1" }))).toBeNull();
  expect(codeOf(modern("tasks/cancel", { taskId: "t1" }, { mcpName: "t2" }))).toBe("header_mismatch");
  expect(codeOf(modern("tasks/update", { taskId: "t1" }))).toBe("header_mismatch");
});

test.each<[string, unknown]>([
  ["no params", undefined],
  ["no _meta", {}],
  ["no version", { _meta: { "io.modelcontextprotocol/clientCapabilities": {} } }],
  ["no capabilities", { _meta: { [VERSION]: "2026-07-28" } }],
  ["capabilities as a string", { _meta: { ...META, "io.modelcontextprotocol/clientCapabilities": "all" } }],
  ["a version as a number", { _meta: { ...META, [VERSION]: 20260728 } }],
])("a request of the newer era with %s is -32602", (_, params) => {
  expect(codeOf(legacy(rpc("tools/list", params), { protocolVersion: "2026-07-28", mcpMethod: "tools/list" }))).toBe(-32602);
});

test("a revision that is not served is refused with those that are", () => {
  const claim = "2027-03-30";
  const parsed = modern("tools/list", { _meta: { ...META, [VERSION]: claim } }, { protocolVersion: claim });
  expect(parsed.refusal).toMatchObject({ refused: "revision_unsupported", facts: { requested: claim } });
  // Not the older ones: no request can claim them.
  expect(parsed.refusal?.facts.supported).toEqual(["2026-07-28"]);
  expect(parsed.message.idText).toBe("7");
});

test.each(["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"])(
  "%s, which 2026-07-28 removed, is an unknown method there and not a lack of params",
  (method) => {
    expect(codeOf(modern(method, {}))).toBe("method_unknown");
    expect(modern(method, {}).message.idText).toBe("7");
    expect(codeOf(modern(method, { uri: "test://a", level: "info" }, { mcpName: null }))).toBe("method_unknown");
    expect(codeOf(legacy(rpc(method, { uri: "test://a", level: "info" })))).toBeNull();
  },
);

test("initialize under the newer header is a mismatch, so that a client does not take it for a broken handshake", () => {
  expect(codeOf(legacy(rpc("initialize", { protocolVersion: "2025-11-25" }), { protocolVersion: "2026-07-28" }))).toBe("header_mismatch");
});

test.each([
  ["tools/call", { name: "x\0" }],
  ["prompts/get", { name: "gre\0et" }],
  ["resources/read", { uri: "file:///\0" }],
])("%s of a name with U+0000, which the central ledger cannot hold, is refused", (method, params) => {
  expect(codeOf(legacy(rpc(method, params)))).toBe(-32602);
});
