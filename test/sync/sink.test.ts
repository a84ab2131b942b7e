import { afterEach, expect, test } from "vitest";
import { retryAfterMs } from "../../src/call/sync/collector.ts";
import { backoffMs, type SinkStatus } from "../../src/call/sync/sink.ts";
import { SOURCE } from "../record/journal-fixture.ts";
import { kind } from "./http-sink.ts";
import { answer, collectorStage, ids, sequences, settle, stopAll, upTo } from "./stage.ts";

afterEach(stopAll);

const stage = collectorStage;
/** Of the usage events, the one stream of these sinks. */
const usage = ({ streams: [stream], aside, failures, lastSuccessMs }: SinkStatus) => ({
  sequence: stream?.sequence,
  pending: stream?.pending,
  ...aside,
  failures,
  lastSuccessMs,
});

test("every event arrives in order, in batches, as a CloudEvent with this gateway as its source", async () => {
  const { journal, sink, start } = await stage();
  const expected = await settle(journal, 25);
  const running = await start();
  await running.flush();
  expect(ids(sink.taken)).toEqual(expected);
  expect(sink.requests.map((request) => request.events.length)).toEqual([10, 10, 5]);
  expect(sink.requests[0]?.headers).toMatchObject({ "content-type": "application/cloudevents-batch+json", authorization: "Bearer s3cret" });
  expect(sink.taken[0]).toMatchObject({
    specversion: "1.0",
    source: `urn:tollgate:${SOURCE}`,
    type: "io.tollgate.call.settled.v1",
    subject: "acme",
    datacontenttype: "application/json",
    sequence: "00000000000000001",
    authtype: "service_account",
    authid: "agt_01k9x3v7m2q8r5t1w4y6z0abcd",
    correlationid: expected[0]?.replace(".settled", ""),
    data: { agent: "support-bot", quantity: { calls: 1, tool_tokens: 120 } },
  });
  expect(usage(await running.status())).toMatchObject({ sequence: 25, pending: 0, refused: 0, failures: 0, lastSuccessMs: 1_000 });
  await running.flush();
  expect(sink.requests).toHaveLength(3);
});

test("a sink that took a batch and lost its answer gets the same ids again, and misses none", async () => {
  const { journal, sink, start } = await stage();
  const expected = await settle(journal, 30);
  const running = await start();
  let turn = 0;
  sink.manner = (batch, response, take) => {
    turn += 1;
    if (turn % 3 === 1) {
      take();
      response.socket?.destroy();
    } else if (turn % 3 === 2) response.writeHead(503).end();
    else kind(batch, response, take);
  };
  for (let tries = 0; tries < 20; tries++) await running.flush().catch(() => {});
  expect(sink.taken.length).toBeGreaterThan(30);
  expect([...new Set(ids(sink.taken))]).toEqual(expected);
  expect(usage(await running.status())).toMatchObject({ sequence: 30, pending: 0, failures: 0 });
});

test("after a restart it goes on where the sink had acknowledged", async () => {
  const { journal, sink, start } = await stage();
  await settle(journal, 12);
  const first = await start();
  await first.flush();
  await first.stop();
  await settle(journal, 8);
  await (await start()).flush();
  expect(sequences(sink.taken)).toEqual(upTo(20));
});

test("a sink that is in trouble, forbids, redirects or does not know the format loses nothing: the events wait", async () => {
  const { journal, sink, start } = await stage();
  await settle(journal, 3);
  const running = await start();
  const statuses = [500, 503, 429, 401, 403, 404, 301, 307, 415];
  for (const [i, status] of statuses.entries()) {
    sink.manner = answer(status);
    await expect(running.flush()).rejects.toThrow(`the sink answered ${status}`);
    expect(sink.requests).toHaveLength(i + 1);
  }
  expect(usage(await running.status())).toMatchObject({
    sequence: 0,
    pending: 3,
    refused: 0,
    failures: statuses.length,
    lastSuccessMs: null,
  });
  sink.manner = kind;
  await running.flush();
  expect(sequences(sink.taken)).toEqual([1, 2, 3]);
});

test.each([[400], [413], [422]])(
  "one event that a sink refuses with %i for good is found, set aside with its number, and holds nobody up",
  async (status) => {
    const { journal, sink, warnings, start } = await stage();
    const expected = await settle(journal, 23);
    const [bad = ""] = expected.slice(6, 7);
    sink.manner = (batch, response, take) =>
      ids(batch).includes(bad) ? void response.writeHead(status).end() : kind(batch, response, take);
    const running = await start();
    await running.flush();
    expect(ids(sink.taken)).toEqual(expected.filter((id) => id !== bad));
    expect(usage(await running.status())).toMatchObject({ sequence: 23, pending: 0, refused: 1 });
    expect(warnings).toMatchObject([{ sink: "central", stream: "usage", item: bad, state: "refused", status }]);
  },
);

test("calls are settled while the sink hangs, and stopping does not wait for it", async () => {
  const { journal, sink, start } = await stage(() => {});
  await settle(journal, 2);
  const running = await start();
  const hanging = running.flush().then(
    () => "sent",
    () => "ended",
  );
  while (sink.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await settle(journal, 5);
  expect(usage(await running.status())).toMatchObject({ pending: 7 });
  await running.stop();
  expect(await hanging).toBe("ended");
});

test("a backlog that goes out at its pace does not hold up a stop, and goes on after it", async () => {
  const { journal, sink, start } = await stage();
  await settle(journal, 25);
  const slow = await start({ maxPerSecond: 1 });
  const under = slow.flush();
  while (sink.taken.length < 10) await new Promise((resolve) => setTimeout(resolve, 5));
  await slow.stop();
  await under;
  expect(sequences(sink.taken)).toEqual(upTo(10));
  await (await start()).flush();
  expect(sequences(sink.taken)).toEqual(upTo(25));
});

test("it sends by itself, at its pace, and comes back after failures", async () => {
  const { journal, sink, warnings, start } = await stage(answer(503));
  await settle(journal, 4);
  await start({ everyMs: 5 });
  while (warnings.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(warnings[1]).toMatchObject({ sink: "central", failures: 2, why: "the sink answered 503" });
  sink.manner = kind;
  while (sink.taken.length < 4) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(sequences(sink.taken)).toEqual([1, 2, 3, 4]);
});

test("the pause doubles to a minute at most, with full jitter", () => {
  expect([0, 1, 2, 3, 7, 8, 500].map((failures) => backoffMs(failures, 1))).toEqual([0, 1_000, 2_000, 4_000, 60_000, 60_000, 60_000]);
  expect([backoffMs(5, 0), backoffMs(5, 0.5)]).toEqual([0, 8_000]);
});

test("a sink's Retry-After is seconds or a date, an hour at most, and nonsense is none", () => {
  const nowMs = Date.UTC(2026, 10, 23);
  const written = ["3", "86400", new Date(nowMs + 5_000).toUTCString(), new Date(nowMs - 5_000).toUTCString(), "soon", null];
  expect(written.map((each) => retryAfterMs(each, nowMs))).toEqual([3_000, 3_600_000, 5_000, 0, null, null]);
});

test("no secret of the sink shows in a warning", async () => {
  const { journal, sink, warnings, start } = await stage(answer(401));
  await settle(journal, 1);
  await start({ everyMs: 1 });
  while (warnings.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await sink.close();
  while (warnings.length < 4) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(JSON.stringify(warnings)).not.toContain("s3cret");
});
