/** Pure. Who comes to visit, and what each is known to do: a change of any of it is news. */

import type { Mode } from "./play.ts";

export type Era = "legacy" | "modern";

/**
 * How much of a refusal reaches the client's user: `data` code, message and data; `code` code and message; `text` words that name the
 * reason; `nothing` words that do not.
 */
export type Shows = "data" | "code" | "text" | "nothing";

/** What the error of a refused handshake says: the reason, no more than that it is refused, or not even that. */
export type Says = "reason" | "refused" | "nothing";

export type Client = {
  /** For --only and for the agent's name. */
  readonly name: string;
  readonly title: string;
  /** The packages whose versions tell what was driven: its own first, then that of the SDK inside, where there is one. */
  readonly packages: readonly string[];
  /** A file of clients/, and the function in it. */
  readonly module: string;
  readonly drive: string;
  /** On the wire, towards a server of both eras, and towards one with sessions that knows only the older; null: it does not speak to it. */
  readonly era: { readonly both: Era; readonly sessions: Era | null };
  readonly shows: Readonly<Record<Mode, Shows>>;
  /** Refused at the handshake: what its error says, and the eras it tries. */
  readonly door: { readonly says: Says; readonly tries: readonly Era[] };
  /** Whether its interface tells of progress. */
  readonly progress: boolean;
  /** A client on SDK v1 behind a pipe: a notification in the same chunk as the result is handled a turn later, when nobody waits for it any more. */
  readonly mayLoseLastProgress?: boolean;
  /** Of a connection a call; others shake hands once. */
  readonly connectsAgain?: boolean;
};

const SDK_V1 = "@modelcontextprotocol/sdk";
const SDK_V2 = "@modelcontextprotocol/client";

export const ROSTER: readonly Client[] = [
  {
    name: "sdk-v1",
    title: "MCP SDK v1",
    packages: [SDK_V1],
    module: "sdk-v1",
    drive: "drive",
    era: { both: "legacy", sessions: "legacy" },
    shows: { jsonrpc: "data", http: "text", toolResult: "text" },
    door: { says: "reason", tries: ["legacy"] },
    progress: true,
  },
  {
    name: "sdk-v2-legacy",
    title: "MCP SDK v2, legacy",
    packages: [SDK_V2],
    module: "sdk-v2",
    drive: "legacy",
    era: { both: "legacy", sessions: "legacy" },
    shows: { jsonrpc: "data", http: "text", toolResult: "text" },
    door: { says: "reason", tries: ["legacy"] },
    progress: true,
  },
  {
    name: "sdk-v2-auto",
    title: "MCP SDK v2, auto",
    packages: [SDK_V2],
    module: "sdk-v2",
    drive: "auto",
    era: { both: "modern", sessions: "legacy" },
    shows: { jsonrpc: "data", http: "text", toolResult: "text" },
    door: { says: "refused", tries: ["modern"] },
    progress: true,
  },
  {
    name: "sdk-v2-pinned",
    title: "MCP SDK v2, pinned",
    packages: [SDK_V2],
    module: "sdk-v2",
    drive: "pinned",
    era: { both: "modern", sessions: null },
    shows: { jsonrpc: "data", http: "text", toolResult: "text" },
    door: { says: "refused", tries: ["modern"] },
    progress: true,
  },
  {
    name: "inspector",
    title: "MCP Inspector, command line",
    packages: ["@modelcontextprotocol/inspector"],
    module: "inspector",
    drive: "drive",
    era: { both: "legacy", sessions: "legacy" },
    shows: { jsonrpc: "text", http: "text", toolResult: "text" },
    door: { says: "reason", tries: ["legacy"] },
    progress: false,
    connectsAgain: true,
  },
  {
    name: "inspector-auto",
    title: "MCP Inspector, --protocol-era auto",
    packages: ["@modelcontextprotocol/inspector"],
    module: "inspector",
    drive: "auto",
    era: { both: "modern", sessions: "legacy" },
    shows: { jsonrpc: "text", http: "text", toolResult: "text" },
    door: { says: "refused", tries: ["modern"] },
    progress: false,
    connectsAgain: true,
  },
  {
    name: "mcp-remote",
    title: "mcp-remote",
    packages: ["mcp-remote", SDK_V1],
    module: "mcp-remote",
    drive: "drive",
    era: { both: "legacy", sessions: "legacy" },
    shows: { jsonrpc: "data", http: "text", toolResult: "text" },
    door: { says: "nothing", tries: ["legacy"] },
    progress: true,
    mayLoseLastProgress: true,
  },
  {
    name: "mcp-remote-auto",
    title: "mcp-remote, --protocol auto",
    packages: ["mcp-remote", SDK_V1],
    module: "mcp-remote",
    drive: "auto",
    era: { both: "modern", sessions: "legacy" },
    shows: { jsonrpc: "data", http: "text", toolResult: "text" },
    door: { says: "nothing", tries: ["modern"] },
    progress: true,
    mayLoseLastProgress: true,
  },
  {
    name: "ai-sdk",
    title: "AI SDK",
    packages: ["@ai-sdk/mcp"],
    module: "ai-sdk",
    drive: "drive",
    era: { both: "modern", sessions: "legacy" },
    shows: { jsonrpc: "data", http: "data", toolResult: "text" },
    door: { says: "reason", tries: ["modern", "legacy"] },
    progress: false,
  },
  {
    name: "mastra",
    title: "Mastra",
    packages: ["@mastra/mcp", "@mastra/mcp/node_modules/@modelcontextprotocol/client"],
    module: "mastra",
    drive: "drive",
    era: { both: "modern", sessions: "legacy" },
    shows: { jsonrpc: "data", http: "text", toolResult: "text" },
    door: { says: "refused", tries: ["modern"] },
    progress: true,
  },
  {
    name: "langchain",
    title: "LangChain",
    packages: ["@langchain/mcp-adapters", SDK_V1],
    module: "langchain",
    drive: "drive",
    era: { both: "legacy", sessions: "legacy" },
    shows: { jsonrpc: "text", http: "text", toolResult: "text" },
    door: { says: "reason", tries: ["legacy"] },
    progress: true,
  },
  {
    name: "openai-agents",
    title: "OpenAI Agents",
    packages: ["@openai/agents", SDK_V2],
    module: "openai-agents",
    drive: "drive",
    era: { both: "modern", sessions: "legacy" },
    shows: { jsonrpc: "nothing", http: "nothing", toolResult: "text" },
    door: { says: "refused", tries: ["modern"] },
    progress: false,
  },
  {
    name: "openai-agents-raising",
    title: "OpenAI Agents, errorFunction: null",
    packages: ["@openai/agents", SDK_V2],
    module: "openai-agents",
    drive: "raising",
    era: { both: "modern", sessions: "legacy" },
    shows: { jsonrpc: "data", http: "text", toolResult: "text" },
    door: { says: "refused", tries: ["modern"] },
    progress: false,
  },
];
