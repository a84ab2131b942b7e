/** Reads a request's body within its limits of size, pieces and time. */
import type { IncomingMessage } from "node:http";
import { type Refusal, refuse } from "../../refusal.ts";

/** MCP's own servers take 4 MiB. */
export const BODY_BYTES_MAX = 4_194_304;
/** A body of 4 MiB in pieces of 64 bytes; each piece costs an event, and one-byte chunks are an attack. */
const PIECES_MAX = 65_536;
/** 64 bodies of the largest size, or many more of the common one. */
export const READING_BYTES_MAX = 268_435_456;
/** First room for a body that comes in several pieces: one read of a socket. */
const ROOM_BYTES = 65_536;

export type BodyLimits = {
  /** Declared Content-Length, or undefined. */
  readonly declared: string | undefined;
  /** 4 MiB in 30 s is 1.1 Mbit/s; a body that drips is an attack. */
  readonly timeoutMs: number;
  /** Bytes of all bodies that are being read: many clients must not fill the memory before they have said who they are. */
  readonly reading: { bytes: number };
  /** Called once the body is wanted: a client that asked `Expect: 100-continue` may send it now. */
  readonly proceed: () => void;
};

/** Null: the client went away before its body was whole; there is nobody to answer. */
export function readBody(
  request: IncomingMessage,
  { declared, timeoutMs, reading, proceed }: BodyLimits,
): Promise<Buffer | Refusal | null> {
  const tooLarge = refuse("request_too_large", { limit: BODY_BYTES_MAX });
  if (declared !== undefined && Number(declared) > BODY_BYTES_MAX) return Promise.resolve(tooLarge);
  proceed();
  return new Promise((resolve) => {
    let body = EMPTY;
    let room = EMPTY;
    let pieces = 0;
    let counted = 0;
    const timer = setTimeout(() => done(refuse("request_timeout")), timeoutMs);
    const done = (result: Buffer | Refusal | null) => {
      clearTimeout(timer);
      reading.bytes -= counted;
      counted = 0;
      request.off("data", onData).off("end", onEnd).off("close", onClose);
      resolve(result);
    };
    const onData = (piece: Buffer) => {
      const bytes = body.length + piece.length;
      if (bytes > BODY_BYTES_MAX || ++pieces > PIECES_MAX) return done(tooLarge);
      counted += piece.length;
      reading.bytes += piece.length;
      if (reading.bytes > READING_BYTES_MAX) return done(refuse("overloaded", { retry_after_ms: 1_000 }, "too many bodies are being read"));
      // The common body is one piece and is not copied; the others grow by doubling, so that small pieces cost no object each.
      if (pieces === 1) {
        body = piece;
        return;
      }
      if (bytes > room.length) room = grown(body, bytes);
      piece.copy(room, body.length);
      body = room.subarray(0, bytes);
    };
    const onEnd = () => done(body);
    const onClose = () => done(null);
    request.on("data", onData).on("end", onEnd).on("close", onClose).on("error", onClose);
  });
}

const EMPTY: Buffer = Buffer.alloc(0);

function grown(body: Buffer, bytes: number): Buffer {
  const room = Buffer.allocUnsafe(Math.max(ROOM_BYTES, Math.min(BODY_BYTES_MAX, bytes * 2)));
  body.copy(room);
  return room;
}
