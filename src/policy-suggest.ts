/** Pure. The least that lets pass what an agent has really done: exact names under the conditions that held, and what holds it back besides. */

import type { AgentProfile } from "./call/authenticate/agent.ts";
import { isPattern } from "./call/authorize/glob.ts";
import { parsePattern } from "./call/authorize/pattern.ts";
import type { EntitlementFile, WhoFile } from "./call/authorize/policy-file.ts";
import { compileWho, facetsOfProfile } from "./call/authorize/who.ts";
import { instantMs } from "./call/authorize/written.ts";
import { names, type Privilege, type Used, type UsedTarget } from "./policy-used.ts";
import type { Holding, Written } from "./policy-written.ts";

export type Suggestion = {
  /** A whole policy file, in the members of its schema. */
  readonly file: Readonly<Record<string, unknown>>;
  /** What was used and is not in it, with why. */
  readonly leftOut: readonly { readonly target: string; readonly why: string }[];
};

/** A pattern of a policy file has no more. */
const PATTERN_LENGTH_MAX = 1_024;
const NAME_LENGTH_MAX = 64;

export function suggest(profile: AgentProfile, used: Used, written: Written): Suggestion {
  const leftOut: Suggestion["leftOut"][number][] = [];
  const taken = new Set<string>();
  const called = (rule: string) => nameOf(profile.name, rule, taken);
  const entitlements: object[] = [];
  for (const [by, targets] of used.byRule) {
    const rule = written.entitlements.get(by);
    const fits = [...targets].filter((target) => {
      const why = whyNot(by, rule, target, used.targets.get(target));
      if (why !== null) leftOut.push({ target, why });
      return why === null;
    });
    if (fits.length > 0)
      entitlements.push(permitOf(profile, called(by === "" ? "observed" : by), renewed(rule, used.lastMs.get(by)), fits.toSorted()));
  }
  const permitted = new Set([...used.targets.values()].map(({ server }) => server));
  for (const [server, by] of used.opened) {
    // Open to whoever may use anything there, so that this gives nothing more.
    if (!permitted.has(server) && (by === "" || written.entitlements.has(by)))
      entitlements.push(permitOf(profile, called(`${server}-open`), written.entitlements.get(by), [`method:${server}/ping`], true));
  }
  const forbids = [...written.entitlements.values()].filter(
    (rule) => rule.forbid !== undefined && touches(profile, used, rule.who, rule.forbid, true),
  );
  for (const rule of forbids) {
    if (used.overruled.has(rule.name))
      leftOut.push({ target: `forbid ${rule.name}`, why: `${used.overruled.get(rule.name)} calls that passed would have met it` });
    else entitlements.push({ ...plainRule(rule), name: called(rule.name) });
  }
  const declared = written.agents[profile.name];
  const holdings = [...written.holdings].map(([key, items]): [string, readonly Holding[]] => [
    key,
    items.filter(({ who, tools }) => touches(profile, used, who, tools, false)),
  ]);
  return {
    file: {
      apiVersion: "tollgate/v1",
      ...(declared === undefined ? {} : { agents: { [profile.name]: declared } }),
      entitlements,
      ...Object.fromEntries(holdings.filter(([, items]) => items.length > 0)),
    },
    leftOut,
  };
}

/** Null: it can be permitted by its exact name, as it was. */
function whyNot(by: string, rule: EntitlementFile | undefined, target: string, what: UsedTarget | undefined): string | null {
  // Written down, it would mean many: whoever calls a thing by such a name asks for them.
  if (isPattern(target)) return "its name holds a *, which a policy reads as a pattern";
  if (target.length > PATTERN_LENGTH_MAX) return `its name is longer than ${PATTERN_LENGTH_MAX} characters`;
  if (by === "") return null;
  if (rule?.permit === undefined) return `${by} permitted it, and is there no more`;
  return what !== undefined && matchesAny(rule.permit, what) ? null : `${by} permitted it, and does so no more`;
}

