/** Pure. What a visit shows against what is known of the client; every fault is a sentence. */
import type { AuditRecord } from "../../src/call/record/audit-record.ts";
import type { Report, Seen } from "./report.ts";
import type { Client, Era, Mode, Shows } from "./roster.ts";
import { type ServerName, VISIBLE_TOOLS } from "./stage.ts";

export type Evidence = {
  readonly ran: readonly string[];
  readonly records: readonly AuditRecord[];
};

/** What the visit's script makes the upstream do: no refused call is among it. */
const RUN = ["echo", "add", "slow", "echo"];
const STEPS = 3;
/** The stream lasts 600 ms and its first third is told of: a buffered one would tell it at the end. */
const LEAD_MS_MIN = 100;
const MODERN_REVISION = "2026-07-28";

export function judge(client: Client, mode: Mode, server: ServerName, report: Report, evidence: Evidence): string[] {
  const faults: string[] = [];
  const hold = (truth: boolean, fault: string) => {
    if (!truth) faults.push(fault);
  };
  hold(report.tools.join() === VISIBLE_TOOLS.join(), `lists ${report.tools.join(", ")}`);
  hold(isResult(report.result, "hello"), `no result: ${report.result.text}`);
  hold(isResult(report.within, '{"sum":3}'), `nothing within the budget: ${report.within.text}`);
  hold(isResult(report.streamed, "waited 600 ms"), `no streamed result: ${report.streamed.text}`);
  hold(isResult(report.after, "still here"), `no result after the refusals: ${report.after.text}`);
  for (const [what, seen] of Object.entries(refusalsOf(report, mode)))
    hold(seen === client.shows[mode], `a refusal by ${what} shows ${seen ?? "nothing"}, not ${client.shows[mode]}`);
  hold(report.progress === (client.progress ? STEPS : 0), `${report.progress} notifications of progress`);
  hold(!client.progress || (report.leadMs ?? 0) >= LEAD_MS_MIN, `the first progress came ${report.leadMs} ms before the result`);
  hold(evidence.ran.join() === RUN.join(), `upstream ran ${evidence.ran.join(", ")}`);
  return [...faults, ...eraFaults(client, client.era[server], evidence.records)];
}

function isResult({ how, text }: Seen, expected: string): boolean {
  return how === "result" && text.includes(expected);
}

const REFUSED = {
  policy: { code: 40301, reason: "arguments_denied", title: "These arguments are not permitted" },
  budget: { code: 42910, reason: "budget_exhausted", title: "The budget is used up" },
} as const;

export function refusalsOf(report: Report, mode: Mode): Record<keyof typeof REFUSED, Shows | null> {
  return { policy: showsOf(report.policy, "policy", mode), budget: showsOf(report.budget, "budget", mode) };
}

/** Null: not even that something was refused. */
function showsOf(seen: Seen, by: keyof typeof REFUSED, mode: Mode): Shows | null {
  if (seen.how === "result") return null;
  const { code, reason, title } = REFUSED[by];
  if (seen.code === code) return reasonIn(seen.data) === reason ? "data" : "code";
  if (seen.text.includes(title) || seen.text.includes(reason)) return "text";
  return mode === "http" ? "status" : null;
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
  if (client.connectsAgain !== true) {
    const firstCall = records.findIndex(({ request }) => request?.method === "tools/call");
    const again = records.slice(firstCall + 1).filter(({ request }) => isHandshake(request?.method));
    faults.push(...again.map(({ request }) => `${request?.method} again, after the first call`));
  }
  return faults;
}

function isHandshake(method: string | null | undefined): boolean {
  return method === "initialize" || method === "server/discover";
}
