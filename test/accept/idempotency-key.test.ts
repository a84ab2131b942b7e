import { expect, test } from "vitest";
import { KEY_MEMBER } from "../../src/call/accept/idempotency-key.ts";
import { parseMessage } from "../../src/call/accept/parse.ts";
import { splice } from "../../src/json.ts";

const HEADERS = { protocolVersion: null, mcpMethod: null, mcpName: null };
const call = (meta: string, method = "tools/call") =>
  Buffer.from(`{"jsonrpc":"2.0","id":1,"method":"${method}","params":{"name":"t","arguments":{"n":9007199254740993},"_meta":${meta}}}`);

test.each([
  [`{"${KEY_MEMBER}":"k"}`, "{}"],
  [`{ "${KEY_MEMBER}" : "k" , "progressToken": 1 }`, '{ "progressToken": 1 }'],
  [`{"progressToken":1,"${KEY_MEMBER}":"k"}`, '{"progressToken":1}'],
  [`{"a":1 , "${KEY_MEMBER}":"k","b":2}`, '{"a":1,"b":2}'],
  [`{"a":1,"io.tollgate\\/idempotency\\u004bey":"k"}`, '{"a":1}'],
])("%s goes on as %s, with every other byte as it was received", (meta, rest) => {
  const { message, refusal } = parseMessage(call(meta), HEADERS);
  expect(refusal).toBeNull();
  expect(message.idempotencyKey).toBe("k");
  const span = message.keySpan ?? { start: 0, end: 0 };
  expect(splice(call(meta), [{ ...span, replacement: Buffer.alloc(0) }]).toString()).toBe(call(rest).toString());
});

test("a member that folds onto it is refused, and so is one that stands twice", () => {
  expect(parseMessage(call('{"IO.Tollgate/IdempotencyKey":"k"}'), HEADERS).refusal?.refused).toBe("request_malformed");
  expect(parseMessage(call(`{"${KEY_MEMBER}":"k","${KEY_MEMBER}":"k"}`), HEADERS).refusal?.refused).toBe("request_malformed");
});

test("what is not metered has no key, and keeps none in its bytes", () => {
  const { message, refusal } = parseMessage(call(`{"${KEY_MEMBER}":7}`, "ping"), { ...HEADERS, idempotencyKey: "not a key" });
  expect(refusal).toBeNull();
  expect([message.idempotencyKey, message.keySpan === null]).toEqual([null, false]);
});
