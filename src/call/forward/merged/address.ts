/** Pure. A request to a view becomes one to the server that it means: its own name in place of the shown one, byte for byte the rest. */
import type { ServerName } from "../../../ids.ts";
import { type Refusal, refuse } from "../../../refusal.ts";
import type { McpRequest, Target } from "../../accept/request.ts";
import type { ServerView } from "../../authorize/server-view.ts";
import { edited, headerValue } from "../edited-request.ts";

/** `resource`: a URI is the same on every route, so the name alone does not tell whose it is. */
export type Addressed = McpRequest | Refusal | { readonly resource: Target };

export function addressIn(view: ServerView, request: McpRequest): Addressed {
  const { course, target, targetSpan, forwarded } = request;
  // Lists, handshakes and whatever else names nothing of one server are the view's own to answer.
  if (course !== "metered" || target === null || targetSpan === null) return { ...request, view: view.route };
  if (target.kind !== "tool" && target.kind !== "prompt") return { resource: target };
  const meaning = view.meaningOf(target.kind, target.name);
  if (meaning === null) return refuse("tool_unknown", {}, `${view.route} shows nothing of this name`);
  const replacement = Buffer.from(JSON.stringify(meaning.name));
  return {
    ...edited(request, [{ ...targetSpan, replacement }]),
    view: view.route,
    server: meaning.server,
    target: { kind: target.kind, name: meaning.name },
    forwarded: "mcp-name" in forwarded ? { ...forwarded, "mcp-name": headerValue(meaning.name) } : forwarded,
  };
}

export function addressTo(view: ServerView, request: McpRequest, server: ServerName): McpRequest {
  return { ...request, view: view.route, server };
}
