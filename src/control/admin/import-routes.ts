/** Many agents in one request: all of them, or none and every problem. */
import type { Registry } from "../agents/registry.ts";
import { manyAgents } from "./bodies.ts";
import { isTheirs } from "./permissions.ts";
import { elsewhere } from "./registry-answers.ts";
import { type Route, route } from "./route.ts";

/** 10,000 agents of half a kilobyte each, and as much again. */
const BODY_BYTES_MAX = 10_485_760;

export function importRoutes(registry: Registry): readonly Route[] {
  return [
    route({
      method: "POST",
      path: "/agents/import",
      permission: "agents:write",
      summary: "Registers up to 10,000 agents or none of them; with `secrets` each gets a client secret, with `dry_run` nothing is done.",
      body: manyAgents,
      bodyBytesMax: BODY_BYTES_MAX,
      async answer({ caller, body: { agents, secrets = false, dry_run = false } }) {
        const rows = agents.map((agent) => ({ ...agent, customer: agent.customer ?? caller.customer ?? undefined }));
        if (rows.some(({ customer }) => customer !== undefined && !isTheirs(caller, customer))) return elsewhere(caller);
        const answer = await registry.importAgents(rows, { dryRun: dry_run, secrets }, caller.name);
        if ("problems" in answer) {
          const { problems } = answer;
          return { status: 422, detail: `${problems.length} of the agents cannot be registered, so none was`, problems };
        }
        const made = answer.agents.map(({ profile: { id, name }, secret }) => {
          return { id, name, client_id: id, ...(secret === null ? {} : { client_secret: secret }) };
        });
        return { status: 201, json: { agents: made, dry_run }, ...(secrets ? { made: `${made.length} agents` } : {}) };
      },
    }),
  ];
}