function permitOf(
  profile: AgentProfile,
  name: string,
  rule: EntitlementFile | undefined,
  permit: readonly string[],
  reachOnly = false,
): object {
  const who = { ...rule?.who, agent: profile.name };
  if (rule === undefined) return { name, who, permit };
  const { name: _, who: __, permit: ___, ...demands } = plainRule(rule);
  return reachOnly ? { name, who, permit, ...onlyTime(demands) } : { name, who, permit, ...demands };
}

/** A rule of another name has never been used: it counts from the last use, so that it lapses when the old one would. */
function renewed(rule: EntitlementFile | undefined, lastMs: number | undefined): EntitlementFile | undefined {
  if (rule?.idle === undefined || lastMs === undefined || lastMs <= (instantMs(rule.from ?? "") ?? 0)) return rule;
  return { ...rule, from: new Date(lastMs).toISOString() };
}

function onlyTime({ from, until, idle }: Partial<EntitlementFile>): object {
  return { ...(from === undefined ? {} : { from }), ...(until === undefined ? {} : { until }), ...(idle === undefined ? {} : { idle }) };
}

/** Without what it says by saying nothing. */
function plainRule({ shadow, disclosure, ...rest }: EntitlementFile): Partial<EntitlementFile> {
  return { ...rest, ...(shadow ? { shadow } : {}), ...(disclosure === "hidden" ? {} : { disclosure }) };
}

/** Whether it is about this agent, and about something that it used. A forbidden method of a server that it used counts: such methods need no permit. */
function touches(
  profile: AgentProfile,
  used: Used,
  who: WhoFile | undefined,
  patterns: readonly string[] | undefined,
  methods: boolean,
): boolean {
  if (!compileWho(who)(facetsOfProfile(profile))) return false;
  if (patterns === undefined) return true;
  const targets = [...used.targets.values()];
  if (targets.some((target) => matchesAny(patterns, target))) return true;
  const servers = new Set([...targets.map(({ server }) => server), ...used.opened.keys()]);
  return methods && patterns.some((text) => [...servers].some((server) => isMethodOf(text, server)));
}

function isMethodOf(text: string, server: string): boolean {
  const pattern = parsePattern(text);
  return (
    !("problem" in pattern) &&
    pattern.kind === "method" &&
    names({ ...pattern, name: "*" }, { server, target: { kind: "method", name: "" } })
  );
}

function matchesAny(patterns: readonly string[], target: UsedTarget): boolean {
  return patterns.some((text) => {
    const pattern = parsePattern(text);
    return !("problem" in pattern) && names(pattern, target);
  });
}

/** With the agent's name before it, so that the files of several agents can lie side by side. */
function nameOf(agent: string, rule: string, taken: Set<string>): string {
  const whole = `${agent}.${rule}`.replace(/[^A-Za-z0-9._-]/g, "-");
  for (let n = 1; ; n++) {
    const end = n === 1 ? "" : `-${n}`;
    const name = whole.slice(0, NAME_LENGTH_MAX - end.length) + end;
    if (taken.has(name)) continue;
    taken.add(name);
    return name;
  }
}

/** JSON is YAML; a name from outside must neither end its text nor steer the terminal that shows it. */
export function fileText({ file, leftOut }: Suggestion, head: readonly string[], { never }: Privilege): string {
  const comments = [
    ...head,
    ...leftOut.map(({ target, why }) => `left out: ${quoted(target)}: ${why}`),
    ...never.map(({ rule, pattern, tools }) => `held by ${rule} and never used: ${(tools ?? [pattern]).map(quoted).join(", ")}`),
  ];
  const members = Object.entries(file).map(([key, value]) => {
    if (Array.isArray(value))
      return value.length === 0 ? `${key}: []` : `${key}:\n${value.map((item) => `  - ${quoted(item)}`).join("\n")}`;
    return typeof value === "string" ? `${key}: ${value}` : `${key}: ${quoted(value)}`;
  });
  return `${comments.map((line) => `# ${line}`).join("\n")}\n${members.join("\n")}\n`;
}

function quoted(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
    (character) => `\\U${(character.codePointAt(0) ?? 0).toString(16).padStart(8, "0")}`,
  );
}
