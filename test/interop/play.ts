/** Pure. What is played with every client: the courses of a run, the rules of the gateway, the calls and what must come of them. */

export type Mode = "jsonrpc" | "http" | "toolResult";
export type ServerName = "both" | "sessions";

/**
 * One visit of every client. The first three differ in how the gateway says no; `sessions` goes to a server that knows only the older era,
 * `view` reaches the same server as one of a view, where the client may speak its own era; `stranger` comes with a valid access token of nobody who is registered, so that the handshake itself is refused.
 */
export type Course = "jsonrpc" | "http" | "toolResult" | "sessions" | "view" | "stranger";

type Place = {
  readonly mode: Mode;
  readonly server: ServerName;
  readonly route: string;
  /** As which of the servers the route speaks to clients. */
  readonly speaksAs: ServerName;
};

const at = (mode: Mode, server: ServerName): Place => ({ mode, server, route: server, speaksAs: server });

export const COURSES: Readonly<Record<Course, Place>> = {
  jsonrpc: at("jsonrpc", "both"),
  http: at("http", "both"),
  toolResult: at("toolResult", "both"),
  sessions: at("jsonrpc", "sessions"),
  view: { mode: "jsonrpc", server: "sessions", route: "desk", speaksAs: "both" },
  stranger: at("jsonrpc", "both"),
};

/** Its tools have their own names, so that every client plays the same there. */
export const VIEWS = `views:
  desk:
    tools: ["sessions/*"]
    rename: { sessions/echo: echo, sessions/add: add, sessions/slow: slow, sessions/search: search }
`;

/** Arguments refuse a `search`; the second `add` is refused by a budget that every agent has of its own; `delete_everything` is hidden. */
export const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: clients-use-tools, permit: ["*/echo", "*/add", "*/slow"] }
  - { name: clients-search-a-little, permit: ["*/search"], when: args.limit <= 100 }
budgets:
  - { name: one-addition, tools: ["*/add"], each: agent, meter: calls, limit: 1, period: total }
`;
export const VISIBLE_TOOLS: readonly string[] = ["add", "echo", "search", "slow"];

export type Call = { readonly tool: string; readonly args: Readonly<Record<string, unknown>> };

/** Long enough that buffering shows: the progress would come with the result. */
const STREAM_MS = 600;
export const STEPS = 3;

export const CALLS = {
  result: { tool: "echo", args: { text: "hello" } },
  policy: { tool: "search", args: { query: "x", limit: 101 } },
  within: { tool: "add", args: { a: 1, b: 2 } },
  budget: { tool: "add", args: { a: 1, b: 2 } },
  streamed: { tool: "slow", args: { ms: STREAM_MS, steps: STEPS } },
  /** On the same connection, after the refusals. */
  after: { tool: "echo", args: { text: "still here" } },
} as const satisfies Record<string, Call>;

export const RESULTS = { result: "hello", within: '{"sum":3}', streamed: `waited ${STREAM_MS} ms`, after: "still here" } as const;

export const REFUSALS = {
  policy: { code: 40301, reason: "arguments_denied", title: "These arguments are not permitted" },
  budget: { code: 42910, reason: "budget_exhausted", title: "The budget is used up" },
} as const;

/** Said with 403 and no challenge: at a handshake, clients would take 200 and an error for a server of the older era. */
export const STRANGER = { http: 403, title: "This identity is not a registered agent" } as const;

/** What runs upstream: no refused call is among it. */
export const RUN: readonly string[] = ["echo", "add", "slow", "echo"];
