/** A call under an idempotency key, as plain HTTP, and what was said to it. */
import type { GatewayProcess } from "./gateway-process.ts";

export type FirstCall = {
  call_id: string;
  fate: string;
  outcome: string | null;
  usage: Record<string, number> | null;
  key_expires_at: string;
};
export type Said = {
  status: number;
  replayed: string | null;
  stream: boolean;
  id?: unknown;
  result?: {
    content?: { text: string }[];
    contents?: { text: string }[];
    isError?: boolean;
    resultType?: string;
    requestState?: string;
    _meta?: Record<string, { call_id: string; logical_call_id: string; replayed?: boolean }>;
  };
  error?: { code: number; data: { reason: string; call_id: string; retry_after_ms?: number; first_call?: FirstCall; invalid?: string } };
};

export type Keyed = {
  readonly server?: string;
  readonly method?: string;
  /** In the header. */
  readonly key?: string;
  /** In `_meta`. */
  readonly metaKey?: unknown;
  /** Further members of `_meta`. */
  readonly meta?: object;
  readonly id?: number | string;
  readonly more?: object;
  readonly signal?: AbortSignal;
};

const REVISION = "2026-07-28";

export async function keyedCall(
  gateway: Pick<GatewayProcess, "publicUrl">,
  accessToken: string,
  name: string,
  args: object,
  keyed: Keyed = {},
): Promise<Said> {
  const { server = "up", method = "tools/call", key, metaKey, meta = {}, id = 1, more = {}, signal } = keyed;
  const named = method === "resources/read" ? { uri: name } : { name, arguments: args };
  const ours = metaKey === undefined ? {} : { "io.tollgate/idempotencyKey": metaKey };
  const _meta = { ...ours, ...meta, "io.modelcontextprotocol/protocolVersion": REVISION, "io.modelcontextprotocol/clientCapabilities": {} };
  const response = await fetch(`${gateway.publicUrl}/mcp/${server}`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      ...{ "mcp-protocol-version": REVISION, "mcp-method": method, "mcp-name": name, authorization: `Bearer ${accessToken}` },
      ...(key === undefined ? {} : { "idempotency-key": key }),
    },
    body: JSON.stringify({ jsonrpc: "2.0", id, method, params: { ...named, ...more, _meta } }),
    ...(signal === undefined ? {} : { signal }),
  });
  const text = await response.text();
  const isStream = response.headers.get("content-type")?.startsWith("text/event-stream") === true;
  const message = isStream ? ([...text.matchAll(/^data: (.*)$/gm)].at(-1)?.[1] ?? "{}") : text;
  return {
    status: response.status,
    stream: isStream,
    replayed: response.headers.get("idempotent-replayed"),
    ...(JSON.parse(message) as object),
  };
}

export const reasonOf = ({ error }: Said): string => error?.data.reason ?? "passed";
export const textOf = ({ result }: Said): string | undefined => (result?.content ?? result?.contents)?.[0]?.text;
