/** Pure. The figures as aligned text. */
import type { Measured } from "./measure.ts";
import type { Latency } from "./sequential.ts";

export type Report = {
  readonly machine: {
    readonly node: string;
    readonly cpus: number;
    readonly model: string;
    readonly nginx: string | null;
    readonly generator: string;
  };
  readonly clients: number;
  readonly seconds: number;
  readonly startMs: readonly number[];
  readonly startMedianMs: number | null;
  /** One sequential call, warm. */
  readonly latency: Readonly<Record<string, Latency>>;
  readonly addedP50Ms: number | null;
  readonly load: Readonly<Record<string, Measured>>;
  /** Gateway to nginx, of the same run. */
  readonly ratios: { readonly callsPerSecond: number; readonly cpu: number | null } | null;
  /** Calls that the gateway's own meter counted, and that the upstream carried out for it. */
  readonly metered: { readonly usage: number; readonly upstream: number } | null;
};

export function textOf(report: Report): string {
  const { machine } = report;
  const lines = [
    `node ${machine.node}, ${machine.cpus} CPUs (${machine.model}), load by ${machine.generator}, ${machine.nginx ?? "nginx is not installed: its rows and the ratios are skipped"}`,
    "",
  ];
  if (report.startMedianMs !== null)
    lines.push(`spawn to ready: ${figure(report.startMedianMs, 0)} ms (median of ${report.startMs.length})`, "");
  lines.push(
    ...table([
      ["", "sequential p50", "p99", `${report.clients} clients`, "p50", "p99", "CPU per call", "RSS idle", "RSS load"],
      ...Object.keys(report.load).map((name) => row(name, report)),
    ]),
    "",
  );
  if (report.addedP50Ms !== null) lines.push(`added by the gateway to one sequential call, p50: ${figure(report.addedP50Ms, 3)} ms`);
  if (report.ratios !== null) {
    lines.push(`gateway to nginx: ${figure(report.ratios.callsPerSecond, 2)} of its calls/s`);
    if (report.ratios.cpu !== null) lines.push(`gateway to nginx: ${figure(report.ratios.cpu, 1)} times its CPU per call`);
  }
  if (report.metered !== null)
    lines.push(`metered by the gateway: ${report.metered.usage} calls; carried out upstream: ${report.metered.upstream}`);
  return lines.join("\n");
}

function row(name: string, { latency, load }: Report): string[] {
  const one = latency[name];
  const many = load[name];
  return [
    name,
    unit(one?.p50Ms, 3, "ms"),
    unit(one?.p99Ms, 3, "ms"),
    unit(many?.callsPerSecond, 0, "calls/s"),
    unit(many?.p50Ms, 2, "ms"),
    unit(many?.p99Ms, 2, "ms"),
    unit(many?.cpuMicros, 1, "us"),
    unit(many?.rssIdleMegabytes, 0, "MB"),
    unit(many?.rssLoadMegabytes, 0, "MB"),
  ];
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((cells) => cells[column]?.length ?? 0)));
  return rows.map((cells) => cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join("  "));
}

function unit(value: number | null | undefined, digits: number, name: string): string {
  return value === null || value === undefined ? "-" : `${figure(value, digits)} ${name}`;
}

function figure(value: number, digits: number): string {
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
