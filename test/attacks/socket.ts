/** Bytes out on a connection of their own, and every answer that comes back on it, read to the connection's end. */
import { connect } from "node:net";

export type Answer = { readonly status: number; readonly headers: ReadonlyMap<string, string>; readonly body: string };

export type Heard = {
  readonly answers: readonly Answer[];
  /** Everything that came, byte by byte as latin1: what a canary is looked for in. */
  readonly text: string;
  /** The gateway has ended the connection. */
  readonly closed: boolean;
};

export type Sending = {
  readonly port: number;
  readonly pieces: readonly Buffer[];
  readonly pauseMs: number;
  /** How long the gateway may take to answer and end the connection. */
  readonly waitMs: number;
  /** The client leaves when this comes true; null: it waits. */
  readonly leaves: (() => boolean) | null;
};

const LOOK_MS = 10;

export async function send({ port, pieces, pauseMs, waitMs, leaves }: Sending): Promise<Heard> {
  const socket = connect(port, "127.0.0.1").setNoDelay();
  const received: Buffer[] = [];
  let closed = false;
  const over = new Promise<void>((resolve) => {
    socket.on("data", (bytes) => received.push(bytes));
    // A reset after the answer is a gateway that did not read the rest.
    socket.on("error", () => {});
    socket.once("close", () => {
      closed = true;
      resolve();
    });
  });
  for (const [i, piece] of pieces.entries()) {
    if (i > 0) await Promise.race([over, sleep(pauseMs)]);
    if (socket.writable) socket.write(piece);
  }
  const deadline = Date.now() + waitMs;
  while (!closed && Date.now() < deadline && leaves?.() !== true) await Promise.race([over, sleep(leaves === null ? waitMs : LOOK_MS)]);
  const ended = closed;
  socket.destroy();
  const bytes = Buffer.concat(received);
  return { answers: answersIn(bytes), text: bytes.toString("latin1"), closed: ended };
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}

/** RFC 9112 section 6.3, as far as a gateway uses it; interim answers are passed over. */
export function answersIn(bytes: Buffer): Answer[] {
  const answers: Answer[] = [];
  let rest = bytes;
  for (;;) {
    const end = rest.indexOf("\r\n\r\n");
    if (end === -1) break;
    const [line = "", ...lines] = rest.toString("latin1", 0, end).split("\r\n");
    const headers = new Map(
      lines.map((each) => [each.slice(0, each.indexOf(":")).toLowerCase(), each.slice(each.indexOf(":") + 1).trim()]),
    );
    const status = Number(/^HTTP\/1\.1 ([0-9]{3})/.exec(line)?.[1] ?? Number.NaN);
    rest = rest.subarray(end + 4);
    if (status < 200) continue;
    const { body, used } = bodyIn(rest, status, headers);
    answers.push({ status, headers, body: body.toString("utf8") });
    rest = rest.subarray(used);
  }
  return rest.length === 0 ? answers : [...answers, { status: Number.NaN, headers: new Map(), body: rest.toString("latin1") }];
}

function bodyIn(rest: Buffer, status: number, headers: ReadonlyMap<string, string>): { body: Buffer; used: number } {
  if (headers.get("transfer-encoding") === "chunked") return chunksIn(rest);
  const length = status === 204 || status === 304 ? 0 : Number(headers.get("content-length") ?? rest.length);
  const used = Math.min(rest.length, length);
  return { body: rest.subarray(0, used), used };
}

function chunksIn(rest: Buffer): { body: Buffer; used: number } {
  const pieces: Buffer[] = [];
  let at = 0;
  for (;;) {
    const line = rest.indexOf("\r\n", at);
    const size = line === -1 ? 0 : Number.parseInt(rest.toString("latin1", at, line), 16);
    // Cut short: what has come is all there is.
    if (line === -1 || Number.isNaN(size)) return { body: Buffer.concat(pieces), used: rest.length };
    if (size === 0) return { body: Buffer.concat(pieces), used: Math.min(rest.length, line + 4) };
    pieces.push(rest.subarray(line + 2, line + 2 + size));
    at = line + 2 + size + 2;
  }
}
