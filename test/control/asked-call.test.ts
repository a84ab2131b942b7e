import fc from "fast-check";
import { expect, test } from "vitest";
import { parseMessage } from "../../src/call/accept/parse.ts";
import type { McpRequest } from "../../src/call/accept/request.ts";
import type { Agent } from "../../src/call/authenticate/agent.ts";
import { askedCallOf, SHOWN_BYTES_MAX } from "../../src/control/approvals/asked-call.ts";
import { questionTo, reactionIn, takesQuestions, withoutReaction } from "../../src/control/approvals/round-trip.ts";
import { createSeal } from "../../src/seal.ts";

const BY = { by: ["role:approver"], withinMs: 1_000 };
const RULE = { name: "r", file: "f", line: 1 };
const agentOf = (principal: string, id = "agt_1") => ({ principal, profile: { id } }) as Agent;
const BOT = agentOf("bot");

function requestOf(params: string, method = "tools/call"): McpRequest {
  const body = Buffer.from(`{"jsonrpc":"2.0","id":1,"method":"${method}","params":${params}}`);
  const headers = { protocolVersion: "2026-07-28", mcpMethod: method, mcpName: "t" };
  const { message, refusal } = parseMessage(body, headers);
  if (refusal !== null) throw new Error(`${refusal.note} ${params}`);
  return { ...message, body, server: "up", callId: "call_1" } as unknown as McpRequest;
}
const META = '"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}';
const callWith = (args: string) => requestOf(`{"name":"t","arguments":${args},${META}}`);
const printOf = (args: string) => askedCallOf(BOT, callWith(args), RULE, BY, false).fingerprint;

/** Any JSON object, and a way to write it: order, spaces, escapes. */
const written = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom(
      "0",
      "-0",
      "1",
      "1.0",
      "1e0",
      "9007199254740993",
      "9007199254740992",
      "true",
      "false",
      "null",
      '"1"',
      '""',
      '"a"',
      '"é"',
    ),
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom("a", "b", "c", "__proto__", "é"), tie("value"), { maxKeys: 3 }),
  ),
})).value as fc.Arbitrary<unknown>;

