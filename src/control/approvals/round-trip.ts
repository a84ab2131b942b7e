/** Pure. The question to the agent's own user (multi round-trip requests, MCP 2026-07-28): how it is put, what came back, and that none of it goes on. */
import type { McpRequest } from "../../call/accept/request.ts";
import { edited } from "../../call/forward/edited-request.ts";
import { type Edit, isScanFault, type JsonNode, member, scanJson, stringValue } from "../../json.ts";
import type { Question } from "../../refusal.ts";
import type { Seal } from "../../seal.ts";

/** What the client brought back for a question of ours. `approvalId` null: the state is not one that this caller was given. */
export type Reaction = { readonly approvalId: string | null; readonly declined: boolean };

/** Tells our states from those of servers, which are opaque and may be anything. */
const STATE_PREFIX = "tollgate-approval.";
const KEY = "approval";
const CAPABILITIES = "io.modelcontextprotocol/clientCapabilities";
/** SEP-2322: no other request may be answered with a question. */
const ASKABLE: ReadonlySet<string> = new Set(["tools/call", "prompts/get", "resources/read"]);
const ANSWERS: ReadonlySet<string> = new Set(["inputResponses", "requestState"]);

export function questionTo(seal: Seal, principal: string, target: string, approvalId: string): Question {
  return {
    key: KEY,
    message: `A person has to approve ${target} (approval ${approvalId}). Continue when it is approved.`,
    requestState: `${STATE_PREFIX}${seal.seal("approval", principal, approvalId)}`,
  };
}

/** Null: it answers nothing that we asked. */
export function reactionIn(seal: Seal, principal: string, { followUp, body }: McpRequest): Reaction | null {
  const state = followUp?.requestState ?? null;
  if (state === null || !state.startsWith(STATE_PREFIX)) return null;
  const approvalId = seal.open("approval", principal, state.slice(STATE_PREFIX.length));
  const responses = memberAt(body, ["params", "inputResponses", KEY]);
  const action = responses === undefined ? undefined : stringValue(body, member(responses, "action"));
  return { approvalId, declined: action === "decline" || action === "cancel" };
}

/** Whether the client has said that it can show a form to its user. */
export function takesQuestions({ era, method, body }: McpRequest): boolean {
  if (era !== "modern" || !ASKABLE.has(method ?? "")) return false;
  const elicitation = memberAt(body, ["params", "_meta", CAPABILITIES, "elicitation"]);
  if (elicitation?.kind !== "object") return false;
  // Neither form nor url: a form (MCP 2025-11-25, elicitation capabilities).
  return member(elicitation, "form") !== undefined || member(elicitation, "url") === undefined;
}

/** The request as it would have been without our question; every other byte as it was received. */
export function withoutReaction(request: McpRequest): McpRequest {
  const params = memberAt(request.body, ["params"]);
  return params === undefined ? request : { ...edited(request, removals(params, ANSWERS)), followUp: null };
}

/** With each member goes the comma behind it, or, where none of those that stay comes behind, the one before. */
function removals({ members }: JsonNode, names: ReadonlySet<string>): Edit[] {
  const lastKept = members.findLastIndex(({ name }) => !names.has(name));
  const edits: Edit[] = [];
  for (const [i, { name, start }] of members.entries()) {
    const next = members[i + 1];
    if (i < lastKept && names.has(name) && next !== undefined) edits.push({ start, end: next.start, replacement: NOTHING });
  }
  const tail = members[lastKept + 1];
  const end = members.at(-1)?.value.end;
  if (tail === undefined || end === undefined) return edits;
  return [...edits, { start: members[lastKept]?.value.end ?? tail.start, end, replacement: NOTHING }];
}

const NOTHING = Buffer.alloc(0);

function memberAt(body: Buffer, path: readonly string[]): JsonNode | undefined {
  const root = scanJson(body, { treeDepth: path.length + 1 });
  let node: JsonNode | undefined = isScanFault(root) ? undefined : root;
  for (const name of path) node = node === undefined ? undefined : member(node, name);
  return node;
}
