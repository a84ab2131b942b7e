/** Pure. Who comes to visit, and what each is known to do: a change of any of it is news. */

export type Era = "legacy" | "modern";
export type Mode = "jsonrpc" | "http" | "toolResult";

/**
 * How much of a refusal reaches the client's user: `data` code, message and data; `code` code and message; `text` words that name the
 * reason, as an error; `status` no more than that an HTTP request failed.
 */
export type Shows = "data" | "code" | "text" | "status";

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
  /** Whether its interface tells of progress. */
  readonly progress: boolean;
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
    progress: true,
  },
];
