/** Mastra: its client probes for the era; an agent calls a tool through `execute`. */
import type { ToolExecutionContext } from "@mastra/core/tools";
import { MCPClient } from "@mastra/mcp";
import type { Report, Target } from "../report.ts";
import { bearer, type Session, type Shown, shown, visit } from "./visit.ts";

const SERVER = "gateway";
/** That of no agent, no workflow and no trace. */
const NO_CONTEXT = {} as ToolExecutionContext;

export function drive(target: Target): Promise<Report> {
  return visit(target, opened);
}

async function opened(target: Target): Promise<Session> {
  const client = new MCPClient({
    servers: { [SERVER]: { url: new URL(target.url), requestInit: { headers: bearer(target) }, enableProgressTracking: true } },
  });
  let progressed: (() => void) | undefined;
  await client.progress.onUpdate(SERVER, () => progressed?.());
  const tools = await client.listTools();
  return {
    tools: async () => Object.keys(tools).map((name) => name.replace(`${SERVER}_`, "")),
    async call(name, args, heard) {
      progressed = heard;
      return answered(await tools[`${SERVER}_${name}`]?.execute?.(args, NO_CONTEXT));
    },
    close: () => client.disconnect(),
  };
}

/** With an output schema it gives the structured content alone. */
function answered(result: unknown): Shown {
  const { content } = result as { content?: unknown };
  return content === undefined ? { text: JSON.stringify(result), isError: false } : shown(result);
}
