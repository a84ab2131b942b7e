/** A real HTTP sink on a loopback port that keeps what it takes, and misbehaves as told. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { CloudEvent } from "../../src/call/sync/cloudevents.ts";

export type Received = { readonly headers: IncomingMessage["headers"]; readonly events: readonly CloudEvent[] };

/** Answers one batch; returning without an answer leaves that to the socket. */
export type Manner = (batch: readonly CloudEvent[], response: ServerResponse, take: () => void) => void;

export const kind: Manner = (_, response, take) => {
  take();
  response.writeHead(202).end();
};

export async function httpSink(manner: Manner = kind) {
  const requests: Received[] = [];
  const taken: CloudEvent[] = [];
  const sink = { url: "", requests, taken, manner, close: async () => {} };
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const events = JSON.parse(Buffer.concat(chunks).toString()) as CloudEvent[];
    requests.push({ headers: request.headers, events });
    sink.manner(events, response, () => taken.push(...events));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  sink.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/events`;
  sink.close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return sink;
}
