/** Pure. Calls that nobody has made: an agent from its attributes and what it would ask, as the life of a call hands them to a decision. */
import { AccessToken, type Agent, type AgentKind, type AgentProfile, type RiskClass } from "./call/authenticate/agent.ts";
import type { Asked } from "./call/authorize/circumstances.ts";
import { parsePattern } from "./call/authorize/pattern.ts";
import type { AgentId, ServerName } from "./ids.ts";

/** All but the name may be left out; scopes, subject, roles, instance and claims are those of its token. */
export type ImaginedAgent = {
  readonly name: string;
  readonly id?: string | undefined;
  readonly customer?: string | undefined;
  readonly team?: string | undefined;
  readonly workflow?: string | undefined;
  readonly kind?: AgentKind | undefined;
  readonly owner?: string | undefined;
  readonly purpose?: string | undefined;
  readonly riskClass?: RiskClass | undefined;
  readonly instance?: string | undefined;
  readonly subject?: string | undefined;
  readonly roles?: readonly string[] | undefined;
  readonly scopes?: readonly string[] | undefined;
  readonly claims?: Readonly<Record<string, unknown>> | undefined;
  /** Of its customer's account; absent: no bound. */
  readonly account?: AgentProfile["account"] | undefined;
};

export function imagine(agent: ImaginedAgent): Agent {
  const { name, customer = "default", team = null, workflow = null, kind = "autonomous", riskClass = "unclassified" } = agent;
  return {
    profile: {
      ...{ id: (agent.id ?? `agt_${name}`) as AgentId, name, kind, state: "active", customer, team, workflow, riskClass },
      ...{ owner: agent.owner ?? "", purpose: agent.purpose ?? "", issuer: null },
      account: agent.account ?? { tools: null, scopes: null },
    },
    ...{ instance: agent.instance ?? null, subject: agent.subject ?? null, person: agent.subject ?? null },
    ...{ actors: [], roles: agent.roles ?? [], scopes: new Set(["mcp", ...(agent.scopes ?? [])]) },
    ...{ issuer: "", clientId: null, tokenId: null, expiresAtMs: Number.POSITIVE_INFINITY, environment: "live" },
    ...{ claims: agent.claims ?? {}, principal: name, accessToken: new AccessToken("") },
  };
}

const METHODS = { tool: "tools/call", resource: "resources/read", prompt: "prompts/get" } as const;
const HANDSHAKES = new Set(["initialize", "server/discover", "ping"]);

/** `path` is a target as policies write it, without `*`: `crm/read`, `resource:crm/file:///a`, `method:crm/tools/list`. */
export function imagineCall(path: string, args: unknown): Asked | { readonly problem: string } {
  const pattern = parsePattern(path);
  if ("problem" in pattern) return pattern;
  const { kind, server, name } = pattern;
  if (server.includes("*")) return { problem: `${path}: a call is to one server, without *` };
  const body = Buffer.from(JSON.stringify(args ?? {}));
  const common = { server: server as ServerName, body, argumentsSpan: { start: 0, end: body.length } };
  if (kind !== "method") return { ...common, course: "metered", method: METHODS[kind], target: { kind, name } };
  const course = HANDSHAKES.has(name) ? "handshake" : name.endsWith("/list") ? "list" : "other";
  return { ...common, course, method: name, target: null };
}
