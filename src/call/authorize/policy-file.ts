/** What may stand in a policy file: one closed schema, from which the checks and the JSON Schema come. */
import { z } from "zod";
import { type BudgetFile, budget } from "./budget-file.ts";
import { inspect } from "./guards.ts";
import { contradictionsIn, pace } from "./limit-file.ts";
import { idempotency } from "./replays.ts";
import { each, KINDS, name, patterns, text, who } from "./rule-parts.ts";
import { durationMs, instantMs } from "./written.ts";

const instant = (description: string) =>
  z
    .string()
    .refine((written) => instantMs(written) !== null, "must be a date or an RFC 3339 time: 2026-12-01 or 2026-12-01T09:00:00+01:00")
    .describe(`${description} A date (midnight UTC) or an RFC 3339 time.`);

const IDLE_WORDS = "must be a whole number with s, m, h or d: 30d";
/** Ten years: what is meant for longer does not lapse. */
const IDLE_MS_MAX = 3_660 * 86_400_000;
const idle = z
  .string(IDLE_WORDS)
  .regex(/^[1-9][0-9]{0,8}(s|m|h|d)$/, { error: IDLE_WORDS, abort: true })
  .refine((written) => durationMs(written) <= IDLE_MS_MAX, "is longer than 3660 days")
  .describe("It lapses for an agent that has not used it for as long, counted from its last use or from `from`, which it then needs.");

const WITHIN_WORDS = "must be a whole number with s, m, h or d: 15m";
const approval = z
  .strictObject({
    by: z
      .array(
        z
          .string()
          .regex(/^(role:(approver|admin)|key:[A-Za-z0-9][A-Za-z0-9._@:-]{0,127})$/, "must be role:approver, role:admin or key:NAME"),
      )
      .min(1)
      .describe("Who may approve: role:approver, role:admin, or key:NAME of an admin key."),
    within: z
      .string(WITHIN_WORDS)
      .regex(/^[1-9][0-9]{0,5}(s|m|h|d)$/, { error: WITHIN_WORDS, abort: true })
      .refine((written) => durationMs(written) <= APPROVAL_MS_MAX, "is longer than 7 days")
      .default("15m")
      .describe("How long the question stands; then the answer is no."),
  })
  .describe("The call waits until a person approves it.");

/** What nobody has looked at for a week is not waited for. */
const APPROVAL_MS_MAX = 7 * 86_400_000;

const pins = z
  .strictObject({
    version: z
      .string('must be a text in quotes: "2.3"')
      .regex(/^[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}$/, "is not a version: 1 to 64 letters, digits, . + _ and -")
      .optional()
      .describe('serverInfo.version has to be this or begin with it at a dot: "2" is met by 2.3.1.'),
    definition: z
      .string()
      .regex(/^sha256:[0-9a-f]{64}$/, "must be sha256: and 64 hex digits, as tool list --json shows them")
      .optional()
      .describe("The one definition of the one tool that this permit names."),
  })
  .refine(({ version, definition }) => version !== undefined || definition !== undefined, "pins nothing; leave it out")
  .describe("It permits only while the server is of this version, or the tool has this definition.");

const ceiling = z.int().min(0).max(Number.MAX_SAFE_INTEGER).optional();
const reserve = z
  .strictObject({
    tool_tokens: ceiling.describe("Tool tokens of arguments and result."),
    bytes: ceiling.describe("Bytes of the result."),
    duration_ms: ceiling.describe("Milliseconds."),
  })
  .describe("What its calls hold on budgets until their results are known, in place of the server's reserve.");

const RULE_KEYS = "must have either permit or forbid";
const entitlement = z
  .strictObject({
    name: name.describe("Unique over all policy files; it stands in the audit record of every call that it decides."),
    who: who.optional(),
    permit: patterns("What is permitted.").optional(),
    forbid: patterns("What is forbidden, whatever else permits it.").optional(),
    when: z
      .string()
      .refine((expression) => expression.trim() !== "", "is empty; leave it out, or put the expression in quotes")
      .optional()
      .describe("A CEL condition over agent, subject, customer, server, tool, args and now: args.limit <= 100"),
    requires: z
      .array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,64}$/, "is not a scope (RFC 6749 section 3.3)"))
      .min(1)
      .optional()
      .describe("OAuth scopes that the access token must have."),
    from: instant("Since when it counts.").optional(),
    until: instant("When it ends; the first instant at which it counts no more.").optional(),
    idle: idle.optional(),
    approval: approval.optional(),
    pins: pins.optional(),
    inspect: inspect.optional(),
    reserve: reserve.optional(),
    idempotency: idempotency.optional(),
    shadow: z.boolean().default(false).describe("true: judged and recorded beside the decision, never part of it."),
    disclosure: z
      .enum(["hidden", "named"])
      .default("hidden")
      .describe("named: those whom `who` matches hear that a target exists although they may not use it now."),
  })
  .refine((rule) => (rule.permit === undefined) !== (rule.forbid === undefined), RULE_KEYS)
  .refine(
    (rule) => rule.forbid === undefined || rule.requires === undefined,
    "a forbid cannot require scopes: write a permit that requires them",
  )
  .refine((rule) => rule.forbid === undefined || rule.approval === undefined, "a forbid is final: write a permit that needs an approval")
  .refine((rule) => rule.forbid === undefined || rule.pins === undefined, "a forbid holds for every version: write a permit that pins one")
  .refine((rule) => rule.idle === undefined || rule.forbid === undefined, "a forbid does not lapse: leave idle out")
  .refine((rule) => rule.idle === undefined || rule.from !== undefined, "idle counts from its beginning, so it needs a from")
  .refine((rule) => rule.idle === undefined || !rule.shadow, "a rule that is only tried is never used, so it would lapse: leave idle out")
  .refine((rule) => rule.forbid === undefined || rule.reserve === undefined, "a forbid holds nothing: leave reserve out")
  .refine((rule) => rule.forbid === undefined || rule.inspect === undefined, "a forbid is final: write a permit that is inspected")
  .refine((rule) => rule.forbid === undefined || rule.idempotency === undefined, "a forbid is final: write a permit that keeps results")
  .refine(
    ({ from, until }) => from === undefined || until === undefined || (instantMs(from) ?? 0) < (instantMs(until) ?? 0),
    "until is not after from, so it would never count",
  );

