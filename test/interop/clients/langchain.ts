/** LangChain: MCP tools as tools of a graph, on SDK v1. */
import { MultiServerMCPClient } from "@langchain/mcp-adapters";
import type { Report, Target } from "../report.ts";
import { bearer, type Session, visit } from "./visit.ts";

export function drive(target: Target): Promise<Report> {
  return visit(target, opened);
}

async function opened(target: Target): Promise<Session> {
  let progressed: (() => void) | undefined;
  const client = new MultiServerMCPClient({
    mcpServers: { gateway: { transport: "http", url: target.url, headers: bearer(target) } },
    onProgress: () => progressed?.(),
  });
  const tools = await client.getTools();
  return {
    tools: async () => tools.map(({ name }) => name),
    async call(name, args, heard) {
      progressed = heard;
      const answer: unknown = await tools.find((tool) => tool.name === name)?.invoke(args);
      return { text: typeof answer === "string" ? answer : JSON.stringify(answer), isError: false };
    },
    close: () => client.close(),
  };
}
