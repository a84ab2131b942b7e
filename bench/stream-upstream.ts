/** A child process: an MCP server of both eras that holds its answers open, and tells what became of them. */
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { eventAt, progressEvent, WRITTEN_EVENT_BYTES } from "./stream-event.ts";

/** Between two events of `ticks`: so far apart that none waits for the one before. */
const TICK_MS = 4;
const TOOLS = ["wait", "ticks", "flood"].map((name) => `{"name":"${name}","description":"a stream","inputSchema":{"type":"object"}}`);
const INFO = '"capabilities":{"tools":{}},"serverInfo":{"name":"stream-upstream","version":"1.0.0"}';
const LIST = `"resultType":"complete","tools":[${TOOLS.join(",")}],"ttlMs":600000,"cacheScope":"private"`;
const DONE = '"resultType":"complete","content":[{"type":"text","text":"done"}]';
const OPENED = 'event: message\ndata: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"open"}}\n\n';

type Message = { id?: unknown; method: string; params?: { name?: string; arguments?: { key?: string; as?: string; count?: number } } };

/** When the client of `wait` was seen to leave, by its key: nanoseconds of the machine's monotonic clock. */
const left = new Map<string, PromiseWithResolvers<bigint>>();
const tickers: { res: ServerResponse; idText: string; remaining: number }[] = [];
let idle = 0;
let flood: ServerResponse | null = null;

const server = createServer({ keepAliveTimeout: 600_000, requestTimeout: 0 }, (req, res) => {
  res.on("error", () => {});
  if (req.url?.startsWith("/ask/")) return void control(req.url.slice(5), res);
  if (req.method === "GET") return hold(res);
  const chunks: Buffer[] = [];
  req.on("data", (chunk: Buffer) => chunks.push(chunk));
  req.on("end", () => answer(JSON.parse(Buffer.concat(chunks).toString()) as Message, req, res));
});
server.maxConnections = 20_000;
server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () =>
  console.log(JSON.stringify({ port: (server.address() as AddressInfo).port })),
);

function answer({ id, method, params }: Message, req: IncomingMessage, res: ServerResponse): void {
  const idText = JSON.stringify(id);
  if (id === undefined) return void res.writeHead(202).end();
  if (method === "initialize") {
    res.setHeader("mcp-session-id", randomUUID());
    return say(res, idText, `"protocolVersion":"2025-11-25",${INFO}`);
  }
  if (method === "tools/list") return say(res, idText, LIST);
  if (method === "subscriptions/listen") return hold(res);
  const { name, arguments: args = {} } = params ?? {};
  if (method !== "tools/call" || name === undefined) return say(res, idText, `"supportedVersions":["2026-07-28"],${INFO}`);
  if (name === "wait") return wait(res, args.key ?? "", args.as ?? "json");
  stream(res);
  if (name === "ticks") tickers.push({ res, idText, remaining: args.count ?? 0 });
  else void pour(req, res, idText, args.count ?? 0);
}

function say(res: ServerResponse, idText: string, members: string): void {
  const text = `{"jsonrpc":"2.0","id":${idText},"result":{${members}}}`;
  res.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(text) }).end(text);
}

function stream(res: ServerResponse): void {
  res.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
}

/** One event, and then nothing. */
function hold(res: ServerResponse): void {
  stream(res);
  res.write(OPENED);
  idle++;
  res.on("close", () => idle--);
}

/** A call that never ends by itself. */
function wait(res: ServerResponse, key: string, as: string): void {
  const seen = Promise.withResolvers<bigint>();
  left.set(key, seen);
  res.on("close", () => seen.resolve(process.hrtime.bigint()));
  if (as === "json") return;
  stream(res);
  res.write(OPENED);
}

// In turn, so that whatever else the machine does falls on every stream alike.
let turn = 0;
setInterval(() => {
  const ticker = tickers[turn++ % Math.max(1, tickers.length)];
  if (ticker === undefined) return;
  ticker.res.write(eventAt(process.hrtime.bigint()));
  if (--ticker.remaining > 0) return;
  tickers.splice(tickers.indexOf(ticker), 1);
  ticker.res.end(`event: message\ndata: {"jsonrpc":"2.0","id":${ticker.idText},"result":{${DONE}}}\n\n`);
}, TICK_MS);

/** As many events as asked for, as fast as they are taken. */
async function pour(req: IncomingMessage, res: ServerResponse, idText: string, count: number): Promise<void> {
  flood = res;
  const event = progressEvent("x".repeat(WRITTEN_EVENT_BYTES));
  for (let i = 0; i < count && !req.socket.destroyed; i++) {
    if (!res.write(event)) await taken(res);
  }
  res.end(`event: message\ndata: {"jsonrpc":"2.0","id":${idText},"result":{${DONE}}}\n\n`);
}

function taken(res: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const go = () => {
      res.off("drain", go).off("close", go);
      resolve();
    };
    res.on("drain", go).on("close", go);
  });
}

/** What the measurement asks beside its streams. */
async function control(question: string, res: ServerResponse): Promise<void> {
  const [what = "", key = ""] = question.split("/");
  const answers: Record<string, () => unknown> = {
    arrived: () => left.has(key),
    left: async () => String(await left.get(key)?.promise),
    idle: () => idle,
    // Of the flood: bytes handed to the kernel, and the port at the gateway's end.
    flood: () => ({
      written: (flood?.socket?.bytesWritten ?? 0) - (flood?.socket?.writableLength ?? 0),
      remotePort: flood?.socket?.remotePort ?? 0,
    }),
  };
  res.end(JSON.stringify((await answers[what]?.()) ?? null));
}
