/** `policy explain`: one decision that nobody has asked for yet. */
import { resolve } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import type { Agent } from "../call/authenticate/agent.ts";
import { type PolicySet, policySetOf } from "../call/authorize/candidates.ts";
import { type Considered, type Explanation, explainDecision } from "../call/authorize/explain.ts";
import { useKey } from "../call/authorize/idle.ts";
import { didYouMean } from "../call/authorize/nearest.ts";
import { instantMs } from "../call/authorize/written.ts";
import type { Config } from "../config.ts";
import { type ImaginedAgent, imagine, imagineCall } from "../imagined.ts";
import { WIRE } from "../refusal.ts";
import { adminClient, NoGateway } from "./admin-client.ts";
import { type CommonOptions, configOf, print } from "./command.ts";
import { hintsFor } from "./explain-hints.ts";
import { usesOf } from "./history.ts";
import { EXIT, Exit, type Io, paint } from "./io.ts";
import { policiesOf } from "./policy-folder.ts";
import { plain } from "./table.ts";

export type ExplainOptions = CommonOptions & {
  readonly agent: string;
  readonly tool: string;
  readonly args?: unknown;
  readonly scope?: readonly string[];
  readonly role?: readonly string[];
  readonly subject?: string;
  readonly instance?: string;
  readonly claims?: unknown;
  readonly team?: string;
  readonly customer?: string;
  readonly workflow?: string;
  readonly kind?: string;
  readonly at?: number;
  readonly policies?: string;
};

export function addCallOptions(command: Command): Command {
  return command
    .requiredOption(
      "--agent <name>",
      "who calls: declared in a policy file, registered at the running gateway, or described by the options below",
    )
    .requiredOption("--tool <target>", "server/tool, resource:server/uri, prompt:server/name or method:server/method")
    .option("--args <json>", "the arguments of the call", jsonObject)
    .option("--scope <scope...>", "scopes of its token beside mcp")
    .option("--role <role...>", "roles in its token")
    .option("--subject <user>", "the user on whose behalf it acts")
    .option("--instance <id>", "which copy of it")
    .option("--claims <json>", "claims of its token", jsonObject)
    .option("--team <team>", "for an agent that is not registered")
    .option("--customer <customer>", "for an agent that is not registered")
    .option("--workflow <workflow>", "for an agent that is not registered")
    .option("--kind <kind>", "for an agent that is not registered")
    .option("--at <time>", "when (default: now)", instant)
    .option("--policies <folder>", "another folder of policies");
}

export async function explainPolicy(options: ExplainOptions, io: Io): Promise<void> {
  const config = configOf(options, io);
  const { policySet, declared } = policiesOf(options.policies === undefined ? config.policies : resolve(options.policies), config);
  const call = imagineCall(options.tool, options.args);
  if ("problem" in call) throw new Exit(EXIT.usage, `--tool: ${call.problem}`);
  const described = declared.get(options.agent) ?? (await describedBy(options, config, io, declared.keys()));
  const { scope: scopes, role: roles, subject, instance, claims } = options;
  const agent = imagine({ ...described, scopes, roles, subject, instance, claims: claims as ImaginedAgent["claims"] });
  const explanation = explainDecision(await withUses(policySet, agent, config, io), agent, call, options.at ?? Date.now());
  const { readKnown } = await import("../control/known.ts");
  const { known } = await readKnown({ dataDir: config.data, postgres: config.shared.postgres?.reveal() ?? null });
  const hints = hintsFor(options.tool, new Set(config.servers.keys()), known);
  const json = { ...explanation, agent: options.agent, tool: options.tool, policy_version: policySet.policyVersion, hints };
  print(io, options, json, () => textOf(io, options, explanation, config, hints));
  process.exitCode = explanation.decision === "permit" ? EXIT.done : EXIT.no;
}

