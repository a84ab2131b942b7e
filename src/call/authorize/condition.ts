/** Pure. Conditions in CEL: compiled and type-checked at load, evaluated in time that grows with the length of the arguments only. */
import { type ASTNode, TypeError as CelTypeError, Environment, EvaluationError, ParseError, type ParseResult } from "@marcbachmann/cel-js";
import type { CallArguments } from "./call-arguments.ts";
import { globOf } from "./glob.ts";
import { STEPS_MAX, stepsOf, workOf } from "./work.ts";

export type Condition = {
  /** Its result can differ from call to call by what the caller sends. */
  readonly readsArguments: boolean;
  /** It looks at the token that the caller shows. */
  readonly readsClaims: boolean;
  /** Names that it mentions; `agent` alone where it looks at more than one attribute of it by name: `agent.roles`. */
  readonly reads: ReadonlySet<string>;
  /** True, false, or null where it cannot be evaluated. */
  holds(circumstances: Circumstances): boolean | null;
};

/** What a condition may look at. `args()` and `claims()` are asked only by conditions that mention them, and null where they cannot be read. */
export type Circumstances = {
  readonly agent: ReadonlyMap<string, unknown>;
  readonly subject: string | null;
  readonly customer: string;
  readonly server: string;
  /** Of the server, as the config has it; empty where it has none. */
  readonly region: string;
  readonly tool: string;
  readonly now: Date;
  claims(): CallArguments | null;
  args(): CallArguments | null;
};

/** `offset` counts characters of the expression. */
export type ConditionFault = { readonly offset: number; readonly message: string };

// Longer than any rule that a person can judge; 500 nodes evaluate in about 30 us.
const EXPRESSION_LENGTH_MAX = 2000;
const LIMITS = { maxAstNodes: 500, maxDepth: 24, maxListElements: 200, maxMapEntries: 50, maxCallArguments: 8 };
export const ITEMS_MAX = 1000;

const AGENT_FIELDS = {
  id: "string",
  name: "string",
  kind: "string",
  customer: "string",
  owner: "string",
  purpose: "string",
  riskClass: "string",
  roles: "list<string>",
  // dyn: null where the agent has none.
  team: "dyn",
  workflow: "dyn",
  instance: "dyn",
};

/** What every condition may use, whatever it looks at. */
export function newEnvironment(): Environment {
  return new Environment({ limits: LIMITS, homogeneousAggregateLiterals: false })
    .registerFunction("like(string, string): bool", like, { description: "Whether a text matches a pattern in which * is any characters." })
    .registerFunction("string.like(string): bool", like);
}

const environment = newEnvironment()
  .registerVariable({ name: "agent", schema: AGENT_FIELDS, description: "Who calls." })
  .registerVariable("subject", "dyn", { description: "The end user on whose behalf the agent acts, or null." })
  .registerVariable("customer", "string", { description: "Who pays." })
  .registerVariable("server", "string", { description: "The server's name in the config." })
  .registerVariable("region", "string", { description: "The server's region in the config, or an empty text." })
  .registerVariable("claims", "map<string, dyn>", { description: "The claims of the verified access token." })
  .registerVariable("tool", "string", { description: "The tool's or prompt's name, or the resource's URI." })
  .registerVariable("args", "map<string, dyn>", { description: "The call's arguments." })
  .registerVariable("now", "google.protobuf.Timestamp", { description: "When the request arrived." });

function like(text: string, pattern: string): boolean {
  return globOf(pattern)(text);
}

/** Linear in the length of their texts and lists. `matches` is not: a pattern of 30 characters took 17 s. */
const FUNCTIONS = new Set(
  (
    "like size has all exists exists_one filter map startsWith endsWith contains indexOf lastIndexOf substring trim lowerAscii upperAscii " +
    "int uint double string bool dyn timestamp duration getDate getDayOfMonth getDayOfWeek getFullYear getHours " +
    "getMilliseconds getMinutes getMonth getSeconds"
  ).split(" "),
);
const MACROS = new Set(["all", "exists", "exists_one", "filter", "map"]);

export function compileCondition(expression: string): Condition | ConditionFault {
  const compiled = compileIn(environment, expression);
  return "message" in compiled ? compiled : conditionOf(compiled.evaluate, compiled.findings);
}

/** Parsed, type-checked, and found to use nothing that is not offered. */
export function compileIn(
  environment: Environment,
  expression: string,
): { readonly evaluate: ParseResult; readonly findings: Findings } | ConditionFault {
  if (expression.length > EXPRESSION_LENGTH_MAX) {
    return { offset: 0, message: `has ${expression.length} characters; a condition has at most ${EXPRESSION_LENGTH_MAX}` };
  }
  try {
    const evaluate = environment.parse(expression);
    const findings = new Findings();
    findings.walk(evaluate.ast, false);
    if (findings.fault !== null) return findings.fault;
    const checked = evaluate.check();
    if (checked.error !== undefined) return faultOf(checked.error);
    if (checked.type !== "bool" && checked.type !== "dyn")
      return { offset: 0, message: `gives ${checked.type}; a condition gives true or false` };
    return { evaluate, findings };
  } catch (fault) {
    return faultOf(fault);
  }
}

