/** What is called: one modern (2026-07-28) tools/call, the same bytes to every target. */

export type Target = { readonly url: string; readonly headers: Readonly<Record<string, string>>; readonly body: string };

export function callTo(url: string, accessToken: string | null): Target {
  return {
    url,
    headers: {
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": "tools/call",
      "mcp-name": "echo",
      ...(accessToken === null ? {} : { authorization: `Bearer ${accessToken}` }),
    },
    body: JSON.stringify({
      jsonrpc: "2.0",
      id: 1,
      method: "tools/call",
      params: {
        name: "echo",
        arguments: { text: "The quick brown fox jumps over the lazy dog.", limit: 5 },
        _meta: { "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} },
      },
    }),
  };
}

/** Where each call must end: with a result. A refusal in 200 would otherwise count as a very fast call. */
export async function answersOnce(target: Target): Promise<void> {
  const answer = await fetch(target.url, { method: "POST", headers: target.headers, body: target.body });
  const text = await answer.text();
  if (answer.status !== 200 || !text.includes('"result"')) throw new Error(`${target.url} answers ${answer.status}: ${text.slice(0, 500)}`);
}
