/** What rules of all sorts in a policy file are made of: names, who is meant, patterns of targets, whose counter it is. */
import { z } from "zod";

export const name = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
    "must be 1 to 64 letters, digits, dots, dashes and underscores, beginning with a letter or digit",
  );
export const text = z.string().min(1).max(256);

const facet = (description: string) =>
  z
    .union([text, z.array(text).min(1)], { error: "must be a text or a list of texts" })
    .describe(`${description} A text or a list; * matches any characters.`);

export const KINDS = ["autonomous", "service", "fleet", "collective", "synthetic", "human-driven"] as const;

export const who = z
  .strictObject({
    agent: facet("An agent's id or name, or group:NAME.").optional(),
    instance: facet("One running copy of an agent, as its token proves.").optional(),
    team: facet("The agent's team.").optional(),
    workflow: facet("The agent's workflow.").optional(),
    customer: facet("The agent's customer.").optional(),
    kind: facet(`The agent's kind: ${KINDS.join(", ")}.`)
      .refine(isKind, `is not a kind; there are ${KINDS.join(", ")}`)
      .optional(),
    subject: facet("The end user on whose behalf the agent acts.").optional(),
    role: facet("A role in the agent's token.").optional(),
  })
  .refine((facets) => Object.values(facets).some((value) => value !== undefined), "names nobody; leave it out to mean every agent")
  .describe("Every key must match; within a list, one entry must. Left out: every agent.");

export const patterns = (description: string) =>
  z
    .array(text.max(1024))
    .min(1)
    .describe(
      `${description} server/tool, resource:server/uri, prompt:server/name, method:server/method, or group:NAME; * matches any characters.`,
    );

export const EACH = ["agent", "instance", "team", "workflow", "customer", "subject", "server", "tool"] as const;
const eachName = z.enum(EACH);

export const each = z
  .union([eachName, z.array(eachName).min(1)], { error: `must be one or a list of ${EACH.join(", ")}` })
  .describe("Who has a counter of its own. Left out: all whom `who` matches share one.");

function isKind(written: string | readonly string[]): boolean {
  return [written].flat().every((entry) => entry.includes("*") || KINDS.some((kind) => kind === entry));
}
