import { expect, test } from "vitest";
import { authzenVerdict, httpVerdict } from "../../src/call/inspect/verdict.ts";

test.each([
  ['{"decision":"refuse","reason":"\\u202eevil\\u001b[2J"}', { verdict: "refuse", code: null, reason: " evil [2J" }],
  [`{"decision":"allow","reason":"${"x".repeat(300)}"}`, { verdict: "allow", code: null, reason: "x".repeat(256) }],
  [`{"decision":"refuse","code":"${"x".repeat(65)}"}`, { verdict: "refuse", code: null, reason: null }],
  ['{"decision":"refuse","code":7,"reason":{}}', { verdict: "refuse", code: null, reason: null }],
  ['{"decision":"ALLOW"}', { verdict: "failed" }],
])("of an answer %s only what is plain and short is kept", (text, said) => {
  expect(httpVerdict(Buffer.from(text))).toMatchObject(said);
});

test.each([
  ['{"decision":false,"context":{"code":"c","reason":"r","id":"0"}}', { verdict: "refuse", code: "c", reason: "r" }],
  ['{"decision":"true"}', { verdict: "failed" }],
  ['{"decision":1}', { verdict: "failed" }],
  ['{"decision":false,"decision":true}', { verdict: "failed" }],
  ['{"decision":true,"DECISION":false}', { verdict: "failed" }],
  ["{}", { verdict: "failed" }],
])("a decision point's %s is %o", (text, said) => {
  expect(authzenVerdict(Buffer.from(text))).toMatchObject(said);
});
