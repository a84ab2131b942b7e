/** One request of the measurement on a connection of its own, and the other questions it has for the upstream. */
import { type ClientRequest, request as httpRequest, type IncomingMessage } from "node:http";
import type { Target } from "./target.ts";

export type Sent = { readonly request: ClientRequest; readonly answer: Promise<IncomingMessage> };

/** `body` null is a GET. The answer's body is the caller's to read. */
export function send({ url, headers, body }: Omit<Target, "body"> & { readonly body: string | null }): Sent {
  const request = httpRequest(url, { method: body === null ? "GET" : "POST", headers, agent: false });
  const answered = Promise.withResolvers<IncomingMessage>();
  request.on("response", answered.resolve).on("error", answered.reject);
  // Who has no use for the answer is told of no fault either.
  answered.promise.catch(() => {});
  request.end(body);
  return { request, answer: answered.promise };
}

/** A stream that is open; anything else has nothing to measure. */
export async function openStream(target: Parameters<typeof send>[0]): Promise<{ request: ClientRequest; stream: IncomingMessage }> {
  const { request, answer } = send(target);
  const stream = await answer;
  if (stream.statusCode === 200 && stream.headers["content-type"]?.startsWith("text/event-stream")) return { request, stream };
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  throw new Error(`${target.url} answers ${stream.statusCode}: ${Buffer.concat(chunks).toString().slice(0, 500)}`);
}

export type Ask = <T>(question: string) => Promise<T>;

/** What it waits for may never happen: a departure that the upstream does not hear of ends the measurement. */
const ANSWER_MS = 30_000;

export function askerOf(upstreamPort: number): Ask {
  return async <T>(question: string) => {
    const answer = await fetch(`http://127.0.0.1:${upstreamPort}/ask/${question}`, { signal: AbortSignal.timeout(ANSWER_MS) });
    return (await answer.json()) as T;
  };
}
