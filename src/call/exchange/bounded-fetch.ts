/** Outbound HTTP to an authorization server within bounds: secure, whole, in time, of bounded size, or a failure in fixed words. */
import type { Fetch } from "./server-credential.ts";

/** Something that may happen on a good day; its message is for our own record and holds nothing of the other side's. */
export class ExchangeFailure extends Error {}

/** RFC 8414 metadata and token answers are a few kB. */
const ANSWER_BYTES_MAX = 65_536;
const ANSWER_TIMEOUT_MS = 10_000;

export function boundedFetch(fetch: Fetch, timeoutMs = ANSWER_TIMEOUT_MS): Fetch {
  return async (url, init) => {
    if (!isSecureUrl(url)) throw new ExchangeFailure("the authorization server has an address that is not https");
    const signal = AbortSignal.timeout(timeoutMs);
    // The race ends the wait even where a body ignores the signal.
    const late = new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => reject(new ExchangeFailure("the authorization server did not answer in time")));
    });
    return Promise.race([whole(fetch, url, { ...init, signal }), late]);
  };
}

async function whole(fetch: Fetch, url: string, init: RequestInit): Promise<Response> {
  const headers = { ...(init.headers as Record<string, string>), "accept-encoding": "identity" };
  const body = init.body === undefined || init.body === null ? null : String(init.body);
  const response = await fetch(url, { ...init, headers, body, redirect: "manual" }).catch(() => {
    throw new ExchangeFailure("the authorization server cannot be reached");
  });
  const fault = faultOf(response);
  if (fault !== null) {
    await response.body?.cancel();
    throw new ExchangeFailure(fault);
  }
  const bytes = await readBytes(response);
  return new Response(bytes, { status: response.status, headers: response.headers });
}

function faultOf(response: Response): string | null {
  // A followed redirect would carry the client's secret to another host.
  if (response.status < 200 || (response.status >= 300 && response.status < 400))
    return "the authorization server answered with a redirect";
  if ((response.headers.get("content-encoding") ?? "identity") !== "identity") return "the authorization server used a content coding";
  return null;
}

async function readBytes(response: Response): Promise<Buffer<ArrayBuffer> | null> {
  if (response.body === null) return null;
  const pieces: Uint8Array[] = [];
  let byteCount = 0;
  try {
    for await (const piece of response.body) {
      byteCount += piece.length;
      if (byteCount > ANSWER_BYTES_MAX) break;
      pieces.push(piece);
    }
  } catch {
    throw new ExchangeFailure("the authorization server's answer broke off");
  }
  if (byteCount > ANSWER_BYTES_MAX) throw new ExchangeFailure("the authorization server's answer is too large");
  return Buffer.concat(pieces);
}

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

/** https, or http within this machine. */
function isSecureUrl(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || url.username !== "" || url.password !== "") return false;
  return url.protocol === "https:" || (url.protocol === "http:" && LOOPBACK.test(url.hostname));
}
