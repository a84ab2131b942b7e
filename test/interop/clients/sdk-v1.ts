/** The SDK that most clients in the field are built on: revisions to 2025-11-25. */
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import type { Report, Target } from "../report.ts";
import { bearer, type Session, shown, visit } from "./visit.ts";

export function drive(target: Target): Promise<Report> {
  return visit(target, () => over(new StreamableHTTPClientTransport(new URL(target.url), { requestInit: { headers: bearer(target) } })));
}

/** Over any transport: bridges to stdio are driven by this client too. */
export async function over(transport: Transport): Promise<Session> {
  const client = new Client({ name: "interop-v1", version: "1.0.0" });
  await client.connect(transport);
  return {
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: async (name, args, progressed) =>
      shown(await client.callTool({ name, arguments: args }, undefined, progressed === undefined ? {} : { onprogress: progressed })),
    close: () => client.close(),
  };
}
