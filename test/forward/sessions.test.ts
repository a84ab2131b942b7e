/** A session is its opener's, on the route and at the backend where it was opened; to all others it does not exist. */
import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { createSessions } from "../../src/call/forward/sessions.ts";
import { mintId, type ServerName } from "../../src/ids.ts";
import { isRefusal } from "../../src/refusal.ts";
import { createSeal } from "../../src/seal.ts";
import { alice, request, requestOf } from "./http-client.ts";

const HERE = "here" as ServerName;
const THERE = "there" as ServerName;
const BACKENDS = new Map([
  [HERE, "https://a.example"],
  [THERE, "https://a.example"],
]);
const ALICE = { principal: "alice" };
const BOB = { principal: "bob" };
const rootKey = randomBytes(32);

const fresh = (backends: ReadonlyMap<ServerName, string> = BACKENDS, epoch = "") =>
  createSessions({ seal: createSeal(rootKey), backends, epoch: () => epoch });
const asked = (sessionId: string | null, server = HERE, view: string | null = null) => ({ ...requestOf(null), server, view, sessionId });
const given = (sessionId: string, server = HERE) => fresh().seal(ALICE, { server, view: null }, sessionId) ?? "";
const UNKNOWN = { refused: "session_unknown" };

test("whoever opened a session finds it, also at another gateway with the same key", () => {
  const sealed = given("s1");
  expect(fresh().open(ALICE, asked(sealed))).toMatchObject({ server: HERE, sessionId: "s1" });
  expect(Buffer.from(sealed, "base64url").includes("s1")).toBe(false);
});

test("another principal, another route, a view and another backend under the same name find nothing", () => {
  const sealed = given("s1");
  expect(fresh().open(BOB, asked(sealed))).toMatchObject(UNKNOWN);
  expect(fresh().open(ALICE, asked(sealed, THERE))).toMatchObject(UNKNOWN);
  expect(fresh().open(ALICE, asked(sealed, HERE, "/mcp"))).toMatchObject(UNKNOWN);
  expect(fresh(new Map([[HERE, "https://b.example"]])).open(ALICE, asked(sealed))).toMatchObject(UNKNOWN);
  expect(
    createSessions({ seal: createSeal(randomBytes(32)), backends: BACKENDS, epoch: () => "" }).open(ALICE, asked(sealed)),
  ).toMatchObject(UNKNOWN);
});

test("a session that nobody opened here is nobody's: ids are not chosen by clients, nor is the server's own one", () => {
  given("s1");
  for (const id of ["s1", "", "here s1", "__proto__", "constructor", given("s1").slice(1)])
    expect(fresh().open(ALICE, asked(id))).toMatchObject(UNKNOWN);
});

test("a request without a session stays as it is", () => {
  const request = asked(null);
  expect(fresh().open(ALICE, request)).toBe(request);
});

test("a stream is resumed by an event of its own session, at any gateway with the same key", () => {
  const sealed = given("s1");
  const eventId = fresh().eventId(ALICE, asked("s1"), "e.1");
  const resumed = (sessionId: string | null, lastEventId: string) => ({ ...asked(sessionId), lastEventId });
  expect(fresh().open(ALICE, resumed(sealed, eventId))).toMatchObject({ sessionId: "s1", lastEventId: "e.1" });
  expect(fresh().open(BOB, resumed(fresh().seal(BOB, asked(null), "s1") ?? "", eventId))).toMatchObject(UNKNOWN);
  expect(fresh().open(ALICE, resumed(given("s2"), eventId))).toMatchObject(UNKNOWN);
  expect(fresh().open(ALICE, resumed(null, eventId))).toMatchObject(UNKNOWN);
  for (const guessed of ["", "e.1", `${eventId}1`, eventId.slice(1), eventId.slice(0, 23), `A${eventId.slice(1)}x`])
    expect(fresh().open(ALICE, resumed(sealed, guessed))).toMatchObject(UNKNOWN);
  const alone = fresh().eventId(ALICE, asked(null), "7");
  expect(fresh().open(ALICE, resumed(null, alone))).toMatchObject({ sessionId: null, lastEventId: "7" });
});

