import { expect, test } from "vitest";
import { readMessage } from "../../src/call/forward/message.ts";
import { finalIn, handleIn, withoutFinal } from "../../src/call/forward/task-answer.ts";

function response(body: object) {
  const bytes = Buffer.from(JSON.stringify({ jsonrpc: "2.0", id: 1, ...body }));
  const message = readMessage(bytes);
  if (message.kind !== "response") throw new Error("not a response");
  return { bytes, message };
}

test.each([
  ["a task of 2026-07-28", { resultType: "task", taskId: "t", ttlMs: 9 }, { taskId: "t", ttlMs: 9 }],
  ["one without an end", { resultType: "task", taskId: "t", ttlMs: null }, { taskId: "t", ttlMs: null }],
  ["a task of 2025-11-25", { task: { taskId: "t", ttl: 9 } }, { taskId: "t", ttlMs: 9 }],
  ["a result that has a task in it", { resultType: "complete", task: { taskId: "t", ttl: 9 }, content: [] }, null],
  ["a task without an id", { resultType: "task", taskId: 7 }, null],
  ["a tool error", { task: { taskId: "t" }, isError: true }, null],
  ["a result", { content: [] }, null],
])("%s", (_, result, handle) => {
  const { bytes, message } = response({ result });
  expect(handleIn(bytes, message)).toEqual(handle);
});

test.each([
  ["tasks/get", { result: { status: "working" } }, null],
  ["tasks/get", { result: { status: "completed", result: { content: [] } } }, ["result", '{"content":[]}']],
  ["tasks/get", { result: { status: "completed", result: { isError: true } } }, ["tool_error", '{"isError":true}']],
  ["tasks/get", { result: { status: "failed", error: { code: 1, message: "m" } } }, ["protocol_error", '{"code":1,"message":"m"}']],
  ["tasks/result", { result: { content: [1] } }, ["result", '{"content":[1]}']],
  ["tasks/result", { error: { code: -32602, message: "no" } }, null],
  ["tasks/cancel", { result: { result: {} } }, null],
])("what %s brings of the result: %j", (method, body, expected) => {
  const { bytes, message } = response(body);
  const final = finalIn(bytes, method, message);
  expect(final && [final.kind, bytes.toString("utf8", final.node.start, final.node.end)]).toEqual(expected);
});

test.each([
  ["tasks/cancel", '{ "taskId": "t" , "status":"cancelled"}', null],
  ["tasks/cancel", '{"result":{"content":[]},"taskId":"t" , "error":null, "status":"completed"}', '{"taskId":"t","status":"completed"}'],
  ["tasks/update", '{"resultType":"complete","content":[],"structuredContent":{}}', '{"resultType":"complete"}'],
  ["tasks/cancel", '{"task":{"result":1,"taskId":"t"},"content":[1]}', '{"task":{"taskId":"t"}}'],
  [
    "tasks/list",
    '{"tasks":[{"taskId":"a","result":{}},{"taskId":"b"}],"nextCursor":"c"}',
    '{"tasks":[{"taskId":"a"},{"taskId":"b"}],"nextCursor":"c"}',
  ],
  ["tasks/get", '{"taskId":"t","result":{}}', null],
  ["tasks/result", '{"content":[]}', null],
])("an answer to %s that is free brings nothing of what the task came to: %s", (method, result, kept) => {
  const bytes = Buffer.from(`{"jsonrpc":"2.0","id":1,"result":${result}}`);
  const message = readMessage(bytes);
  if (message.kind !== "response") throw new Error("not a response");
  const rest = withoutFinal(bytes, message, method);
  if (kept === null) expect(rest.bytes).toBe(bytes);
  expect(rest.bytes.toString("utf8", rest.message.body.start, rest.message.body.end)).toBe(kept ?? result);
});
