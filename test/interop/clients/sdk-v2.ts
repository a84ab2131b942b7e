/** The SDK of both eras, in each of its three ways to settle on one. */
import { Client, type ClientOptions, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import type { Report, Target } from "../report.ts";
import { bearer, type Session, shown, visit } from "./visit.ts";

type Negotiation = ClientOptions["versionNegotiation"];

export function legacy(target: Target): Promise<Report> {
  return visit(target, (each) => opened(each, { mode: "legacy" }));
}

export function auto(target: Target): Promise<Report> {
  return visit(target, (each) => opened(each, { mode: "auto" }));
}

export function pinned(target: Target): Promise<Report> {
  return visit(target, (each) => opened(each, { mode: { pin: "2026-07-28" } }));
}

async function opened(target: Target, versionNegotiation: Negotiation): Promise<Session> {
  const client = new Client({ name: "interop-v2", version: "1.0.0" }, { versionNegotiation });
  await client.connect(new StreamableHTTPClientTransport(new URL(target.url), { requestInit: { headers: bearer(target) } }));
  return {
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: async (name, args, progressed) =>
      shown(await client.callTool({ name, arguments: args }, progressed === undefined ? {} : { onprogress: progressed })),
    close: () => client.close(),
  };
}
