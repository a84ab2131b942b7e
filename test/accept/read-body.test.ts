import type { IncomingMessage } from "node:http";
import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { READING_BYTES_MAX, readBody } from "../../src/call/accept/read-body.ts";

function body(bytes: string): IncomingMessage {
  const stream = new PassThrough();
  stream.end(bytes);
  return stream as unknown as IncomingMessage;
}

const limits = { declared: undefined, timeoutMs: 1_000, proceed: () => {} };

test("bodies that are being read share their room, and give it back", async () => {
  const reading = { bytes: 0 };
  expect(await readBody(body("12345"), { ...limits, reading })).toEqual(Buffer.from("12345"));
  expect(reading.bytes).toBe(0);
  reading.bytes = READING_BYTES_MAX - 4;
  expect(await readBody(body("12345"), { ...limits, reading })).toMatchObject({ refused: "overloaded" });
  expect(reading.bytes).toBe(READING_BYTES_MAX - 4);
});
