import { type AddressInfo, createServer } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { writeCheckpoint } from "./checkpoint.ts";
import { httpSink, kind, type Manner } from "./http-sink.ts";
import { centralSink } from "./ledger.ts";
import { answer, asides, bookStage, collectorStage, ids, later, sequences, settle, startOne, stopAll, upTo } from "./stage.ts";

afterEach(stopAll);

const json = (status: number, body: unknown) => answer(status, JSON.stringify(body), { "content-type": "application/json" });
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** When the entries of these tests were settled. */
const SETTLED_MS = Date.UTC(2026, 10, 23, 10, 0, 0);

describe("a 2xx that names events which were not taken", () => {
  const shapes: [what: string, errors: object | string | null, body: (second: string) => unknown, state: string][] = [
    ["errors by index", null, () => ({ errors: [{ index: 1, message: "no such meter" }] }), "refused"],
    ["failed by id", null, (id) => ({ failed: [{ id, status: 422, reason: "no such meter" }] }), "refused"],
    ["errors that say to come back", null, () => ({ errors: [{ index: 1, retryable: true, message: "busy" }] }), "retry"],
    ["a status that says to come back", null, () => ({ errors: [{ index: 1, status: 503, message: "busy" }] }), "retry"],
    ["unprocessed ones", null, (id) => ({ accepted: 2, unprocessed: [{ id }] }), "retry"],
    ["a list that the configuration points to", "/data/bad", () => ({ data: { bad: [{ index: 1, error: "x" }] } }), "refused"],
    [
      "records echoed as Amazon does",
      { list: "/UnprocessedRecords", index: "/none", id: "/record/id", retry: "always" },
      (id) => ({ Results: [], UnprocessedRecords: [{ record: { id } }] }),
      "retry",
    ],
  ];
  test.each(shapes)("%s: that event alone is set aside, the others count", async (_, errors, body, state) => {
    const { journal, reader, sink, start } = await collectorStage();
    const expected = await settle(journal, 3);
    const pointers = typeof errors === "string" ? { list: errors, index: "/index", id: "/id", retry: "/retryable" } : errors;
    sink.manner = (batch, response, take) => {
      take();
      json(200, body(batch[1]?.id ?? ""))(batch, response, take);
    };
    const running = await start({ errors: pointers as never });
    await running.flush();
    expect(await asides(reader)).toMatchObject([{ sequence: 2, state, tries: 1 }]);
    expect(await running.status()).toMatchObject({ streams: [{ sequence: 3, pending: 0 }], failures: 0 });
    expect(ids(sink.taken)).toEqual(expected);
  });

  test("an event to come back with is sent again by itself later, and holds nobody up meanwhile", async () => {
    const { journal, reader, sink, clock, start } = await collectorStage();
    await settle(journal, 3);
    sink.manner = (batch, response, take) =>
      batch.length > 1 ? json(200, { errors: [{ index: 1, retryable: true }] })(batch, response, take) : answer(503)(batch, response, take);
    const running = await start({ dedupeWindowMs: DAY_MS });
    await running.flush();
    await settle(journal, 1);
    sink.manner = kind;
    await running.flush();
    expect(sequences(sink.taken)).toEqual([4]);
    clock.nowMs += 1_000;
    await running.flush();
    expect(sequences(sink.taken)).toEqual([4, 2]);
    expect(await asides(reader)).toEqual([]);
  });

  test("one that a sink will have again and again is refused in the end, with how often it was tried", async () => {
    const { journal, reader, sink, clock, start } = await collectorStage();
    await settle(journal, 1);
    sink.manner = json(200, { errors: [{ index: 0, retryable: true, message: "busy" }] });
    const running = await start();
    for (let i = 0; i < 30; i++) {
      await running.flush();
      clock.nowMs += HOUR_MS;
    }
    expect(await asides(reader)).toMatchObject([{ state: "refused", tries: 25, reason: "still so after 25 tries: busy" }]);
    expect(sink.requests).toHaveLength(25);
  });

  test("an error that belongs to no event of the batch is found by halving, and the others count", async () => {
    const { journal, reader, sink, start } = await collectorStage();
    const expected = await settle(journal, 5);
    sink.manner = (batch, response, take) =>
      ids(batch).includes(expected[3] ?? "")
        ? json(200, { errors: [{ message: "something is wrong" }] })(batch, response, take)
        : kind(batch, response, take);
    await (await start()).flush();
    expect(await asides(reader)).toMatchObject([{ sequence: 4, state: "refused" }]);
    expect(sequences(sink.taken)).toEqual([1, 2, 3, 5]);
  });
});

