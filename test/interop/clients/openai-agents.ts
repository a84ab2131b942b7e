/** OpenAI Agents: a tool of the server as a function tool; what it returns is what the model reads. */
import { getAllMcpTools, MCPServerStreamableHttp, RunContext } from "@openai/agents";
import type { Report, Target } from "../report.ts";
import { bearer, type Session, visit } from "./visit.ts";

export function drive(target: Target): Promise<Report> {
  return visit(target, (each) => opened(each, {}));
}

/** As its manual has it for those who want the error itself. */
export function raising(target: Target): Promise<Report> {
  return visit(target, (each) => opened(each, { errorFunction: null }));
}

async function opened(target: Target, more: { errorFunction?: null }): Promise<Session> {
  const server = new MCPServerStreamableHttp({ url: target.url, name: "gateway", requestInit: { headers: bearer(target) }, ...more });
  await server.connect();
  const tools = await getAllMcpTools({ mcpServers: [server] });
  return {
    tools: async () => tools.map(({ name }) => name),
    async call(name, args) {
      const tool = tools.find((each) => each.name === name);
      if (tool?.type !== "function") throw new Error(`no tool ${name}`);
      return { text: textOf(await tool.invoke(new RunContext(), JSON.stringify(args))), isError: false };
    },
    close: () => server.close(),
  };
}

function textOf(answer: unknown): string {
  return typeof answer === "string"
    ? answer
    : [answer]
        .flat()
        .map((part) => (part as { text?: string }).text ?? "")
        .join("\n");
}
