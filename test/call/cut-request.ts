/** One keyed call over a connection of its own, which is cut at a moment that a seed chooses, or heard to its end. */
import { request } from "node:http";

export type Cut = "never" | "beforeAnswer" | "atHead" | "atFirstByte";

export type Attempt = {
  readonly url: string;
  readonly accessToken: string;
  readonly id: string;
  readonly key: string;
  readonly tool: string;
  readonly args: object;
  readonly progress: boolean;
  readonly cut: Cut;
  /** After which a connection is cut that is cut before its answer. */
  readonly cutMs: number;
};

/** Null: nothing that could be read to its end. */
export type Heard = { readonly status: number; readonly message: Message } | null;
type Message = {
  readonly result?: { readonly content?: readonly unknown[]; readonly _meta?: Readonly<Record<string, { replayed?: boolean }>> };
  readonly error?: { readonly code: number; readonly data?: { readonly reason?: string; readonly first_call?: { readonly fate: string } } };
  readonly reason?: string;
};

const REVISION = "2026-07-28";

export function attempt(asked: Attempt): Promise<Heard> {
  const { url, accessToken, id, key, tool, args, progress, cut, cutMs } = asked;
  const _meta = {
    "io.modelcontextprotocol/protocolVersion": REVISION,
    "io.modelcontextprotocol/clientCapabilities": {},
    ...(progress ? { progressToken: id } : {}),
  };
  const body = JSON.stringify({ jsonrpc: "2.0", id, method: "tools/call", params: { name: tool, arguments: args, _meta } });
  const headers = {
    ...{ "content-type": "application/json", accept: "application/json, text/event-stream", authorization: `Bearer ${accessToken}` },
    ...{ "mcp-protocol-version": REVISION, "mcp-method": "tools/call", "mcp-name": tool, "idempotency-key": key },
  };
  return new Promise((resolve) => {
    const sent = request(url, { method: "POST", headers, agent: false }, (response) => {
      if (cut === "atHead") sent.destroy();
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        text += chunk;
        if (cut === "atFirstByte") sent.destroy();
      });
      response.on("error", () => resolve(null));
      response.on("close", () => resolve(response.complete ? heardIn(response.statusCode ?? 0, text) : null));
    });
    sent.on("error", () => resolve(null));
    sent.on("close", () => resolve(null));
    sent.end(body);
    if (cut === "beforeAnswer") setTimeout(() => sent.destroy(), cutMs).unref();
  });
}

/** JSON, or the last message of a stream. */
function heardIn(status: number, text: string): Heard {
  try {
    const message = text.startsWith("{") ? text : ([...text.matchAll(/^data: (.*)$/gm)].at(-1)?.[1] ?? "");
    return { status, message: JSON.parse(message) as Message };
  } catch {
    return null;
  }
}
