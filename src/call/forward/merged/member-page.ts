/** One page of one server's list, with what the agent may use of it, under the names of the view. */
import type { ServerName } from "../../../ids.ts";
import { isScanFault, type JsonNode, member, scanJson, splice, stringValue } from "../../../json.ts";
import { isRefusal, type Refusal } from "../../../refusal.ts";
import type { Answer } from "../../accept/answer.ts";
import type { McpRequest, Target } from "../../accept/request.ts";
import type { Agent } from "../../authenticate/agent.ts";
import type { ServerView } from "../../authorize/server-view.ts";
import type { IssuedToken } from "../../exchange/issued-token.ts";
import { isToolName, SHAPES, type Shape } from "../list-filter.ts";
import { KEYS_MAX, readMessage } from "../message.ts";
import type { Outcome } from "../outcome.ts";
import type { IsVisible, Upstream } from "../upstream.ts";
import { listRequest } from "./ask.ts";
import type { Away } from "./away.ts";

/** What a view needs of its servers. */
export type Members = {
  get(server: ServerName): Upstream;
  exchange(agent: Agent, server: ServerName, toolName?: string | null): IssuedToken | Refusal | Promise<IssuedToken | Refusal>;
  /** Whether the agent may ask the server for this list; null: for anything at all. */
  mayAsk(agent: Agent, server: ServerName, method: string | null): boolean;
  visible(agent: Agent, server: ServerName): IsVisible;
  readonly away: Away;
};

export type ListedElement = {
  readonly server: ServerName;
  /** As the server names it: a name, a URI or a URI template. */
  readonly name: string;
  readonly bytes: Buffer;
};

export type MemberPage = {
  readonly elements: readonly ListedElement[];
  readonly nextCursor: string | null;
  /** Null where the server says nothing of it. */
  readonly ttlMs: number | null;
};

/** Why a server's part of a list is missing: a word of the table of refusals. */
export type Unavailable = { readonly server: ServerName; readonly reason: string };

export type Asking = {
  readonly agent: Agent;
  readonly request: McpRequest;
  readonly gone: AbortSignal;
  readonly stopped: AbortSignal;
};

/** A list waits this long for the slowest of its servers; the rest is shown without it. */
const PATIENCE_MS = 10_000;
const NOTHING: MemberPage = { elements: [], nextCursor: null, ttlMs: null };

export async function readMemberPage(
  view: ServerView,
  members: Members,
  { agent, request, gone, stopped }: Asking,
  server: ServerName,
  method: string,
  cursor: string | null,
): Promise<MemberPage | Unavailable> {
  if (members.away.has(server, agent)) return { server, reason: "upstream_timeout" };
  const issued = await members.exchange(agent, server);
  if (isRefusal(issued)) return { server, reason: issued.refused };
  const patience = AbortSignal.timeout(PATIENCE_MS);
  const outcome = await members.get(server).forward({
    request: listRequest(request, server, method, cursor),
    agent,
    issued,
    visible: null,
    held: null,
    answer: unheard(gone),
    stopped: AbortSignal.any([stopped, patience]),
  });
  if (outcome.kind === "result" && outcome.result !== null) {
    return pageOf(outcome.result, view, members.visible(agent, server), server, method) ?? { server, reason: "upstream_invalid" };
  }
  // A server that has no prompts has no list of them either.
  if (isMethodNotFound(outcome)) return NOTHING;
  if (patience.aborted) members.away.add(server, agent);
  return { server, reason: patience.aborted ? "upstream_timeout" : (outcome.refusal?.refused ?? "upstream_invalid") };
}

/** What comes before the last piece of a list is of no use to the view. */
function unheard(gone: AbortSignal): Answer {
  let started = false;
  return {
    get started() {
      return started;
    },
    gone,
    head() {
      started = true;
    },
    piece() {},
    last() {},
    refuse() {},
    fault() {},
  };
}

function isMethodNotFound({ kind, last }: Outcome): boolean {
  if ((kind !== "protocol_error" && kind !== "http_error") || last === null) return false;
  // An error on an event stream is framed.
  const text = last.toString("latin1");
  const bytes = last.subarray(text.indexOf("{"), text.lastIndexOf("}") + 1);
  const message = readMessage(bytes);
  const code = message.kind === "response" && message.outcome === "protocol_error" ? member(message.body, "code") : undefined;
  return code !== undefined && bytes.toString("latin1", code.start, code.end) === "-32601";
}

function pageOf(result: Buffer, view: ServerView, visible: IsVisible, server: ServerName, method: string): MemberPage | null {
  const shape = SHAPES.get(method);
  const root = scanJson(result, { treeDepth: 3, keysMax: KEYS_MAX });
  const list = isScanFault(root) || shape === undefined ? undefined : member(root, shape.list);
  if (isScanFault(root) || shape === undefined || list?.kind !== "array") return null;
  const elements = list.elements.map((element) => listed(result, element, shape, view, visible, server));
  const ttl = member(root, "ttlMs");
  return {
    elements: elements.filter((element) => element !== null),
    nextCursor: stringValue(result, member(root, "nextCursor")) ?? null,
    ttlMs: ttl?.kind === "number" ? Number(result.toString("latin1", ttl.start, ttl.end)) : null,
  };
}

function listed(
  result: Buffer,
  element: JsonNode,
  shape: Shape,
  view: ServerView,
  visible: IsVisible,
  server: ServerName,
): ListedElement | null {
  const name = stringValue(result, member(element, shape.key));
  if (name === undefined || shape.kind === "task") return null;
  const target: Target = { kind: shape.kind, name };
  const bytes = result.subarray(element.start, element.end);
  if (!view.shows(server, target) || !visible(target, bytes)) return null;
  // A resource keeps its URI: who reads it says the same on every route.
  if (shape.kind === "resource" && shape.key === "uri") return { server, name, bytes };
  const label = member(element, "name");
  const own = stringValue(result, label);
  if (label === undefined || own === undefined) return null;
  const shown = shape.kind === "resource" ? view.prefixed(server, own) : view.shownAs(server, target);
  // A name that no client could send back is not shown.
  if (shown === null || (shape.kind === "tool" && !isToolName(shown))) return null;
  const at = element.start;
  const replacement = Buffer.from(JSON.stringify(shown));
  return { server, name, bytes: splice(bytes, [{ start: label.start - at, end: label.end - at, replacement }]) };
}
