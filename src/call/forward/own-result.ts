/** Pure. A result that the gateway gives itself, where no server is asked. */
import type { McpRequest } from "../accept/request.ts";
import type { Outcome } from "./outcome.ts";
import { accepted } from "./outcomes.ts";

export function ownResult(request: McpRequest, result: Record<string, unknown>): Outcome {
  return ownResultText(request, JSON.stringify(result));
}

/** `resultText` is a JSON object. */
export function ownResultText({ idText }: McpRequest, resultText: string): Outcome {
  const bytes = Buffer.from(`{"jsonrpc":"2.0","id":${idText ?? "null"},"result":${resultText}}`);
  return { ...accepted(200), kind: "result", headers: { "content-type": "application/json" }, last: bytes };
}

/** `params.protocolVersion` of an `initialize`. */
export function requestedRevision({ body }: McpRequest): unknown {
  return (JSON.parse(body.toString()) as { params?: { protocolVersion?: unknown } }).params?.protocolVersion;
}
