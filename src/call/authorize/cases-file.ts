/** Pure. What may stand in a `*.cases.yaml`: decisions that must hold. One closed schema, from which the checks and the JSON Schema come. */
import { z } from "zod";
import { WIRE } from "../../refusal.ts";
import { instantMs } from "./written.ts";

const text = z.string().min(1).max(1024);
const attributes = z.strictObject({
  name: text,
  customer: text.optional(),
  team: text.optional(),
  workflow: text.optional(),
  kind: z.enum(["autonomous", "service", "fleet", "collective", "synthetic", "human-driven"]).optional(),
  owner: text.optional(),
  purpose: text.optional(),
});
const someone = z.union([text, attributes], { error: "must be the name of a declared agent, or attributes with a name" });
const EXPECTED = ["permit", ...Object.keys(WIRE)];

const policyCase = z.strictObject({
  name: text.describe("What it promises."),
  agent: z
    .union([someone, z.array(someone).min(1)], { error: "must be an agent or a list of agents" })
    .describe(
      "An agent that a policy file declares, by name; or attributes: name, customer, team, workflow, kind, owner, purpose. Or a list.",
    ),
  tool: z
    .union([text, z.array(text).min(1)], { error: "must be a target or a list of targets" })
    .describe("What it calls: server/tool, resource:server/uri, prompt:server/name, method:server/method. Or a list."),
  args: z.record(z.string(), z.unknown()).optional().describe("The arguments of the call."),
  scopes: z.array(text).optional().describe("Scopes of its token beside mcp."),
  subject: text.optional().describe("The user on whose behalf it acts."),
  instance: text.optional(),
  roles: z.array(text).optional(),
  claims: z.record(z.string(), z.unknown()).optional().describe("Claims of its token."),
  at: z
    .string()
    .refine((written) => instantMs(written) !== null, "must be a date or an RFC 3339 time")
    .optional()
    .describe("When. Default: now."),
  expect: z
    .string()
    .refine((written) => EXPECTED.includes(written), `must be permit or a reason: tool_unknown, arguments_denied, scope_insufficient, ...`)
    .describe("permit, or the reason of the refusal."),
  rule: text.optional().describe("The rule that must decide it."),
});
export type PolicyCase = z.output<typeof policyCase>;

export const casesFileSchema = z.strictObject({
  apiVersion: z.literal("tollgate/v1").describe("The version of this file's form."),
  cases: z.array(policyCase).min(1).describe("Decisions that must hold."),
});

export function casesJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(casesFileSchema, { io: "input" });
}
