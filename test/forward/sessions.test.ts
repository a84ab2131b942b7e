/** A session is its opener's, on the route where it was opened; to all others it does not exist. */
import { expect, test } from "vitest";
import { createSessions } from "../../src/call/forward/sessions.ts";
import type { ServerName } from "../../src/ids.ts";

const HERE = "here" as ServerName;
const THERE = "there" as ServerName;

test("only the principal that opened a session owns it, and only on its route", () => {
  const sessions = createSessions();
  sessions.bind("s1", "alice", HERE);
  expect(sessions.owns("s1", "alice", HERE)).toBe(true);
  expect(sessions.owns("s1", "bob", HERE)).toBe(false);
  expect(sessions.owns("s1", "alice", THERE)).toBe(false);
  expect(sessions.owns("S1", "alice", HERE)).toBe(false);
});

test("a session that nobody opened here is nobody's: ids are not chosen by clients", () => {
  const sessions = createSessions();
  for (const id of ["s1", "", "here s1", "__proto__", "constructor"]) expect(sessions.owns(id, "alice", HERE)).toBe(false);
});

test("an id that the upstream mints twice stays with whom it was minted for first", () => {
  const sessions = createSessions();
  sessions.bind("s1", "alice", HERE);
  sessions.bind("s1", "bob", HERE);
  expect(sessions.owns("s1", "alice", HERE)).toBe(true);
  expect(sessions.owns("s1", "bob", HERE)).toBe(false);
  sessions.bind("s1", "bob", THERE);
  expect(sessions.owns("s1", "bob", THERE)).toBe(true);
});

test("only its owner ends a session, and then it is gone", () => {
  const sessions = createSessions();
  sessions.bind("s1", "alice", HERE);
  sessions.end("s1", "bob", HERE);
  sessions.end("s1", "alice", THERE);
  expect(sessions.owns("s1", "alice", HERE)).toBe(true);
  sessions.end("s1", "alice", HERE);
  expect(sessions.owns("s1", "alice", HERE)).toBe(false);
});

test("a hundred thousand sessions are kept; the one that was longest unused makes room", () => {
  const sessions = createSessions();
  for (let i = 0; i < 100_000; i++) sessions.bind(`s${i}`, "alice", HERE);
  expect(sessions.owns("s0", "alice", HERE)).toBe(true);
  sessions.bind("one more", "alice", HERE);
  expect(sessions.owns("s1", "alice", HERE)).toBe(false);
  expect([sessions.owns("s0", "alice", HERE), sessions.owns("s2", "alice", HERE), sessions.owns("one more", "alice", HERE)]).toEqual([
    true,
    true,
    true,
  ]);
});

test("long ids take the room of many: all together hold twenty million characters", () => {
  const sessions = createSessions();
  const id = (i: number) => `${i}`.padEnd(16_000, "x");
  for (let i = 0; i < 2_000; i++) sessions.bind(id(i), "alice", HERE);
  const kept = [...Array(2_000).keys()].filter((i) => sessions.owns(id(i), "alice", HERE));
  expect(kept.length).toBeLessThanOrEqual(1_250);
  expect(kept.length).toBeGreaterThan(1_200);
  expect(kept.at(-1)).toBe(1_999);
});

test("a withheld result stays withheld on the streams of its session, whatever spelling its id has", () => {
  const sessions = createSessions();
  const call = { server: HERE, sessionId: "s1", idText: '"a"' };
  sessions.withhold("alice", call);
  const stream = { server: HERE, sessionId: "s1", idText: null };
  expect(sessions.isWithheld("alice", stream, '"\\u0061"')).toBe(true);
  expect(sessions.isWithheld("alice", stream, '"b"')).toBe(false);
  expect(sessions.isWithheld("alice", { ...stream, sessionId: "s2" }, '"a"')).toBe(false);
  expect(sessions.isWithheld("bob", stream, '"a"')).toBe(false);
});