function conditionOf(evaluate: ParseResult, findings: Findings): Condition {
  const { readsArguments, readsClaims, reads } = findings;
  const work = workOf(evaluate.ast);
  return {
    readsArguments,
    readsClaims,
    reads,
    holds(circumstances) {
      const { agent, subject, customer, server, region, tool, now } = circumstances;
      const args = readsArguments ? circumstances.args() : null;
      if (readsArguments && (args === null || args.longest > ITEMS_MAX)) return null;
      const claims = readsClaims ? circumstances.claims() : null;
      if (readsClaims && (claims === null || claims.longest > ITEMS_MAX)) return null;
      const [bytes, longest] = [(args?.bytes ?? 0) + (claims?.bytes ?? 0), Math.max(args?.longest ?? 0, claims?.longest ?? 0)];
      if (stepsOf(work, bytes, longest) > STEPS_MAX) return null;
      try {
        const result = evaluate({ agent, subject, customer, server, region, tool, now, args: args?.value, claims: claims?.value });
        return typeof result === "boolean" ? result : null;
      } catch {
        // The message of an evaluation quotes arguments: it goes nowhere.
        return null;
      }
    },
  };
}

/** The parts of an expression that compiles. */
export function partsOf(expression: string): ASTNode {
  return environment.parse(expression).ast;
}

/** The value of a part that looks at nothing but these variables; undefined where it looks at others, at none, or fails. */
export function evaluatePlain(node: ASTNode, variables: ReadonlyMap<string, unknown>): unknown {
  const names = namesIn(node);
  if (names.length === 0 || !names.every((name) => variables.has(name))) return undefined;
  try {
    return environment.parse(node.input.slice(node.start, node.end))(Object.fromEntries(variables));
  } catch {
    return undefined;
  }
}

function namesIn(node: ASTNode): string[] {
  return node.op === "id" ? [node.args] : childrenOf(node.args).flatMap(namesIn);
}

/** What the expression uses, and the first thing in it that is not offered. */
class Findings {
  readsArguments = false;
  readsClaims = false;
  readonly reads = new Set<string>();
  fault: ConditionFault | null = null;

  walk(node: ASTNode, insideMacro: boolean): void {
    if (node.op === "id" && node.args === "args") this.readsArguments = true;
    if (node.op === "id" && node.args === "claims") this.readsClaims = true;
    if (node.op === "id") this.reads.add(node.args);
    if (node.op === "." && node.args[0].op === "id" && node.args[0].args === "agent") {
      this.reads.add(`agent.${node.args[1]}`);
      return;
    }
    if (node.op === "call") this.#call(node, node.args[0], null, node.args[1], insideMacro);
    else if (node.op === "rcall") this.#call(node, node.args[0], node.args[1], node.args[2], insideMacro);
    else for (const child of childrenOf(node.args)) this.walk(child, insideMacro);
  }

  #call(node: ASTNode, name: string, receiver: ASTNode | null, args: readonly ASTNode[], insideMacro: boolean): void {
    const isMacro = MACROS.has(name);
    if (!FUNCTIONS.has(name))
      this.#say(node, `${name} is not offered${name === "matches" ? "; use like(text, pattern), where * is any characters" : ""}`);
    if (isMacro && insideMacro) this.#say(node, `${name} stands inside another macro: macros do not nest`);
    // A duration of 4,000 digits takes the parser minutes.
    const written = name === "like" || name === "duration" ? args.at(-1) : undefined;
    if (written !== undefined && !(written.op === "value" && typeof written.args === "string"))
      this.#say(written, `the ${name === "like" ? "pattern of like" : "text of duration"} is written out`);
    const [zone] = name.startsWith("get") ? args : [];
    if (zone?.op === "value" && typeof zone.args === "string" && !isZone(zone.args))
      this.#say(zone, `${zone.args} is not a time zone: an IANA name such as Europe/Berlin, or +01:00`);
    if (receiver !== null) this.walk(receiver, insideMacro);
    for (const arg of args) this.walk(arg, insideMacro || isMacro);
  }

  #say(node: ASTNode, message: string): void {
    this.fault ??= { offset: node.start, message };
  }
}

function isZone(written: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: written }).resolvedOptions().timeZone !== "";
  } catch {
    return false;
  }
}

function childrenOf(args: unknown): ASTNode[] {
  if (Array.isArray(args)) return args.flatMap(childrenOf);
  return typeof args === "object" && args !== null && "op" in args ? [args as ASTNode] : [];
}

function faultOf(fault: unknown): ConditionFault {
  if (fault instanceof ParseError || fault instanceof CelTypeError || fault instanceof EvaluationError) {
    return { offset: fault.range?.start ?? 0, message: `${fault.summary.charAt(0).toLowerCase()}${fault.summary.slice(1)}` };
  }
  throw fault;
}