describe("a 2xx that says more than there is to say", () => {
  test("the same event named 80,000 times is set aside once, and told in one line", async () => {
    const { journal, reader, sink, warnings, start } = await collectorStage();
    await settle(journal, 3);
    sink.manner = json(200, { errors: Array.from({ length: 80_000 }, () => ({ index: 1, message: "no" })) });
    await (await start()).flush();
    expect(await asides(reader)).toMatchObject([{ sequence: 2, state: "refused", tries: 1 }]);
    expect(warnings).toHaveLength(1);
  });

  test("each event is named, by id and again: ten lines, and one with how many more there are", async () => {
    const { journal, reader, sink, warnings, start } = await collectorStage(kind, 40);
    const errors = (await settle(journal, 40)).map((id) => ({ id, message: "no" }));
    sink.manner = json(200, { errors: [...errors, ...errors, ...errors] });
    await (await start()).flush();
    expect(await asides(reader)).toHaveLength(40);
    expect(warnings).toHaveLength(11);
    expect(warnings.at(-1)).toEqual({ sink: "central", count: 30 });
  });

  test.each([
    ["deep", `${"[".repeat(200_000)}${"]".repeat(200_000)}`],
    ["an object", "{}"],
    ["as long as a book", JSON.stringify("x".repeat(100_000))],
  ])("a message that is %s does not stop the sink", async (_, message) => {
    const { journal, reader, sink, start } = await collectorStage();
    await settle(journal, 2);
    sink.manner = answer(200, `{"errors": [{"index": 0, "message": ${message}}]}`, { "content-type": "application/json" });
    const running = await start();
    await running.flush();
    expect(await asides(reader)).toMatchObject([{ sequence: 1, state: "refused", reason: "the sink gives no short reason" }]);
    expect(await running.status()).toMatchObject({ streams: [{ sequence: 2, pending: 0 }], failures: 0 });
  });

  test.each([
    ["an id", { id: "somebody-else's" }],
    ["an index", { index: 99 }],
  ])("an error of what was not sent, by %s, takes nothing from the batch and is noted once", async (_, error) => {
    const { journal, reader, sink, warnings, start } = await collectorStage();
    await settle(journal, 5);
    sink.manner = json(200, { errors: [error, error] });
    await (await start()).flush();
    expect(sink.requests).toHaveLength(1);
    expect(await asides(reader)).toEqual([]);
    expect(warnings).toEqual([{ sink: "central", why: "the sink names 2 errors of what it was not sent" }]);
  });

  test("an error with an id of the sink's own is of the event at its index", async () => {
    const { journal, reader, sink, start } = await collectorStage();
    await settle(journal, 3);
    sink.manner = json(200, { errors: [{ id: "error-17", index: 2, message: "no" }] });
    await (await start()).flush();
    expect(await asides(reader)).toMatchObject([{ sequence: 3, state: "refused" }]);
  });
});

test.each([
  ["a page of a portal", "text/html", "<html>Sign in</html>"],
  ["half an answer", "application/json", '{"accepted": 1'],
  ["a list where the errors should be counted", "application/json", '{"errors": 3}'],
])("a sink that says 200 with %s has not said yes: the events wait", async (_, type, body) => {
  const { journal, sink, start } = await collectorStage(answer(200, body, { "content-type": type }));
  await settle(journal, 2);
  const running = await start();
  await expect(running.flush()).rejects.toThrow("the sink");
  expect(await running.status()).toMatchObject({ streams: [{ sequence: 0, pending: 2 }], failures: 1, lastError: expect.any(String) });
  sink.manner = json(200, { accepted: 2, errors: [] });
  await running.flush();
  expect(await running.status()).toMatchObject({ streams: [{ sequence: 2, pending: 0 }] });
});