test("where results may be withheld, only the process that withheld them resumes a stream", () => {
  const sealed = given("s1");
  const here = fresh(BACKENDS, "epoch 1");
  const request = { ...asked(sealed), lastEventId: here.eventId(ALICE, asked("s1"), "1") };
  expect(here.open(ALICE, request)).toMatchObject({ lastEventId: "1" });
  expect(fresh(BACKENDS, "epoch 2").open(ALICE, request)).toMatchObject(UNKNOWN);
  expect(fresh(BACKENDS, "epoch 2").open(ALICE, { ...request, lastEventId: null })).toMatchObject({ sessionId: "s1" });
});

test("a withheld result stays withheld on the streams of its session, whatever spelling its id has", () => {
  const sessions = fresh();
  const call = { server: HERE, sessionId: "s1", idText: '"a"', callId: mintId("call", 0) };
  sessions.withhold("alice", call);
  const stream = { server: HERE, sessionId: "s1", idText: null };
  expect(sessions.isWithheld("alice", stream, '"\\u0061"')).toBe(true);
  expect(sessions.isWithheld("alice", stream, '"b"')).toBe(false);
  expect(sessions.isWithheld("alice", { ...stream, sessionId: "s2" }, '"a"')).toBe(false);
  expect(sessions.isWithheld("bob", stream, '"a"')).toBe(false);
});

test("a request that is refused for its event id leaves its own id free", () => {
  const sessions = createSessions({ seal: createSeal(Buffer.alloc(32, 7)), backends: new Map(), epoch: () => "" });
  const agent = alice();
  const asked = (sessionId: string | null, lastEventId: string | null) => ({
    ...requestOf(request("tools/call", { name: "t" }, "one"), { era: "legacy" }),
    sessionId,
    lastEventId,
  });
  const sealed = sessions.seal(agent, asked(null, null), "own");
  expect(sessions.open(agent, asked(sealed, "nobody's"))).toMatchObject({ refused: "session_unknown" });
  expect(sessions.open(agent, asked(sealed, null))).toMatchObject({ sessionId: "own" });
  expect(sessions.open(agent, asked(sealed, null))).toMatchObject({ refused: "request_malformed" });
});

test("without a session a withheld result is known by its call: it stays on no other's stream, and another's comes on none", () => {
  const sessions = fresh();
  const callOf = (serial: number) => ({ server: HERE, sessionId: null, idText: "1", callId: mintId("call", serial) });
  const [kept, given] = [callOf(1), callOf(2)];
  sessions.withhold("alice", kept);
  const streamOf = (call: typeof kept) => {
    const { lastEventId, resumes } = opened(sessions.eventId(ALICE, { ...asked(null), ...call }, "e.7"));
    expect(lastEventId).toBe("e.7");
    return { server: HERE, sessionId: null, idText: null, resumes };
  };
  const opened = (lastEventId: string) => {
    const answer = sessions.open(ALICE, { ...asked(null), course: "stream", idText: null, lastEventId });
    if (isRefusal(answer) || answer.resumes === undefined) throw new Error("not resumed");
    return { lastEventId: answer.lastEventId, resumes: answer.resumes };
  };
  const heard = (call: typeof kept, idText: string) => !sessions.isWithheld("alice", streamOf(call), idText);
  expect([heard(kept, "1"), heard(given, "1"), heard(given, '"1"'), heard(given, "2")]).toEqual([false, true, true, false]);
  expect([sessions.isKept(kept), sessions.isKept(given)]).toEqual([true, false]);
  // One with the same id is under way: what comes may be its answer, which is not settled.
  const another = { ...asked(null), ...callOf(3), era: "legacy", course: "metered" } as const;
  sessions.open(ALICE, another);
  const underWay = sessions.underWay(another);
  const answers = (isCounted: boolean) => {
    if (underWay === null) throw new Error("not under way");
    underWay.isCounted = isCounted;
    return heard(given, "1");
  };
  expect([heard(given, "1"), answers(true), answers(false)]).toEqual([true, false, true]);
});

test("an id of any length and with any sign is known again", () => {
  const sessions = fresh();
  for (const idText of ['"a.b%.é"', `"${"x".repeat(500)}"`, "-1.5", '"\\ud800"']) {
    const call = { ...asked(null), idText, callId: mintId("call", 0) };
    const lastEventId = sessions.eventId(ALICE, call, ".7.");
    const stream = sessions.open(ALICE, { ...asked(null), course: "stream", idText: null, lastEventId });
    expect([stream, lastEventId.length < 256, /^[!-~]+$/.test(lastEventId)]).toMatchObject([{ lastEventId: ".7." }, true, true]);
    expect(isRefusal(stream) || sessions.isWithheld("alice", stream, idText)).toBe(false);
  }
});
