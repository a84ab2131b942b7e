import { once } from "node:events";
import { createServer, get, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { type Relay, type RelayOptions, startRelay, withoutHeaders } from "./relay.ts";

let server: Server | null = null;
let relay: Relay | null = null;

afterEach(async () => {
  await relay?.close();
  server?.closeAllConnections();
  server?.close();
});

async function between(
  answer: (req: IncomingMessage, res: ServerResponse) => void,
  options: Omit<RelayOptions, "target"> = {},
): Promise<string> {
  const opened = createServer(answer).listen(0, "127.0.0.1");
  server = opened;
  await once(opened, "listening");
  relay = await startRelay({ ...options, target: () => `http://127.0.0.1:${(opened.address() as AddressInfo).port}` });
  return relay.url;
}

async function responseTo(url: string, headers: readonly string[]): Promise<IncomingMessage> {
  const asked = request(`${url}/a%2Fb?c=d`, { method: "GET", headers, setDefaultHeaders: false }).end();
  const [response] = (await once(asked, "response")) as [IncomingMessage];
  return response;
}

const SSE = { "content-type": "text/event-stream" };

test("names, values, order and Host of the headers arrive as they were sent, and so does the target", async () => {
  let heard: IncomingMessage | null = null;
  const url = await between((req, res) => {
    heard = req;
    res.writeHead(204).end();
  });
  const headers = ["Host", "evil.example", "MCP-METHOD", "tools/list", "x-twice", "1", "X-Twice", "2"];
  expect((await responseTo(url, headers)).statusCode).toBe(204);
  const { rawHeaders = [], url: target } = (heard ?? {}) as Partial<IncomingMessage>;
  expect(withoutHeaders(rawHeaders, "connection")).toEqual(headers);
  expect(target).toBe("/a%2Fb?c=d");
});

test("the first piece of a stream passes before there is a second", async () => {
  const url = await between((_, res) => void res.writeHead(200, SSE).write("data: 1\n\n"));
  const [response] = (await once(get(url), "response")) as [IncomingMessage];
  const [piece] = (await once(response, "data")) as [Buffer];
  expect(piece.toString()).toBe("data: 1\n\n");
});

test("one that buffers keeps a stream back until its end", async () => {
  const pieces: string[] = [];
  const url = await between(
    (_, res) => {
      res.writeHead(200, SSE).write("data: 1\n\n");
      setTimeout(() => {
        expect(pieces).toEqual([]);
        res.end("data: 2\n\n");
      }, 100);
    },
    { buffers: true },
  );
  const [response] = (await once(get(url), "response")) as [IncomingMessage];
  for await (const chunk of response) pieces.push(String(chunk));
  expect(pieces.join("")).toBe("data: 1\n\ndata: 2\n\n");
});

test("a client that leaves a stream takes the other side along", async () => {
  const left = Promise.withResolvers<void>();
  const url = await between((_, res) => {
    res.once("close", () => left.resolve());
    res.writeHead(200, SSE).write("data: 1\n\n");
  });
  const asked = get(url);
  const [response] = (await once(asked, "response")) as [IncomingMessage];
  await once(response, "data");
  asked.destroy();
  await left.promise;
});
