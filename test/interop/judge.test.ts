import { expect, test } from "vitest";
import type { AuditRecord } from "../../src/call/record/audit-record.ts";
import { type Evidence, judge, judgeFailure } from "./judge.ts";
import { REFUSALS, RESULTS, RUN, STEPS, STRANGER, VISIBLE_TOOLS } from "./play.ts";
import type { Report, Seen } from "./report.ts";
import { type Client, ROSTER } from "./roster.ts";

const [CLIENT, PINNED] = ["sdk-v2-auto", "sdk-v2-pinned"].map((name) => ROSTER.find((client) => client.name === name)) as [Client, Client];

const result = (text: string): Seen => ({ how: "result", name: null, code: null, text, data: null });
const refusal = (by: keyof typeof REFUSALS): Seen => {
  const { code, title, reason } = REFUSALS[by];
  return { how: "thrown", name: "ProtocolError", code, text: title, data: { reason } };
};
const record = (method: string, revision = "2026-07-28", reason: string | null = null) =>
  ({ request: { method, era: revision === "2026-07-28" ? "modern" : "legacy", revision }, reason }) as AuditRecord;

const REPORT: Report = {
  tools: VISIBLE_TOOLS,
  result: result(RESULTS.result),
  policy: refusal("policy"),
  within: result(RESULTS.within),
  budget: refusal("budget"),
  streamed: result(RESULTS.streamed),
  progress: STEPS,
  leadMs: 400,
  after: result(RESULTS.after),
};
const EVIDENCE: Evidence = { ran: RUN, records: [record("server/discover"), record("tools/list"), ...RUN.map(() => record("tools/call"))] };

test("a visit as it is known of the client has no fault", () => {
  expect(judge(CLIENT, "jsonrpc", REPORT, EVIDENCE)).toEqual([]);
});

const FALLEN = "2025-11-25";
const PLANTED: readonly [what: string, report: Partial<Report>, evidence: Partial<Evidence>, fault: RegExp][] = [
  ["a forbidden tool is listed", { tools: ["delete_everything", ...VISIBLE_TOOLS] }, {}, /lists delete_everything/],
  ["a result is another", { result: result("hullo") }, {}, /result: hullo/],
  ["a result is an error", { after: { ...result(RESULTS.after), how: "told" } }, {}, /after: still here/],
  ["a refusal loses its data", { policy: { ...refusal("policy"), data: null } }, {}, /policy shows code/],
  ["a refusal loses its code", { policy: { ...refusal("policy"), code: null } }, {}, /policy shows text/],
  ["a refusal loses its words", { budget: { ...refusal("budget"), code: null, text: "HTTP 500" } }, {}, /budget shows nothing/],
  ["a refused call gives a result", { budget: result(RESULTS.within) }, {}, /budget shows nothing/],
  ["progress is lost", { progress: STEPS - 1 }, {}, /2 notifications/],
  ["progress comes with the result", { leadMs: 3 }, {}, /3 ms before/],
  ["a refused call runs upstream", {}, { ran: [...RUN, "search"] }, /upstream ran .*search/],
  [
    "a call after a refusal goes in the other era",
    {},
    { records: [record("tools/call"), record("tools/call", FALLEN)] },
    /tools\/call went in legacy/,
  ],
  [
    "a refused call is tried again in the other era",
    {},
    { records: [record("tools/call"), record("tools/call", FALLEN, "arguments_denied")] },
    /\(arguments_denied\)/,
  ],
  ["a client shakes hands again", {}, { records: [record("tools/call"), record("initialize", FALLEN)] }, /initialize again/],
  ["nothing is recorded", {}, { records: [] }, /recorded nothing/],
];

test.each(PLANTED)("seen: %s", (_, report, evidence, fault) => {
  expect(judge(CLIENT, "jsonrpc", { ...REPORT, ...report }, { ...EVIDENCE, ...evidence }).join("\n")).toMatch(fault);
});

test("a client that gets through where it cannot is a fault, and so is one that fails where it can", () => {
  expect(judge(CLIENT, "stranger", REPORT, EVIDENCE)).toHaveLength(1);
  expect(judge(PINNED, "sessions", REPORT, EVIDENCE)).toHaveLength(1);
  expect(judgeFailure(CLIENT, "jsonrpc", "broken", EVIDENCE)).toEqual(["broken"]);
});

test("at the door, what it says and the eras it tries are held", () => {
  const refused = { ran: [], records: [record("server/discover")] };
  expect(judgeFailure(CLIENT, "stranger", "denied (HTTP 403)", refused)).toEqual([]);
  expect(judgeFailure(CLIENT, "stranger", STRANGER.title, refused)).toHaveLength(1);
  expect(
    judgeFailure(CLIENT, "stranger", "denied (HTTP 403)", { ran: [], records: [...refused.records, record("initialize", FALLEN)] }),
  ).toEqual(["at the door it tries modern, legacy"]);
});