test("an answer that comes too late counts as none: the same ids go out again", async () => {
  const late: (() => void)[] = [];
  const { journal, sink, start } = await collectorStage((batch, response, take) => {
    late.push(() => kind(batch, response, take));
  });
  const expected = await settle(journal, 2);
  const running = await start({ timeoutMs: 50 });
  await expect(running.flush()).rejects.toThrow(/timeout|aborted/);
  for (const end of late.splice(0)) end();
  sink.manner = kind;
  await running.flush();
  expect(sink.requests.map((request) => ids(request.events))).toEqual([expected, expected]);
});

describe("a sink that knows for a day what it has", () => {
  const brokenOff: Manner = (_, response) => void response.socket?.destroy();

  test("gets what it may have again within that day, after a restart too, and not a minute later", async () => {
    const { journal, reader, sink, warnings, clock, start } = await collectorStage(brokenOff, 2);
    await settle(journal, 3);
    const first = await start({ dedupeWindowMs: DAY_MS });
    await expect(first.flush()).rejects.toThrow();
    await first.stop();
    clock.nowMs += DAY_MS;
    const second = await start({ dedupeWindowMs: DAY_MS });
    await expect(second.flush()).rejects.toThrow();
    expect(sink.requests).toHaveLength(2);
    clock.nowMs += 1;
    sink.manner = kind;
    await second.flush();
    expect(sequences(sink.taken)).toEqual([3]);
    expect(await asides(reader)).toMatchObject([
      { sequence: 1, state: "unknown", reason: expect.stringContaining("dedupe window is over") },
      { sequence: 2, state: "unknown" },
    ]);
    expect(warnings.filter(({ state }) => state === "unknown")).toHaveLength(2);
    expect(await second.status()).toMatchObject({ streams: [{ pending: 0 }], aside: { unknown: 2 } });
  });

  test.each([
    ["says 503", answer(503)],
    ["says 401", answer(401)],
    ["refuses the connection", null],
  ])("gets everything after a year if it only %s", async (_, manner) => {
    const { journal, reader, sink, clock, start } = await collectorStage(manner ?? kind);
    await settle(journal, 3);
    const gone = await httpSink();
    await gone.close();
    const away = await start({ dedupeWindowMs: DAY_MS, url: manner === null ? gone.url : sink.url });
    await expect(away.flush()).rejects.toThrow();
    clock.nowMs += 365 * DAY_MS;
    await expect(away.flush()).rejects.toThrow();
    await away.stop();
    clock.nowMs += 365 * DAY_MS;
    sink.manner = kind;
    await (await start({ dedupeWindowMs: DAY_MS })).flush();
    expect(sequences(sink.taken)).toEqual([1, 2, 3]);
    expect(await asides(reader)).toEqual([]);
  });

  test("is not told for certain of a batch whose first half it took before it broke down", async () => {
    const { journal, reader, sink, clock, start } = await collectorStage();
    await settle(journal, 4);
    sink.manner = (batch, response, take) =>
      batch.length === 4
        ? answer(413)(batch, response, take)
        : batch[0]?.sequence?.endsWith("1")
          ? kind(batch, response, take)
          : answer(503)(batch, response, take);
    const running = await start({ dedupeWindowMs: DAY_MS });
    await expect(running.flush()).rejects.toThrow();
    clock.nowMs += DAY_MS + 1;
    sink.manner = kind;
    await running.flush();
    expect(sequences(sink.taken)).toEqual([1, 2]);
    expect(await asides(reader)).toHaveLength(4);
  });
});

test("what a person decides of those set aside: sent again, whatever their age, or let be", async () => {
  const { journal, reader, sink, start } = await collectorStage();
  const [bad = ""] = (await settle(journal, 3)).slice(1);
  sink.manner = (batch, response, take) => (ids(batch).includes(bad) ? answer(422)(batch, response, take) : kind(batch, response, take));
  const running = await start();
  await running.flush();
  sink.manner = kind;
  expect(await journal.run("decideAsides", "central", ["unknown"], true)).toBe(0);
  expect(await journal.run("decideAsides", "central", ["refused"], true)).toBe(1);
  await running.flush();
  expect(sequences(sink.taken)).toEqual([1, 3, 2]);
  expect(await asides(reader)).toEqual([]);
});

