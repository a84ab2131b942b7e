import { expect, test } from "vitest";
import type { McpRequest } from "../../src/call/accept/request.ts";
import type { Permit } from "../../src/call/authorize/permit.ts";
import { argumentContent, authzenQuestion, httpQuestion, type Question } from "../../src/call/inspect/question.ts";
import { agentOf } from "../authorize/fixture.ts";

const ARGUMENTS = '{ "big":9007199254740993,"exp":1.50e2, "text":"\\u00e9\u00e9" }';
const body = Buffer.from(
  `{"method":"tools/call","params":{"name":"a","arguments":${ARGUMENTS},"inputResponses":{"x":1.0},"argument":{"n":1},"context":2}}`,
);
const start = body.indexOf(ARGUMENTS);
const argumentsSpan = { start, end: start + Buffer.byteLength(ARGUMENTS) };

function question(method: string, course: McpRequest["course"], more: Partial<Question> = {}): Question {
  const request = { callId: "call_1", server: "tickets", method, course, body, argumentsSpan } as unknown as McpRequest;
  return {
    ...{ of: "arguments", outcome: null, nowMs: 0, target: { kind: "tool", name: "a/b" }, request },
    permit: { rule: { name: "r", file: "f", line: 1 } } as unknown as Permit,
    agent: agentOf({ subject: "alice" }),
    content: argumentContent(request) ?? [],
    ...more,
  };
}

test("arguments and answers stand in a question byte for byte, and it names the subject where there is one", () => {
  const text = httpQuestion(question("tools/call", "metered"));
  expect(text).toContain(`"arguments":${ARGUMENTS},"input_responses":{"x":1.0}}`);
  expect(JSON.parse(text)).toMatchObject({ version: 1, subject: "alice", time: "1970-01-01T00:00:00.000Z", rule: "r" });
  expect(text).not.toContain('"context"');
  const pdp = authzenQuestion(question("tools/call", "metered"));
  expect(pdp).toContain(`"properties":{"server":"tickets","name":"a/b","arguments":${ARGUMENTS},"input_responses":{"x":1.0}}`);
  expect(JSON.parse(pdp)).toMatchObject({ subject: { type: "agent", properties: { subject: "alice" } }, resource: { id: "tickets/a/b" } });
});

test("of a completion stands what it completes, and with what at hand", () => {
  expect(JSON.parse(httpQuestion(question("completion/complete", "metered")))).toMatchObject({ argument: { n: 1 }, context: 2 });
});

test("nobody on whose behalf the agent acts: no subject", () => {
  expect(JSON.parse(httpQuestion(question("tools/call", "metered", { agent: agentOf() })))).not.toHaveProperty("subject");
});
