/** The public listener on port 0, with a life that remembers what it was handed, and a raw socket to knock with. */
import { type AddressInfo, type BlockList, connect, type Socket } from "node:net";
import { performance } from "node:perf_hooks";
import type { Answer } from "../../src/call/accept/answer.ts";
import { createPublicListener, type ListenerTimeouts, type PublicListener } from "../../src/call/accept/listener.ts";
import { createPages } from "../../src/call/accept/pages.ts";
import type { RefusalMode } from "../../src/call/accept/reply.ts";
import type { McpRequest, RequestSketch } from "../../src/call/accept/request.ts";
import type { Refusal } from "../../src/refusal.ts";

export const PUBLIC_URL = "https://gate.example";

export type Front = {
  readonly port: number;
  readonly url: string;
  readonly host: string;
  readonly listener: PublicListener;
  readonly lived: McpRequest[];
  readonly refused: { readonly sketch: RequestSketch; readonly refusal: Refusal }[];
  readonly oauth: string[];
  readonly faults: unknown[];
  parserRefusals: number;
};

export type FrontOptions = {
  readonly mode?: RefusalMode;
  readonly origins?: readonly string[];
  readonly trustedProxies?: BlockList;
  readonly timeouts?: Partial<ListenerTimeouts>;
  readonly live?: (request: McpRequest, answer: Answer) => void;
};

export async function openFront(options: FrontOptions = {}): Promise<Front> {
  const hosts = new Set(["gate.example"]);
  const front: Omit<Front, "port" | "url" | "host" | "listener"> = { lived: [], refused: [], oauth: [], faults: [], parserRefusals: 0 };
  const listener = createPublicListener({
    hosts,
    origins: new Set(options.origins ?? []),
    trustedProxies: options.trustedProxies ?? null,
    mode: options.mode ?? "jsonrpc",
    publicUrl: PUBLIC_URL,
    now: () => Date.now(),
    mono: () => performance.now(),
    pages: createPages({ publicUrl: PUBLIC_URL, authorizationServers: [PUBLIC_URL] }),
    oauth: (request, response) => {
      front.oauth.push(`${request.method} ${request.url}`);
      response.end("oauth");
    },
    live: (request, answer) => {
      front.lived.push(request);
      (options.live ?? answerOk)(request, answer);
    },
    refused: (sketch, refusal, answer) => {
      front.refused.push({ sketch, refusal });
      answer.refuse(refusal);
    },
    parserRefusal: () => {
      opened.parserRefusals++;
    },
    fault: (thrown) => front.faults.push(thrown),
    timeouts: options.timeouts ?? {},
  });
  await new Promise<void>((resolve) => listener.server.listen(0, "127.0.0.1", resolve));
  const { port } = listener.server.address() as AddressInfo;
  hosts.add(`127.0.0.1:${port}`);
  const opened: Front = Object.assign(front, { port, url: `http://127.0.0.1:${port}`, host: `127.0.0.1:${port}`, listener });
  return opened;
}

function answerOk({ idText }: McpRequest, answer: Answer): void {
  if (idText === null) {
    answer.head(202, {});
    return answer.last(null);
  }
  const body = Buffer.from(`{"jsonrpc":"2.0","id":${idText},"result":{}}`);
  answer.head(200, { "content-type": "application/json", "content-length": String(body.length) });
  answer.last(body);
}

export const LEGACY_PING = '{"jsonrpc":"2.0","id":7,"method":"ping"}';

/** A POST as the older era sends it; `lines` are added, a value of null takes a header away. */
export function post(body: string | Buffer, changes: Record<string, string | null> = {}, target = "/mcp/tickets"): Buffer {
  const headers: Record<string, string | null> = {
    Host: "gate.example",
    "Content-Type": "application/json",
    Accept: "application/json, text/event-stream",
    "Content-Length": String(Buffer.byteLength(body)),
    ...changes,
  };
  const lines = Object.entries(headers).flatMap(([name, value]) => (value === null ? [] : [`${name}: ${value}`]));
  return Buffer.concat([Buffer.from(`POST ${target} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`), Buffer.from(body)]);
}

export type Reply = {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
  readonly text: string;
};

/** Sends bytes and reads until the answer is whole or the connection ends. */
export async function knock(front: Front, bytes: string | Buffer): Promise<Reply> {
  const socket = await dial(front);
  socket.write(bytes);
  const text = await readUntil(socket, isWhole);
  socket.destroy();
  return parseReply(text);
}

export function dial(front: Front): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(front.port, "127.0.0.1", () => resolve(socket));
    socket.on("error", reject);
  });
}

/** Everything received once `done` says so, or at the end of the connection. */
export function readUntil(socket: Socket, done: (text: string) => boolean = () => false): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    const finish = () => {
      socket.off("data", onData).off("close", finish);
      resolve(text);
    };
    const onData = (chunk: Buffer) => {
      text += chunk.toString("latin1");
      if (done(text)) finish();
    };
    socket.on("data", onData).on("close", finish);
    socket.on("error", () => {});
  });
}

export function isWhole(text: string): boolean {
  const end = text.indexOf("\r\n\r\n");
  if (end === -1 || text.startsWith("HTTP/1.1 100")) return text.startsWith("HTTP/1.1 100") && isWhole(text.slice(end + 4));
  const length = /\r\ncontent-length: (\d+)/i.exec(text.slice(0, end));
  return length === null ? text.endsWith("0\r\n\r\n") || / (204|304) /.test(text.slice(0, 13)) : text.length >= end + 4 + Number(length[1]);
}

export function parseReply(text: string): Reply {
  const end = text.indexOf("\r\n\r\n");
  const [line = "", ...lines] = text.slice(0, end).split("\r\n");
  const headers = new Map(lines.map((each) => [each.slice(0, each.indexOf(":")).toLowerCase(), each.slice(each.indexOf(":") + 1).trim()]));
  return { status: Number(line.split(" ")[1]), headers, body: text.slice(end + 4), text };
}

export function reasonOf({ body }: Reply): string | undefined {
  const parsed = JSON.parse(body) as { reason?: string; error?: { data?: { reason?: string } } };
  return parsed.reason ?? parsed.error?.data?.reason;
}
