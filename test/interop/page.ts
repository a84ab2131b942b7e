/** Pure. The outcomes as aligned lines, and as the page for readers. */
import { refusalsOf } from "./judge.ts";
import type { Report, Seen } from "./report.ts";
import type { Client, Mode } from "./roster.ts";
import type { ServerName } from "./stage.ts";

export type Outcome = {
  readonly client: Client;
  readonly versions: readonly string[];
  readonly mode: Mode;
  readonly server: ServerName;
  /** Null when the client came to no end. */
  readonly report: Report | null;
  /** Era and revision of its calls, as the gateway recorded them. */
  readonly eras: readonly string[];
  readonly attempts: readonly string[];
  readonly fault: string | null;
  readonly faults: readonly string[];
};

export function detailOf({ client, mode, server, report, faults, fault }: Outcome): string {
  const head = `${faults.length === 0 ? "ok" : "NO"}  ${client.name}, ${server}, refusals: ${mode}`;
  const told = report === null ? [`    ${fault}`] : [`    policy: ${brief(report.policy)}`, `    budget: ${brief(report.budget)}`];
  return [head, ...told, ...faults.map((each) => `    fault: ${each}`)].join("\n");
}

function brief({ how, name, code, text, data }: Seen): string {
  return `${how} ${name ?? ""} ${code ?? ""} ${JSON.stringify(text.slice(0, 200))} ${JSON.stringify(data)?.slice(0, 120)}`;
}

export function textOf(outcomes: readonly Outcome[]): string {
  const head = ["client", "version", "server", "refusals", "era on the wire", "refusal shows", "progress", "faults"];
  return table([head, ...outcomes.map(row)]).join("\n");
}

function row({ client, versions, server, mode, report, eras, faults }: Outcome): string[] {
  const shows = report === null ? "-" : [...new Set(Object.values(refusalsOf(report, mode)))].join("/");
  return [
    client.name,
    versions[0] ?? "",
    server,
    mode,
    eras.join(", ") || "-",
    shows,
    String(report?.progress ?? "-"),
    String(faults.length),
  ];
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((each) => each[column]?.length ?? 0)));
  return rows.map((each) =>
    each
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

export function pageOf(outcomes: readonly Outcome[]): string {
  return outcomes.map(detailOf).join("\n");
}
