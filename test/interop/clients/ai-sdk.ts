/** The AI SDK: its own MCP client, whose tools a model calls through `execute`. */
import { createMCPClient } from "@ai-sdk/mcp";
import type { Report, Target } from "../report.ts";
import { bearer, type Session, shown, visit } from "./visit.ts";

export function drive(target: Target): Promise<Report> {
  return visit(target, opened);
}

async function opened(target: Target): Promise<Session> {
  const client = await createMCPClient({ transport: { type: "http", url: target.url, headers: bearer(target) } });
  const tools = await client.tools();
  return {
    tools: async () => Object.keys(tools),
    call: async (name, args) => shown(await tools[name]?.execute(args, { toolCallId: "1", messages: [], context: {} })),
    close: () => client.close(),
  };
}
