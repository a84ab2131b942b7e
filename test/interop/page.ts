/** Pure. The outcomes as aligned lines, and as the tables of docs/interop.md. */
import { refusalsIn, saysOf } from "./judge.ts";
import type { Course, Mode } from "./play.ts";
import type { Report, Seen } from "./report.ts";
import type { Client, Says, Shows } from "./roster.ts";

export type Outcome = {
  readonly client: Client;
  /** Of `client.packages`, in their order. */
  readonly versions: readonly string[];
  readonly course: Course;
  /** Null when the client came to no end, which `fault` tells. */
  readonly report: Report | null;
  readonly fault: string | null;
  /** Era and revision of its calls, and the eras of all its requests, as the gateway recorded them. */
  readonly eras: readonly string[];
  readonly tried: readonly string[];
  /** Hosts beyond loopback that it tried to reach, in vain. */
  readonly attempts: readonly string[];
  /** What is not as it is known of the client; empty: it passes. */
  readonly faults: readonly string[];
};

export function lineOf({ client, course, report, faults, fault }: Outcome): string {
  const seen = report === null ? brief(fault ?? "") : `${brief(heard(report.policy))} | ${brief(heard(report.budget))}`;
  return [`${faults.length === 0 ? "ok" : "NO"}  ${client.name}, ${course}: ${seen}`, ...faults.map((each) => `    ${each}`)].join("\n");
}

export function textOf(outcomes: readonly Outcome[]): string {
  const head = ["client", "version", "course", "era on the wire", "result", "refusal shows", "streamed", "passes"];
  const rows = outcomes.map((outcome) => [
    outcome.client.name,
    outcome.versions[0] ?? "",
    outcome.course,
    outcome.eras.join(", ") || "-",
    outcome.report === null ? "-" : outcome.report.result.text === "hello" ? "yes" : "NO",
    outcome.report === null ? (outcome.course === "stranger" ? saysOf(outcome.fault ?? "") : "-") : showsOf(outcome.report),
    outcome.report === null ? "-" : streamedOf(outcome.report),
    outcome.faults.length === 0 ? "yes" : "NO",
  ]);
  const beyond = outcomes
    .filter(({ attempts }) => attempts.length > 0)
    .map(({ client, attempts }) => `${client.name} tried ${attempts.join(", ")}`);
  return [...aligned([head, ...rows]), ...beyond].join("\n");
}

function showsOf(report: Report): string {
  return [...new Set(Object.values(refusalsIn(report)))].join("/");
}

function streamedOf({ progress, leadMs }: Report): string {
  return progress === 0 ? "result only" : `${progress}, ${leadMs} ms ahead`;
}

function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((each) => each[column]?.length ?? 0)));
  return rows.map((each) =>
    each
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

const SHOWS: Readonly<Record<Shows, string>> = {
  data: "code, message, data",
  code: "code, message",
  text: "text",
  nothing: "**nothing**",
};
const SAYS: Readonly<Record<Says, string>> = { reason: "the reason", refused: "that it is refused", nothing: "**nothing**" };

/** Between two marks of the page: what is written by hand around them stays. */
export function pageWith(page: string, outcomes: readonly Outcome[]): string {
  const [before, rest] = page.split(BEGIN);
  const after = rest?.split(END)[1];
  if (before === undefined || after === undefined) throw new Error(`the page has no ${BEGIN} ... ${END}`);
  return `${before}${BEGIN}\n\n${tablesOf(outcomes)}\n\n${END}${after}`;
}

const MODES: readonly Mode[] = ["jsonrpc", "http", "toolResult"];
/** Those that differ in what a user reads: `http` is the body of the first as text. */
const WORDS: readonly Mode[] = ["jsonrpc", "toolResult"];
const BEGIN = "<!-- measured -->";
const END = "<!-- /measured -->";

function tablesOf(outcomes: readonly Outcome[]): string {
  const clients = [...new Set(outcomes.map(({ client }) => client))];
  const of = (client: Client, course: Course) => outcomes.find((outcome) => outcome.client === client && outcome.course === course);
  const first = clients.map((client) => [
    client.title,
    versionsOf(client, of(client, "jsonrpc")?.versions ?? []),
    eraIn(of(client, "jsonrpc")),
    eraIn(of(client, "sessions")),
    eraIn(of(client, "view")),
    of(client, "jsonrpc")?.report?.after.how === "result" ? "yes" : "**no**",
    ...MODES.map((course) => refusalIn(of(client, course))),
    (of(client, "jsonrpc")?.report?.progress ?? 0) > 0 ? "with progress" : "result; no interface for progress",
    doorIn(of(client, "stranger")),
  ]);
  const head = ["client", "version", "era, server of both", "era, server with sessions", "era, the same in a view", "list and result"];
  const refusals = MODES.map((course) => `refusal, \`${course}\``);
  const words = new Map<string, string[]>();
  for (const client of clients)
    for (const course of WORDS) {
      const report = of(client, course)?.report;
      if (!report) continue;
      const said = `\`${course}\` | ${quoted(report.policy)} | ${quoted(report.budget)}`;
      words.set(said, [...(words.get(said) ?? []), client.title]);
    }
  return [
    markdown([[...head, ...refusals, "streamed", "refused at the door, it says"], ...first]),
    "",
    "In their own words, exceptions with their name in front:",
    "",
    markdown([["client", "refusals", "by policy, on arguments", "by budget"], ...[...words].map(([said, by]) => [by.join("; "), said])]),
  ].join("\n");
}

function versionsOf({ packages }: Client, versions: readonly string[]): string {
  const [own = "", inside] = versions;
  return inside === undefined ? own : `${own} (${(packages[1] ?? "").endsWith("sdk") ? "SDK v1" : "SDK v2"} ${inside})`;
}

function eraIn(outcome: Outcome | undefined): string {
  return outcome?.eras.join(", ") || "none in common";
}

function refusalIn(outcome: Outcome | undefined): string {
  return outcome?.report ? [...new Set(Object.values(refusalsIn(outcome.report)))].map((shows) => SHOWS[shows]).join(" / ") : "";
}

function doorIn(outcome: Outcome | undefined): string {
  if (outcome === undefined) return "";
  const eras = outcome.tried.length > 1 ? `, tried ${outcome.tried.join(" and ")}` : "";
  return `${SAYS[saysOf(outcome.fault ?? "")]}${eras}`;
}

function heard({ name, text }: Seen): string {
  return name === null ? text : `${name}: ${text}`;
}

function quoted(seen: Seen): string {
  return `\`${brief(heard(seen)).replaceAll("|", "\\|").replaceAll("`", "'")}\``;
}

const CHARACTERS_MAX = 220;

/** Ids and ports differ from run to run. */
function brief(text: string): string {
  const line = text
    .replaceAll(/\s+/g, " ")
    .replaceAll(/call_[0-9a-z]+/g, "call_...")
    .replaceAll(/127\.0\.0\.1:\d+/g, "gateway");
  return line.length > CHARACTERS_MAX ? `${line.slice(0, CHARACTERS_MAX)} ...` : line;
}

function markdown(rows: readonly (readonly string[])[]): string {
  const [head = [], ...body] = rows;
  return [head, head.map(() => "---"), ...body].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}
