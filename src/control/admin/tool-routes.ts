/** Tools and their pinned definitions: what counts, what has changed, and the yes of a person to what was shown. */
import { z } from "zod";
import type { Approve } from "../tools/approve.ts";
import type { ToolRow, ToolRows } from "../tools/tool-rows.ts";
import { elsewhere, faultAnswer } from "./registry-answers.ts";
import type { Answer, Asked, Caller, Route } from "./route.ts";
import { NOT_THERE, route } from "./route.ts";

export type ToolRoutesParts = { readonly rows: ToolRows; readonly approve: Approve };

const PAGE_MAX = 1_000;
const DIGEST = /^(sha256:)?[0-9a-f]{64}$/;
const sha256 = z
  .string()
  .regex(DIGEST, "must be the sha256 of the definition that was shown")
  .transform((written) => written.replace("sha256:", ""))
  .describe("That of the definition that was shown: approved is this one and no other.");
const reason = z.string().trim().min(1).max(512).optional().describe("Why, for the record.");
const one = z.strictObject({ sha256, reason });
const several = z.strictObject({
  tools: z
    .array(z.strictObject({ tool: z.string().min(1).max(128), sha256 }))
    .min(1)
    .max(PAGE_MAX)
    .describe("All of them or none."),
  reason,
});

export function toolRoutes(parts: ToolRoutesParts): readonly Route[] {
  const list = (path: Route["path"], summary: string): Route =>
    route({ method: "GET", path, permission: "tools:read", summary, body: null, answer: (asked) => page(parts, asked) });
  return [
    list("/tools", "Lists tools and whether their definition counts, by server and name. state=waiting: those that wait for a yes."),
    list("/tools/:server", "The same, of one server."),
    route({
      method: "GET",
      path: "/tools/:server/:tool",
      permission: "tools:read",
      summary: "Shows one tool: the definition that counts, the one that waits, and where they differ.",
      body: null,
      async answer({ caller, params }) {
        if (caller.customer !== null) return elsewhere(caller);
        const found = await parts.rows.find(params.server ?? "", params.tool ?? "");
        return found === null ? NOT_THERE : { status: 200, json: found };
      },
    }),
    route({
      method: "POST",
      path: "/tools/:server/approve",
      permission: "tools:approve",
      summary: "Approves definitions of several tools of a server, each by the sha256 that was shown; 409 where one has changed since.",
      body: several,
      answer: ({ caller, params, body }) => approve(parts, caller, params.server ?? "", body.tools, body.reason ?? null),
    }),
    route({
      method: "POST",
      path: "/tools/:server/:tool/approve",
      permission: "tools:approve",
      summary: "Approves the definition of one tool by the sha256 that was shown; 409 where it has changed since.",
      body: one,
      answer: ({ caller, params, body }) =>
        approve(parts, caller, params.server ?? "", [{ tool: params.tool ?? "", sha256: body.sha256 }], body.reason ?? null),
    }),
  ];
}

async function page({ rows }: ToolRoutesParts, { caller, params, query }: Asked<unknown>): Promise<Answer> {
  // Servers are of no customer: what is on them is not for the eyes of one of many.
  if (caller.customer !== null) return elsewhere(caller);
  const { state = null, after = null } = query;
  if (state !== null && state !== "waiting") return { status: 400, detail: "state: there is waiting" };
  const limit = Number(query.limit ?? "100");
  if (!Number.isInteger(limit) || limit < 1 || limit > PAGE_MAX) return { status: 400, detail: `limit: 1 to ${PAGE_MAX}` };
  const found = await rows.list({ server: params.server ?? null, waiting: state !== null, after, limit: limit + 1 });
  const items = found.slice(0, limit);
  const last = items.at(-1);
  const next_cursor = found.length > limit && last !== undefined ? `${last.server}/${last.tool}` : null;
  return { status: 200, json: { items, next_cursor } };
}

async function approve(
  { rows, approve: accept }: ToolRoutesParts,
  caller: Caller,
  server: string,
  tools: readonly { readonly tool: string; readonly sha256: string }[],
  why: string | null,
): Promise<Answer> {
  if (caller.customer !== null) return elsewhere(caller);
  const fault = await accept(server, tools, caller.name, why);
  if (fault !== null) return faultAnswer(fault);
  const items: ToolRow[] = [];
  for (const { tool } of tools) {
    const found = await rows.find(server, tool);
    if (found === null) continue;
    const { definition: _, seen_definition: __, differences: ___, ...row } = found;
    items.push(row);
  }
  return { status: 200, json: { items } };
}