test("an event that is too old for the sink is not sent but set aside, until a person asks for it", async () => {
  const { journal, reader, sink, clock, start } = await collectorStage();
  await settle(journal, 2);
  clock.nowMs = SETTLED_MS + HOUR_MS + 1;
  const running = await start({ maxAgeMs: HOUR_MS });
  await running.flush();
  expect(sink.requests).toHaveLength(0);
  expect(await asides(reader)).toMatchObject([
    { sequence: 1, state: "expired" },
    { sequence: 2, state: "expired" },
  ]);
  await journal.run("decideAsides", "central", ["expired"], true);
  await running.flush();
  expect(sequences(sink.taken)).toEqual(upTo(2));
});

test("a sink that has a name now goes on where it was under its URL", async () => {
  const { journal, sink, start } = await collectorStage();
  await settle(journal, 5);
  await (await start({ name: sink.url })).flush();
  await settle(journal, 2);
  await (await start({ name: "meter" })).flush();
  expect(sequences(sink.taken)).toEqual(upTo(7));
});

test("signed checkpoints go to a collector as events of their own kind", async () => {
  const { dir, journal, sink, start } = await collectorStage();
  await settle(journal, 2);
  const { root, note } = writeCheckpoint(dir, journal.source, 2);
  await (await start({ send: ["usage", "checkpoints"] })).flush();
  expect(sink.taken.map(({ type }) => type)).toEqual([
    ...upTo(2).map(() => "io.tollgate.call.settled.v1"),
    "io.tollgate.log.checkpoint.v1",
  ]);
  expect(sink.taken[2]).toMatchObject({ id: `${journal.source}.checkpoint.2`, data: { size: 2, root: `sha256:${root}`, note } });
});

describe("what a sink says back of the credential that it was given is not kept", () => {
  test.each([
    ["in the message of an error", 200, { errors: [{ index: 0, message: "bad header: Authorization: Bearer s3cret" }] }],
    ["alone", 200, { errors: [{ index: 0, reason: "token=S3CRET; other=Bearer abc.def" }] }],
    ["where a cut would leave half of it", 200, { errors: [{ index: 0, message: `${"x".repeat(296)}s3cret` }] }],
    ["in an error of nothing", 200, { errors: [{ message: "who is s3cret?" }] }],
    ["in the body of a refusal", 422, { message: "Bearer s3cret" }],
  ])("%s", async (_, status, body) => {
    const { journal, reader, sink, warnings, start } = await collectorStage(json(status, body));
    await settle(journal, 1);
    const running = await start();
    await running.flush();
    const kept = await reader.ask("sinkAsides", { sink: "central", state: null, after: null, limit: 100 });
    expect(kept).toHaveLength(1);
    expect(sink.requests[0]?.headers.authorization).toBe("Bearer s3cret");
    expect(JSON.stringify([kept, warnings, await running.status()])).not.toMatch(/s3c|abc\.def/i);
  });

  test("in the name of a format", async () => {
    const { journal, warnings, start } = await collectorStage(answer(200, "x", { "content-type": "text/s3cret" }));
    await settle(journal, 1);
    const running = await start();
    await expect(running.flush()).rejects.toThrow("text/[redacted]");
    expect(JSON.stringify([warnings, await running.status()])).not.toContain("s3cret");
  });
});

test("a database that says its password back is not quoted with it", async () => {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => {
      const fields = Buffer.from("SFATAL\0VFATAL\0C28P01\0Mwrong: pa55 word, pa55%20word\0\0");
      const head = Buffer.from("E0000");
      head.writeInt32BE(fields.length + 4, 1);
      socket.end(Buffer.concat([head, fields]));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  later(async () => void server.close());
  const { journal, warnings, parts } = await bookStage();
  await settle(journal, 1);
  const { port } = server.address() as AddressInfo;
  const running = await startOne(parts, centralSink(`postgres://u:pa55%20word@127.0.0.1:${port}/x`));
  await expect(running.flush()).rejects.toThrow("wrong: [redacted], [redacted]");
  expect(JSON.stringify([warnings, await running.status()])).not.toContain("pa55");
});
