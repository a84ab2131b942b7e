/** Reads a request's body within its limits of size and time. */
import type { IncomingMessage } from "node:http";
import { type Refusal, refuse } from "../../refusal.ts";

/** MCP's own servers take 4 MiB. */
export const BODY_BYTES_MAX = 4_194_304;
/** 4 MiB in this time is 1.1 Mbit/s; a body that drips is an attack. */
const BODY_TIMEOUT_MS = 30_000;

/** Null: the client went away before its body was whole; there is nobody to answer. */
export function readBody(request: IncomingMessage, declared: string | undefined): Promise<Buffer | Refusal | null> {
  const tooLarge = refuse("request_too_large", { limit: BODY_BYTES_MAX });
  if (declared !== undefined && Number(declared) > BODY_BYTES_MAX) return Promise.resolve(tooLarge);
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const timer = setTimeout(() => done(refuse("request_timeout")), BODY_TIMEOUT_MS);
    const done = (result: Buffer | Refusal | null) => {
      clearTimeout(timer);
      request.off("data", onData).off("end", onEnd).off("close", onClose);
      resolve(result);
    };
    const onData = (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > BODY_BYTES_MAX) return done(tooLarge);
      chunks.push(chunk);
    };
    const onEnd = () => done(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks));
    const onClose = () => done(null);
    request.on("data", onData).on("end", onEnd).on("close", onClose).on("error", onClose);
  });
}
