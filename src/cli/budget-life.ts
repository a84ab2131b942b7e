/** `budget create|change|end`: budgets that are made while the gateway runs, beside those of policy files. */
import type { Command } from "commander";
import { adminClient } from "./admin-client.ts";
import { type CommonOptions, configOf, leaf, print } from "./command.ts";
import { EXIT, Exit, type Io } from "./io.ts";
import { memberTable } from "./table.ts";

type ChangeOptions = CommonOptions & {
  readonly limit?: string;
  readonly hard?: boolean;
  readonly soft?: boolean;
  readonly overage?: string;
  readonly notify?: string[];
  readonly hint?: string;
};
type CreateOptions = ChangeOptions & {
  readonly [Name in (typeof FACETS)[number]]?: string[];
} & {
  readonly meter: string;
  readonly limit: string;
  readonly period?: string;
  readonly rolling?: string;
  readonly timeZone?: string;
  readonly overrun?: string;
  readonly each?: string[];
  readonly tool?: string[];
};

/** A budget as the gateway shows it. */
type Made = Readonly<Record<string, unknown>> & {
  readonly name: string;
  readonly counted: boolean;
  readonly warnings?: readonly string[];
};

const FACETS = ["agent", "team", "workflow", "customer"] as const;

export function registerBudgetLife(budget: Command, io: Io): void {
  const create = leaf(
    budget,
    "create <name>",
    "make a budget, which counts from the next call on",
    "tollgate budget create triage-month --agent triage-bot --meter tool_tokens --limit 2_000_000 --period month --notify 80% 100%",
  )
    .requiredOption(
      "--meter <meter>",
      "what is counted: calls, tool_tokens, llm_tokens, bytes, duration_ms, cost_micros, outcome:NAME, ...",
    )
    .requiredOption("--limit <units>", "how much in one window: 5000 or 5_000")
    .option("--period <period>", "hour, day, week, month, year or total")
    .option("--rolling <duration>", "in place of --period: the last so long, at every moment: 24h")
    .option("--time-zone <zone>", "of the windows, such as Europe/Berlin (default: UTC)")
    .option("--each <what...>", "who has a counter of its own: agent, instance, team, workflow, customer, subject, server, tool")
    .option("--tool <patterns...>", "which calls draw on it: tickets/* (default: all)")
    .option("--overrun <what>", "withhold or deliver a result that is larger than what is left (default: withhold)");
  for (const facet of FACETS) create.option(`--${facet} <${facet}s...>`, `of these alone, by ${facet}`);
  withChanges(create).action(async (name: string, options: CreateOptions) => {
    const who = Object.fromEntries(FACETS.flatMap((facet) => (options[facet] === undefined ? [] : [[facet, options[facet]]])));
    const { overage, hint, ...changes } = changesOf(options);
    const body = {
      ...{ name, meter: options.meter, period: options.period, rolling: options.rolling, time_zone: options.timeZone },
      // What is taken away from a budget that is there is left out of one that is made.
      ...{ each: options.each, tools: options.tool, overrun: options.overrun, ...changes },
      ...{ overage: overage ?? undefined, hint: hint ?? undefined },
      ...(Object.keys(who).length === 0 ? {} : { who }),
    };
    show(await adminClient(configOf(options, io), io).post<Made>("/budgets", body), options, io);
  });
  const change = leaf(
    budget,
    "change <name>",
    "change a budget that was made so, from the next call on",
    "tollgate budget change triage-month --limit 3_000_000",
  ).option("--limit <units>", "how much in one window: 5000 or 5_000");
  withChanges(change).action(async (name: string, options: ChangeOptions) => {
    const body = changesOf(options);
    if (Object.values(body).every((value) => value === undefined))
      throw new Exit(EXIT.usage, "nothing to change: give --limit, --hard, --soft, --overage, --notify or --hint");
    show(await adminClient(configOf(options, io), io).patch<Made>(`/budgets/${encodeURIComponent(name)}`, body), options, io);
  });
  leaf(
    budget,
    "end <name>",
    "end a budget that was made so: it counts no more",
    'tollgate budget end triage-month --reason "pilot is over"',
  )
    .option("--reason <text>", "why, for the record")
    .action(async (name: string, options: CommonOptions & { reason?: string }) => {
      const path = `/budgets/${encodeURIComponent(name)}/end`;
      const ended = await adminClient(configOf(options, io), io).post<{ ended: string }>(path, { reason: options.reason });
      print(io, options, ended, () => `${ended.ended} counts no more`);
    });
}

function withChanges(command: Command): Command {
  return command
    .option("--hard", "never exceeded")
    .option("--soft", "exceeding is allowed, counted and told")
    .option("--overage <units>", "of a soft one: how far beyond its limit calls go; none: as far as they want")
    .option("--notify <percents...>", "at which people are told: 80% 100%")
    .option("--hint <text>", "what refusals tell the agent to do about it; empty: nothing");
}

function changesOf({ limit, hard, soft, overage, notify, hint }: ChangeOptions) {
  if (hard === true && soft === true) throw new Exit(EXIT.usage, "--hard and --soft: one of them");
  const isHard = hard === true ? true : soft === true ? false : undefined;
  return { limit, hard: isHard, overage: overage === "none" ? null : overage, notify, hint: hint === "" ? null : hint };
}

function show(made: Made, options: CommonOptions, io: Io): void {
  print(io, options, made, () => {
    const { warnings = [], ...shown } = made;
    const told = [memberTable(shown), ...warnings.map((warning) => `warning: ${warning}`)].join("\n");
    return made.counted ? told : `${told}\nIt does not count: a policy file has a budget of this name.`;
  });
}
