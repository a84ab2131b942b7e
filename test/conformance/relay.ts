/** A proxy that changes nothing by itself: bytes, header pairs and Host pass as they came, and a stream passes as it runs. */
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** node's flat list: name, value, name, value. */
export type Pairs = readonly string[];

export type RelayOptions = {
  /** The origin behind it; asked at each request, because it may start later than the relay. */
  readonly target: () => string;
  readonly onRequest?: (pairs: Pairs) => Pairs;
  /** True: an event stream is kept back until its end. */
  readonly buffers?: boolean;
};

export type Relay = { readonly port: number; readonly url: string; close(): Promise<void> };

export async function startRelay(options: RelayOptions): Promise<Relay> {
  const server = createServer((req, res) => pass(req, res, options));
  // A stream may be silent for as long as it likes.
  server.requestTimeout = 0;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function pass(req: IncomingMessage, res: ServerResponse, { target, onRequest, buffers }: RelayOptions): void {
  const { hostname, port } = new URL(target());
  const pairs = endToEnd(req.rawHeaders);
  const headers = onRequest === undefined ? pairs : onRequest(pairs);
  const onward = request({ hostname, port, method: req.method, path: req.url, headers, setDefaultHeaders: false, agent: false });
  onward.once("response", (answer) => {
    res.sendDate = false;
    res.writeHead(answer.statusCode ?? 502, answer.statusMessage, [...endToEnd(answer.rawHeaders)]);
    const isStream = answer.headers["content-type"]?.startsWith("text/event-stream") ?? false;
    if (buffers && isStream) return keepBack(answer, res);
    res.flushHeaders();
    answer.pipe(res);
    answer.once("error", () => res.destroy());
  });
  onward.once("error", () => res.destroy());
  // Whoever leaves takes the other side along: in 2026-07-28 leaving is cancelling.
  res.once("close", () => {
    if (!res.writableFinished) onward.destroy();
  });
  req.pipe(onward);
}

function keepBack(answer: IncomingMessage, res: ServerResponse): void {
  const chunks: Buffer[] = [];
  answer.on("data", (chunk: Buffer) => chunks.push(chunk));
  answer.once("end", () => res.end(Buffer.concat(chunks)));
  answer.once("error", () => res.destroy());
}

/** All but what concerns one connection (RFC 9110 section 7.6.1). */
function endToEnd(pairs: Pairs): Pairs {
  return withoutHeaders(pairs, "connection", "keep-alive");
}

export function withoutHeaders(pairs: Pairs, ...names: readonly string[]): Pairs {
  return pairs.filter((_, i) => !names.includes((pairs[i - (i % 2)] ?? "").toLowerCase()));
}

export function headerIn(pairs: Pairs, name: string): string | undefined {
  const at = pairs.findIndex((part, i) => i % 2 === 0 && part.toLowerCase() === name);
  return at === -1 ? undefined : pairs[at + 1];
}