function plainly(value: unknown): string {
  if (typeof value === "string") return value;
  if (Array.isArray(value)) return `[${value.map(plainly).join(",")}]`;
  const entries = Object.entries(value as object).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([name, member]) => `${JSON.stringify(name)}:${plainly(member)}`).join(",")}}`;
}

function otherwise(value: unknown): string {
  if (typeof value === "string")
    return value.startsWith('"') ? value.replace(/[a-zé]/g, (c) => `\\u00${c.charCodeAt(0).toString(16)}`) : value;
  if (Array.isArray(value)) return `[ ${value.map(otherwise).join(" , ")}\n]`;
  const entries = Object.entries(value as object).toSorted(([a], [b]) => (a < b ? 1 : -1));
  return `{\t${entries.map(([name, member]) => `${otherwise(JSON.stringify(name))} : ${otherwise(member)}`).join(", ")} }`;
}

test("two calls are the same exactly where their values are, however they are written", () => {
  const args = fc.record({ x: written });
  fc.assert(
    fc.property(args, args, (one, other) => {
      expect(printOf(otherwise(one))).toBe(printOf(plainly(one)));
      expect(printOf(plainly(one)) === printOf(plainly(other))).toBe(plainly(one) === plainly(other));
    }),
    { numRuns: 2_000 },
  );
});

test("another caller, server, method, target, rule or approver is another call", () => {
  const request = callWith("{}");
  const prints = [
    askedCallOf(BOT, request, RULE, BY, false),
    askedCallOf(agentOf("other"), request, RULE, BY, false),
    askedCallOf(agentOf("bot", "agt_2"), request, RULE, BY, false),
    askedCallOf(BOT, { ...request, server: "down" as never }, RULE, BY, false),
    askedCallOf(BOT, { ...request, method: "prompts/get" }, RULE, BY, false),
    askedCallOf(BOT, { ...request, target: { kind: "tool", name: "u" } }, RULE, BY, false),
    askedCallOf(BOT, { ...request, target: { kind: "prompt", name: "t" } }, RULE, BY, false),
    askedCallOf(BOT, request, { ...RULE, name: "s" }, BY, false),
    askedCallOf(BOT, request, RULE, { ...BY, by: ["role:approver", "key:k"] }, false),
  ].map(({ fingerprint }) => fingerprint);
  expect(new Set(prints).size).toBe(prints.length);
  // Where the rule stands, and for how long it asks, changes nothing.
  expect(askedCallOf(BOT, request, { ...RULE, line: 9 }, { ...BY, withinMs: 5 }, false).fingerprint).toBe(prints[0]);
});

test("what answers a server's question is part of the call, and shown; what answers ours is not, since it is taken out", () => {
  const bare = requestOf(`{"name":"t","arguments":{},${META}}`);
  const more = requestOf(`{"name":"t","arguments":{},"requestState":"s1","inputResponses":{"sum":{"content":{"amount":1000000}}},${META}}`);
  const other = requestOf(
    `{"name":"t","arguments":{},"requestState":"s2","inputResponses":{"sum":{"content":{"amount":1000000}}},${META}}`,
  );
  const prints = [bare, more, other].map((request) => askedCallOf(BOT, request, RULE, BY, false).fingerprint);
  expect(new Set(prints).size).toBe(3);
  expect(askedCallOf(BOT, more, RULE, BY, false).shown).toContain('"amount":1000000');
  expect(askedCallOf(BOT, more, RULE, BY, true).fingerprint).toBe(prints[0]);
});

test("what is shown hides nothing: invisible characters stand as escapes, and what is too large as its size and hash", () => {
  const { shown } = askedCallOf(BOT, callWith('{"to":"a\u202eb\u200b\u{e0041}"}'), RULE, BY, false);
  expect(shown).toBe('{"to":"a\\u202eb\\u200b\\u{e0041}"}');
  const large = askedCallOf(BOT, callWith(`{"to":"${"x".repeat(SHOWN_BYTES_MAX)}"}`), RULE, BY, false);
  expect(large).toMatchObject({ shown: null, shownBytes: SHOWN_BYTES_MAX + 9, shownSha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
  // More values than a tree of them may have: the bytes themselves are compared.
  const many = (last: number) => `{"list":[${"1,".repeat(20_000)}${last}]}`;
  expect(printOf(many(1))).toBe(printOf(many(1)));
  expect(printOf(many(1))).not.toBe(printOf(many(2)));
});

const seal = createSeal(Buffer.alloc(32, 1));
const QUESTION = questionTo(seal, "bot", "up/t", "apr_1");
const answered = (action: string, state = QUESTION.requestState) =>
  `"requestState":${JSON.stringify(state)},"inputResponses":{"approval":{"action":"${action}"}}`;

test("an answer to our question is taken out wherever it stands, and every other byte stays", () => {
  const parts = ['"name":"t"', '"arguments":{"requestState":"mine", "n":9007199254740993}', META.replace(":{}", ": { }")];
  const ours = [`"requestState":${JSON.stringify(QUESTION.requestState)}`, '"inputResponses" : {"approval":{"action":"accept"}}'];
  fc.assert(
    fc.property(fc.shuffledSubarray([...parts, ...ours], { minLength: 5 }), fc.constantFrom(",", " , ", ",\n\t"), (members, comma) => {
      const stripped = withoutReaction(requestOf(`{ ${members.join(comma)} }`));
      const kept = JSON.parse(stripped.body.toString());
      expect(Object.keys(kept.params).toSorted()).toEqual(["_meta", "arguments", "name"]);
      for (const part of parts) expect(stripped.body.includes(part)).toBe(true);
      const { argumentsSpan, targetSpan, idSpan, body, followUp } = stripped;
      const at = (span: { start: number; end: number } | null) => body.toString("utf8", span?.start, span?.end);
      expect([at(argumentsSpan), at(targetSpan), at(idSpan), followUp]).toEqual([parts[1]?.slice(12), '"t"', "1", null]);
    }),
  );
});

test("a state opens for the caller that it was given to, and for nobody else", () => {
  const request = requestOf(`{"name":"t",${META},${answered("decline")}}`);
  expect(reactionIn(seal, "bot", request)).toEqual({ approvalId: "apr_1", declined: true });
  expect(reactionIn(seal, "other", request)).toEqual({ approvalId: null, declined: true });
  expect(reactionIn(createSeal(Buffer.alloc(32, 2)), "bot", request)).toMatchObject({ approvalId: null });
  expect(reactionIn(seal, "bot", requestOf(`{"name":"t",${META},${answered("accept", "the server's own")}}`))).toBe(null);
  // A session or cursor of the same holder is no state.
  const session = `tollgate-approval.${seal.seal("session", "bot", "apr_1")}`;
  expect(reactionIn(seal, "bot", requestOf(`{"name":"t",${META},${answered("accept", session)}}`))).toMatchObject({ approvalId: null });
});

test.each([
  ['{"elicitation":{}}', "tools/call", true],
  ['{"elicitation":{"form":{}}}', "tools/call", true],
  ['{"elicitation":{"form":{},"url":{}}}', "tools/call", true],
  ['{"elicitation":{"url":{}}}', "tools/call", false],
  ['{"elicitation":null}', "tools/call", false],
  ["{}", "tools/call", false],
  ['{"elicitation":{}}', "vendor/method", false],
])("with the capabilities %s, %s is answered with a question: %s", (capabilities, method, takes) => {
  expect(takesQuestions(requestOf(`{"name":"t",${META.replace(":{}", `:${capabilities}`)}}`, method))).toBe(takes);
});