const groupName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, "is not a name: 1 to 64 letters, digits, dots, dashes and underscores");
const groups = z.strictObject({
  agents: z.record(groupName, z.array(text).min(1)).default({}).describe("Agents by id or name; patterns too."),
  tools: z
    .record(groupName, z.array(text.max(1024)).min(1))
    .default({})
    .describe("Patterns of what is permitted or forbidden."),
});

const limit = z
  .strictObject({
    name: name.describe("Unique among the limits of all policy files; refusals name it."),
    who: who.optional(),
    tools: patterns(
      "Which calls it is about. Default: tools/call, resources/read, prompts/get and completion/complete; anything else where a method: pattern names it.",
    ).optional(),
    each: each.optional(),
    ...pace,
  })
  .superRefine((written, context) => {
    for (const { path, message } of contradictionsIn(written)) context.addIssue({ code: "custom", path: [...path], message });
  });

const agent = z.strictObject({
  customer: text.default("default").describe("Who pays."),
  team: text.optional(),
  workflow: text.optional(),
  owner: text.describe("Who answers for this agent."),
  purpose: text.describe("What it is for, in words."),
  kind: z.enum(KINDS).default("autonomous"),
  riskClass: z.enum(["minimal", "limited", "high", "unclassified"]).default("unclassified"),
});

export const policyFileSchema = z.strictObject({
  apiVersion: z.literal("tollgate/v1").describe("The version of this file's form."),
  agents: z
    .record(
      name.refine((written) => !written.startsWith("agt_"), "must not look like an agent's id: a rule for that id would match it"),
      agent,
    )
    .default({})
    .describe("Agents that this file owns: their attributes change here only."),
  groups: groups
    .prefault({})
    .describe("Lists with a name, for all policy files: written group:NAME in who.agent, permit, forbid and tools."),
  entitlements: z
    .array(entitlement)
    .default([])
    .describe("Who may use what. Nothing permitted is refused; a forbid wins; order never matters."),
  limits: z.array(limit).default([]).describe("How fast and how much at once."),
  budgets: z.array(budget).default([]).describe("How much may be used."),
});

export type EntitlementFile = z.output<typeof entitlement>;
export type LimitFile = z.output<typeof limit>;
/** Null: an element that the schema refuses; the others are still looked at, so that all problems show at once. */
export type PolicyFile = {
  readonly agents: z.output<typeof policyFileSchema>["agents"];
  readonly groups: z.output<typeof groups>;
  readonly entitlements: readonly (EntitlementFile | null)[];
  readonly limits: readonly (LimitFile | null)[];
  readonly budgets: readonly (BudgetFile | null)[];
};
export type WhoFile = NonNullable<EntitlementFile["who"]>;
export type DeclaredAgent = { readonly name: string; readonly file: string; readonly line: number } & z.output<typeof agent>;

/** What can be read of a file that the schema refuses. */
export function readablePart(data: unknown): PolicyFile {
  const { agents, groups: named, entitlements, limits, budgets } = (data ?? {}) as Record<string, unknown>;
  return {
    agents: policyFileSchema.shape.agents.safeParse(agents).data ?? {},
    groups: policyFileSchema.shape.groups.safeParse(named).data ?? { agents: {}, tools: {} },
    entitlements: Array.isArray(entitlements) ? entitlements.map((item) => entitlement.safeParse(item).data ?? null) : [],
    limits: Array.isArray(limits) ? limits.map((item) => limit.safeParse(item).data ?? null) : [],
    budgets: Array.isArray(budgets) ? budgets.map((item) => budget.safeParse(item).data ?? null) : [],
  };
}

/** JSON Schema of a policy file, for editors and for the words of a problem. */
export function policyJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(policyFileSchema, { io: "input" });
}
