/** Pure. What a visit shows against what is known of the client; every fault is a sentence. */
import type { AuditRecord } from "../../src/call/record/audit-record.ts";
import { COURSES, type Course, REFUSALS, RESULTS, RUN, STEPS, STRANGER, VISIBLE_TOOLS } from "./play.ts";
import type { Report, Seen } from "./report.ts";
import type { Client, Era, Says, Shows } from "./roster.ts";

export type Evidence = {
  readonly ran: readonly string[];
  readonly records: readonly AuditRecord[];
};

/** The first third of the stream is told of when it is over: a buffering gateway would tell it with the result. */
const LEAD_MS_MIN = 100;
const MODERN_REVISION = "2026-07-28";

/** Null: the client has no way to speak to this server, and must say so. */
function eraOf({ era }: Client, course: Course): Era | null {
  return era[COURSES[course].speaksAs];
}

export function judge(client: Client, course: Course, report: Report, { ran, records }: Evidence): string[] {
  if (course === "stranger" || eraOf(client, course) === null) return ["is served where it cannot be"];
  const faults: string[] = [];
  const hold = (truth: boolean, fault: string) => {
    if (!truth) faults.push(fault);
  };
  hold(report.tools.join() === VISIBLE_TOOLS.join(), `lists ${report.tools.join(", ")}`);
  for (const [what, expected] of Object.entries(RESULTS)) {
    const { how, text } = report[what as keyof typeof RESULTS];
    hold(how === "result" && text.includes(expected), `${what}: ${text}`);
  }
  const known = client.shows[COURSES[course].mode];
  for (const [what, shows] of Object.entries(refusalsIn(report)))
    hold(shows === known, `a refusal by ${what} shows ${shows}, not ${known}`);
  const [most, least] = client.progress ? [STEPS, client.mayLoseLastProgress === true ? STEPS - 1 : STEPS] : [0, 0];
  hold(report.progress <= most && report.progress >= least, `${report.progress} notifications of progress`);
  hold(!client.progress || (report.leadMs ?? 0) >= LEAD_MS_MIN, `the first progress came ${report.leadMs} ms before the result`);
  hold(ran.join() === RUN.join(), `upstream ran ${ran.join(", ")}`);
  return [...faults, ...eraFaults(client, eraOf(client, course), records)];
}

/** A client that came to no end: that is as it should be only where nothing can be said, or nobody is let in. */
export function judgeFailure(client: Client, course: Course, fault: string, { ran, records }: Evidence): string[] {
  if (course !== "stranger" && eraOf(client, course) !== null) return [fault];
  const faults: string[] = [];
  if (ran.length > 0) faults.push(`upstream ran ${ran.join(", ")}`);
  if (course !== "stranger") return faults;
  const says = saysOf(fault);
  if (says !== client.door.says) faults.push(`at the door it says ${says}, not ${client.door.says}: ${fault}`);
  const tried = erasTried(records);
  if (tried.join() !== client.door.tries.join()) faults.push(`at the door it tries ${tried.join(", ")}`);
  return faults;
}

export function saysOf(fault: string): Says {
  if (fault.includes(STRANGER.title)) return "reason";
  return fault.includes(String(STRANGER.http)) ? "refused" : "nothing";
}

/** The eras in which a client tried to get in, in the order of trying. */
export function erasTried(records: readonly AuditRecord[]): string[] {
  return [...new Set(records.filter(({ request }) => request?.method !== null).map(({ request }) => request?.era ?? ""))];
}

/** Era and revision of its calls. */
export function erasOfCalls(records: readonly AuditRecord[]): string[] {
  return [...new Set(records.flatMap(({ request }) => (request?.method === "tools/call" ? [`${request.era} ${request.revision}`] : [])))];
}

export function refusalsIn(report: Report): Record<keyof typeof REFUSALS, Shows> {
  return { policy: showsOf(report.policy, "policy"), budget: showsOf(report.budget, "budget") };
}

function showsOf(seen: Seen, by: keyof typeof REFUSALS): Shows {
  const { code, reason, title } = REFUSALS[by];
  if (seen.code === code) return reasonIn(seen.data) === reason ? "data" : "code";
  return seen.text.includes(title) || seen.text.includes(reason) ? "text" : "nothing";
}

function reasonIn(data: unknown): unknown {
  return typeof data === "object" && data !== null ? (data as Record<string, unknown>).reason : undefined;
}

/** A refusal must not make a client try again in the other era: what the gateway recorded tells, not what the client believes. */
function eraFaults(client: Client, era: Era | null, records: readonly AuditRecord[]): string[] {
  const asked = records.filter(({ request }) => request?.method === "tools/call" || request?.method === "tools/list");
  const faults = asked
    .filter(({ request }) => request?.era !== era || (request?.revision === MODERN_REVISION) !== (era === "modern"))
    .map(
      ({ request, reason }) => `${request?.method} went in ${request?.era} ${request?.revision}${reason === null ? "" : ` (${reason})`}`,
    );
  if (asked.length === 0) faults.push("the gateway recorded nothing");
  if (client.connectsAgain === true) return faults;
  const firstCall = records.findIndex(({ request }) => request?.method === "tools/call");
  const again = records.slice(firstCall + 1).filter(({ request }) => isHandshake(request?.method));
  return [...faults, ...again.map(({ request }) => `${request?.method} again, after the first call`)];
}

function isHandshake(method: string | null | undefined): boolean {
  return method === "initialize" || method === "server/discover";
}
