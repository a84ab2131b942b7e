/** `policy backtest`: recorded calls, asked again of policies that are not in force yet. */
import { resolve } from "node:path";
import { type Command, Option } from "commander";
import { bordersOf, createBacktest, type Flip, type Report, type Side } from "../policy-backtest.ts";
import { type CommonOptions, configOf, leaf, print } from "./command.ts";
import { accountsOf, callPages, momentOf } from "./history.ts";
import { EXIT, type Io, paint } from "./io.ts";
import { policiesOf } from "./policy-folder.ts";
import { grouped, plain, table } from "./table.ts";

type BacktestOptions = CommonOptions & {
  readonly since: string;
  readonly until?: string;
  readonly agent?: string;
  readonly policies?: string;
  readonly failOn: "narrow" | "widen" | "any" | "none";
};

export function registerBacktest(policy: Command, io: Io): void {
  leaf(
    policy,
    "backtest",
    "recorded calls, judged by proposed policies: which would be decided otherwise; exit 1 if one that passed would be refused",
    "tollgate policy backtest --since 7d --policies policies.new",
  )
    .option("--since <time>", "how far back: a duration (7d), a date or an RFC 3339 time", "7d")
    .option("--until <time>", "up to when; the same")
    .option("--agent <name>", "only the calls of one agent, by name or id")
    .option("--policies <folder>", "the proposed policies (default: the files in the policies folder as they are now)")
    .addOption(new Option("--fail-on <change>", "what is exit 1").choices(["narrow", "widen", "any", "none"]).default("narrow"))
    .action((options: BacktestOptions) => backtestPolicies(options, io));
}

async function backtestPolicies(options: BacktestOptions, io: Io): Promise<void> {
  const config = configOf(options, io);
  const nowMs = Date.now();
  const { policySet: current } = policiesOf(config.policies, config);
  const { policySet: proposed } = options.policies === undefined ? { policySet: current } : policiesOf(resolve(options.policies), config);
  const sinceMs = momentOf("--since", options.since, nowMs);
  const untilMs = options.until === undefined ? null : momentOf("--until", options.until, nowMs);
  const backtest = createBacktest({ proposed, current, accounts: await accountsOf(config, io) });
  const window = { sinceMs, untilMs, agent: options.agent ?? null, borders: bordersOf([proposed, current]) };
  for await (const { groups } of callPages(config, io, window)) for (const group of groups) backtest.add(group);
  const report = backtest.report();
  const times = { since: new Date(sinceMs).toISOString(), until: untilMs === null ? null : new Date(untilMs).toISOString() };
  print(io, options, { ...times, policy_version: proposed.policyVersion, ...report }, () => textOf(io, report));
  process.exitCode = fails(report, options.failOn) ? EXIT.no : EXIT.done;
}

function fails({ narrows, widens }: Report, on: BacktestOptions["failOn"]): boolean {
  return { narrow: narrows, widen: widens, any: narrows || widens, none: false }[on];
}

function textOf(io: Io, { calls, flips, further, unjudged, narrows, widens }: Report): string {
  const rows = flips.map((flip: Flip) => {
    const { agent, target, was, would } = flip;
    return [agent, target, flip.calls, said(was), by(was), said(would), by(would)];
  });
  const changed = flips.reduce((sum, flip) => sum + flip.calls, further);
  const change = narrows
    ? paint(io, "red", "some that passed would not")
    : widens
      ? paint(io, "yellow", "some that did not pass would")
      : "";
  return [
    ...(rows.length === 0 ? [] : [table(["AGENT", "TARGET", "CALLS", "WAS", "BY", "WOULD BE", "BY"], rows)]),
    ...(further === 0 ? [] : [`and ${grouped(further)} calls more, too different to be listed`]),
    `${grouped(calls)} calls judged, ${grouped(changed)} would be decided otherwise${change === "" ? "" : `: ${change}`}`,
    ...unjudged.map(({ without, calls: count }) => plain(`${grouped(count)} calls could not be judged: not recorded is ${without}`)),
  ].join("\n");
}

function said({ decision, reason }: Side): string {
  return decision === "permit" ? "permit" : (reason ?? "refused");
}

function by({ rule }: Side): string {
  return rule === null ? "-" : `${rule.name} (${rule.file}:${rule.line})`;
}
