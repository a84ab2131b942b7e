/** What is called: modern (2026-07-28) requests, the same bytes to every target. */

export type Target = { readonly url: string; readonly headers: Readonly<Record<string, string>>; readonly body: string };

export function callTo(url: string, accessToken: string | null): Target {
  return toolCallTo(url, accessToken, "echo", { text: "The quick brown fox jumps over the lazy dog.", limit: 5 });
}

export function toolCallTo(url: string, accessToken: string | null, name: string, args: object): Target {
  return requestTo(url, accessToken, "tools/call", { name, arguments: args });
}

export function requestTo(url: string, accessToken: string | null, method: string, params: Readonly<Record<string, unknown>>): Target {
  const revision = "2026-07-28";
  const _meta = { "io.modelcontextprotocol/protocolVersion": revision, "io.modelcontextprotocol/clientCapabilities": {} };
  return {
    url,
    headers: {
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": revision,
      "mcp-method": method,
      ...(typeof params.name === "string" ? { "mcp-name": params.name } : {}),
      ...bearer(accessToken),
    },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: { ...params, _meta } }),
  };
}

export function bearer(accessToken: string | null): Record<string, string> {
  return accessToken === null ? {} : { authorization: `Bearer ${accessToken}` };
}

/** Where each call must end: with a result. A refusal in 200 would otherwise count as a very fast call. */
export async function answersOnce(target: Target): Promise<void> {
  const answer = await fetch(target.url, { method: "POST", headers: target.headers, body: target.body });
  const text = await answer.text();
  if (answer.status !== 200 || !text.includes('"result"')) throw new Error(`${target.url} answers ${answer.status}: ${text.slice(0, 500)}`);
}