/** Of permits that lapse: when the agent last used them, if anybody knows. */
async function withUses(policySet: PolicySet, { profile }: Agent, config: Config, io: Io): Promise<PolicySet> {
  const lapsing = policySet.rules.filter(({ idleMs }) => idleMs !== null);
  if (lapsing.length === 0) return policySet;
  // Also what lies further back than the idle time: it is told since when a permit was not used.
  const sinceMs = Math.min(...lapsing.map(({ validity }) => validity?.fromMs ?? 0));
  const names = lapsing.map(({ ref }) => ref.name);
  const uses = await usesOf(config, io, names, sinceMs);
  if (uses === null) return policySet;
  const own = uses.filter(({ agent, name }) => agent === profile.id || name === profile.name);
  return policySetOf({ ...policySet, lastUses: new Map(own.map(({ rule, atMs }) => [useKey(rule, profile.id), atMs])) });
}

/** By the options where they say anything of it; else as the running gateway knows it. */
async function describedBy(options: ExplainOptions, config: Config, io: Io, declared: Iterable<string>): Promise<ImaginedAgent> {
  const { agent: name, team, customer, workflow, kind } = options;
  if ([team, customer, workflow, kind].some((said) => said !== undefined))
    return { name, team, customer, workflow, kind: kind as ImaginedAgent["kind"] };
  try {
    const known = await adminClient(config, io).get<Record<string, string | null>>(`/agents/${encodeURIComponent(name)}`);
    const said = Object.fromEntries(Object.entries(known).filter(([, value]) => typeof value === "string"));
    return { ...said, name: known.name ?? name } as ImaginedAgent;
  } catch (fault) {
    if (!(fault instanceof Exit)) throw fault;
    const why = fault instanceof NoGateway ? "no gateway is running that would know it" : "the running gateway does not know it";
    throw new Exit(
      EXIT.usage,
      `no policy file declares ${name}, and ${why}: describe it (--team, --customer, --workflow, --kind)${didYouMean(name, declared)}`,
    );
  }
}

function textOf(io: Io, { agent, tool }: ExplainOptions, explanation: Explanation, { mode }: Config, hints: readonly string[]): string {
  const { decision, reason, rule, facts, considered, limits, others } = explanation;
  const by = rule === null ? "no rule permits it" : `${rule.name} (${rule.file}:${rule.line})`;
  const verdict =
    decision === "permit" ? paint(io, "green", `permit ${agent} ${tool}`) : paint(io, "red", `refuse ${agent} ${tool}: ${reason}`);
  const lines = [
    `${verdict}, by ${by}`,
    ...(reason === null ? [] : [`  ${WIRE[reason].title}. ${WIRE[reason].remedy}`]),
    ...(facts.scope === undefined ? [] : [`  the token would need: ${facts.scope}`]),
    ...hints.map((hint) => paint(io, "yellow", `  hint: ${plain(hint)}`)),
    ...(mode === "observe" ? ["  mode is observe: this would be recorded, and the call would go on"] : []),
    ...considered.map((each) => consideredLine(io, each)),
    ...limits.map(({ name, scope, text }) => `  limit ${name}${scope === "" ? "" : ` for ${scope}`}: ${text}`),
    ...(others > 0 ? [paint(io, "dim", `${others} more rules are about something else`)] : []),
  ];
  return lines.map((line) => (io.color ? line : plain(line))).join("\n");
}

function consideredLine(io: Io, { name, file, line, effect, outcome, differs, guards }: Considered): string {
  const head = `${outcome === "decides" ? "*" : " "} ${effect} ${name} (${file}:${line})`;
  const more = [...differs, ...guards.map((guard) => `its guard ${guard} would be asked`)];
  if (outcome !== "differs") return more.length === 0 ? `${head}: ${outcome}` : `${head}: ${outcome}; ${more.join("; ")}`;
  return `${head}: ${paint(io, "dim", differs.join("; "))}`;
}

function jsonObject(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch {
    // Told below.
  }
  throw new InvalidArgumentError('It must be a JSON object: {"limit":5}');
}

function instant(text: string): number {
  const ms = instantMs(text);
  if (ms === null) throw new InvalidArgumentError("It must be a date or an RFC 3339 time: 2026-12-01T09:00:00Z");
  return ms;
}
