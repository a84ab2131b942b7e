/** A proxy in front of a collector, with the faults of a network and of other proxies: drawn from one seed, and counted. */
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export type FaultyProxy = {
  readonly port: number;
  readonly counts: Record<string, number>;
  /** Nothing passes until it is over. */
  partition(on: boolean): void;
  close(): Promise<void>;
};

/** Of each request: at most one of these, in this order. */
const SHARES = { droppedReply: 0.3, lost: 0.05, late: 0.03, lie: 0.03, busy: 0.04 } as const;
const DUPLICATE_SHARE = 0.2;
/** An earlier batch once more, after later ones. */
const REPLAY_SHARE = 0.05;
const KEPT = 20;
/** Beyond the patience of the sinks in this proof. */
const LATE_MS = 700;

export async function faultyHttp(to: number, random: () => number): Promise<FaultyProxy> {
  const counts: Record<string, number> = {};
  const kept: Buffer[] = [];
  let parted = false;
  const count = (what: string) => {
    counts[what] = (counts[what] ?? 0) + 1;
  };
  const forward = (body: Buffer): Promise<number> =>
    new Promise((resolve, reject) => {
      const onward = httpRequest(
        { host: "127.0.0.1", port: to, method: "POST", headers: { "content-type": "application/json" } },
        (answer) => {
          answer
            .resume()
            .on("end", () => resolve(answer.statusCode ?? 0))
            .on("error", reject);
        },
      );
      onward.on("error", reject);
      onward.end(body);
    });
  const later = (body: Buffer, what: string) => {
    count(what);
    setTimeout(() => void forward(body).catch(() => {}), random() * 400);
  };
  const pass = async (body: Buffer, response: ServerResponse) => {
    if (random() < 0.2) await sleep(random() * 50);
    const status = await forward(body).catch(() => 502);
    response.writeHead(status).end();
  };
  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const body = await bytesOf(request).catch(() => null);
    if (body === null) return;
    count("requests");
    if (parted) return void request.socket.destroy();
    const fate = pick(random());
    count(fate);
    kept.push(body);
    if (kept.length > KEPT) kept.shift();
    if (random() < DUPLICATE_SHARE) later(body, "duplicated");
    const old = kept[Math.floor(random() * kept.length)];
    if (random() < REPLAY_SHARE && old !== undefined) later(old, "replayed");
    if (fate === "lost") return void request.socket.destroy();
    if (fate === "busy") return void response.writeHead(503, { "retry-after": "0" }).end();
    if (fate === "lie") return void response.writeHead(200, { "content-type": "text/html" }).end("<html>all is well</html>");
    if (fate === "droppedReply") {
      await forward(body).catch(() => {});
      return void request.socket.destroy();
    }
    if (fate === "late") await sleep(LATE_MS);
    await pass(body, response);
  };
  const server = createServer((request, response) => void serve(request, response).catch(() => request.socket.destroy()));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    counts,
    partition(on) {
      parted = on;
      if (on) {
        count("partitions");
        server.closeAllConnections();
      }
    },
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function pick(draw: number): keyof typeof SHARES | "passed" {
  let sum = 0;
  for (const [name, share] of Object.entries(SHARES)) {
    sum += share;
    if (draw < sum) return name as keyof typeof SHARES;
  }
  return "passed";
}

async function bytesOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
