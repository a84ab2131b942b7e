/** Pure. How a body of the admin API names an agent that somebody acts for, and what it would do. */
import { z } from "zod";
import type { Agent, AgentProfile } from "../../call/authenticate/agent.ts";
import type { ServerName } from "../../ids.ts";
import type { Refusal } from "../../refusal.ts";
import { actingAs } from "../me/acting.ts";
import { FEATURES } from "../me/reservation-story.ts";
import { isTheirs } from "./permissions.ts";
import type { Caller } from "./route.ts";

const TOOL_WORDS = "must be server/tool";
const scope = z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,64}$/, "is not a scope (RFC 6749 section 3.3)");

export const whose = {
  agent_id: z.string().min(1).max(128).describe("An agent's id or name."),
  scopes: z.array(scope).max(100).default([]).describe("Scopes that its token would have, beside mcp."),
  subject: z.string().min(1).max(512).optional().describe("The end user on whose behalf it acts."),
  instance: z.string().min(1).max(128).optional().describe("Which running copy of it."),
};

/** Either one: what stands behind this gateway, or what does not. */
export const what = {
  tool: z
    .string()
    .regex(/^[a-z0-9-]{1,32}\/[A-Za-z0-9_./-]{1,128}$/, TOOL_WORDS)
    .optional()
    .describe("server/tool."),
  feature: z
    .string()
    .regex(/^[A-Za-z0-9_./-]{1,128}$/, "must be 1 to 128 of letters, digits, _ . / -")
    .optional()
    .describe("Something that is no tool of a server; policies name it feature/NAME."),
};

export const ONE_OF = "must have either tool or feature";
export const hasOne = ({ tool, feature }: { tool?: string | undefined; feature?: string | undefined }) =>
  (tool === undefined) !== (feature === undefined);

export function placeOf({ tool, feature }: { tool?: string | undefined; feature?: string | undefined }): {
  readonly server: ServerName;
  readonly tool: string;
} {
  if (tool === undefined) return { server: FEATURES, tool: feature ?? "" };
  const slash = tool.indexOf("/");
  return { server: tool.slice(0, slash) as ServerName, tool: tool.slice(slash + 1) };
}

type Whose = {
  readonly agent_id: string;
  readonly scopes: readonly string[];
  readonly subject?: string | undefined;
  readonly instance?: string | undefined;
};
export type Find = (idOrName: string) => AgentProfile | undefined;

/** Null: no such agent, or one that the caller may not know of. */
export function vouchedFor(caller: Caller, body: Whose, find: Find, publicUrl: string): Agent | Refusal | null {
  const profile = find(body.agent_id);
  if (profile === undefined || !isTheirs(caller, profile.customer)) return null;
  return actingAs(profile, { scopes: body.scopes, subject: body.subject ?? null, instance: body.instance ?? null }, publicUrl);
}
