/** A list request of a view, as it goes to one of its servers. */

import { randomUUID } from "node:crypto";
import type { ServerName } from "../../../ids.ts";
import { isScanFault, member, scanJson } from "../../../json.ts";
import type { McpRequest } from "../../accept/request.ts";

const START = '{"jsonrpc":"2.0","id":';
/** Not to be guessed: a client cancels requests by their ids, and this is none of its own. */
const ID = JSON.stringify(`tollgate-${randomUUID()}`);

/** `asked` is the client's own request, of which revision, metadata and trace go on. */
export function listRequest(asked: McpRequest, server: ServerName, method: string, cursor: string | null): McpRequest {
  const members = [
    ...(cursor === null ? [] : [`"cursor":${JSON.stringify(cursor)}`]),
    ...(metaOf(asked.body) === null ? [] : [`"_meta":{${metaOf(asked.body)}}`]),
  ];
  const body = Buffer.from(`${START}${ID},"method":${JSON.stringify(method)},"params":{${members.join(",")}}}`);
  const { "mcp-method": _, "mcp-name": __, ...forwarded } = asked.forwarded;
  return {
    ...asked,
    server,
    course: "list",
    method,
    idText: ID,
    idSpan: { start: START.length, end: START.length + ID.length },
    target: { kind: "method", name: method },
    targetSpan: null,
    argumentsSpan: null,
    progressTokenSpan: null,
    idempotencyKey: null,
    followUp: null,
    body,
    sessionId: null,
    lastEventId: null,
    forwarded: asked.era === "modern" ? { ...withoutParameters(forwarded), "mcp-method": method } : forwarded,
  };
}

/** The members of `params._meta` as they were received, less the token under which a client hears of progress: a list makes none. */
function metaOf(body: Buffer): string | null {
  const root = scanJson(body, { treeDepth: 3 });
  const params = isScanFault(root) ? undefined : member(root, "params");
  const meta = params === undefined ? undefined : member(params, "_meta");
  if (meta?.kind !== "object") return null;
  const kept = meta.members.filter(({ name }) => name !== "progressToken");
  return kept.map(({ start, value }) => body.toString("utf8", start, value.end)).join(",");
}

/** `Mcp-Param-*` repeat the arguments of a tool. */
function withoutParameters(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith("mcp-param-")));
}
