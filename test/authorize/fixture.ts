/** Policies from text, callers from a few words, calls from `server/tool` and JSON. */
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Course } from "../../src/call/accept/request.ts";
import { AccessToken, type Agent, type AgentProfile } from "../../src/call/authenticate/agent.ts";
import type { PolicySet } from "../../src/call/authorize/candidates.ts";
import type { Asked } from "../../src/call/authorize/circumstances.ts";
import { decide } from "../../src/call/authorize/decide.ts";
import { parsePattern } from "../../src/call/authorize/pattern.ts";
import type { AgentId, ServerName } from "../../src/ids.ts";
import { loadPolicies } from "../../src/policy-load.ts";
import { isRefusal } from "../../src/refusal.ts";

export const SERVERS = new Map(["tickets", "crm", "billing"].map((name) => [name, { reserve: { tool_tokens: 2000 } }]));

export function folderOf(files: Readonly<Record<string, string>>): string {
  const folder = join(mkdtempSync(join(tmpdir(), "tollgate-policies-")), "policies");
  mkdirSync(folder);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

/** The rules of one file; `apiVersion` is added. */
export function policies(yaml: string): PolicySet {
  const loaded = loadPolicies(folderOf({ "test.yaml": `apiVersion: tollgate/v1\n${yaml}` }), SERVERS);
  if ("problems" in loaded) throw new Error(loaded.problems.map((problem) => `${problem.line}: ${problem.message}`).join("\n"));
  return loaded.policySet;
}

export function problemsIn(yaml: string): string[] {
  const loaded = loadPolicies(folderOf({ "test.yaml": `apiVersion: tollgate/v1\n${yaml}` }), SERVERS);
  return "problems" in loaded ? loaded.problems.map(({ line, column, message }) => `${line}:${column}: ${message}`) : [];
}

export type Caller = Partial<AgentProfile> & { scopes?: string[]; roles?: string[]; subject?: string; instance?: string };

export function agentOf({ scopes = [], roles = [], subject, instance, ...profile }: Caller = {}): Agent {
  return {
    profile: {
      id: "agt_01" as AgentId,
      name: "triage-bot",
      kind: "autonomous",
      state: "active",
      customer: "acme",
      team: "support",
      workflow: null,
      owner: "ops@example.com",
      purpose: "sort tickets",
      riskClass: "unclassified",
      issuer: null,
      account: { tools: null, scopes: null },
      ...profile,
    },
    instance: instance ?? null,
    subject: subject ?? null,
    person: subject ?? null,
    actors: [],
    roles,
    scopes: new Set(["mcp", ...scopes]),
    issuer: "http://127.0.0.1:8420",
    clientId: null,
    tokenId: null,
    claims: {},
    environment: "live",
    expiresAtMs: 0,
    principal: "p",
    accessToken: new AccessToken("secret"),
  };
}

const METHODS = { tool: "tools/call", resource: "resources/read", prompt: "prompts/get", method: "" };

/** `tickets/search` with `{"limit":5}`: a call as the accept step hands it over. */
export function asked(path: string, args = "{}"): Asked {
  const pattern = parsePattern(path);
  if ("problem" in pattern) throw new Error(pattern.problem);
  const { kind, server, name } = pattern;
  const isMethod = kind === "method";
  return {
    server: server as ServerName,
    course: isMethod ? courseOf(name) : "metered",
    method: isMethod ? name : METHODS[kind],
    target: isMethod ? null : { kind, name },
    body: Buffer.from(args),
    argumentsSpan: { start: 0, end: Buffer.byteLength(args) },
  };
}

function courseOf(method: string): Course {
  if (method.endsWith("/list")) return "list";
  if (method.startsWith("notifications/")) return "notification";
  return ["initialize", "server/discover", "ping"].includes(method) ? "handshake" : "other";
}

/** `permit RULE`, or the reason of the refusal. */
export function verdict(policySet: PolicySet, caller: Caller, path: string, args = "{}", nowMs = 0): string {
  const answer = decide(policySet, agentOf(caller), asked(path, args), nowMs);
  return isRefusal(answer) ? answer.refused : `permit ${answer.rule?.name}`;
}
