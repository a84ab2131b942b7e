/** A small JSON document from an issuer's host, read within bounds: strict, whole, in time, or not at all. */
import { parseStrict } from "./strict-json.ts";
import type { AuthenticateLimits, Fetch } from "./trusted-issuer.ts";

/** What stands in the way, or the parsed document. `absent`: the host answered that there is nothing at this address. */
export type Fetched = { readonly document: unknown } | { readonly fault: string; readonly absent: boolean };

const failed = (fault: string, absent = false): Fetched => ({ fault, absent });

export async function fetchDocument(
  fetch: Fetch,
  url: string,
  mediaTypes: readonly string[],
  limits: AuthenticateLimits,
  asked: RequestInit = {},
): Promise<Fetched> {
  if (!isSecureUrl(url)) return failed("not an https address");
  const signal = AbortSignal.timeout(limits.documentTimeoutMs);
  // The race ends the wait even where a body ignores the signal.
  const late = new Promise<Fetched>((resolve) => signal.addEventListener("abort", () => resolve(failed("no whole answer in time"))));
  const read = readDocument(fetch, url, mediaTypes, limits, { ...asked, signal }).catch(() => failed("cannot be fetched"));
  return Promise.race([read, late]);
}

async function readDocument(
  fetch: Fetch,
  url: string,
  mediaTypes: readonly string[],
  limits: AuthenticateLimits,
  asked: RequestInit,
): Promise<Fetched> {
  const headers = { ...asked.headers, accept: mediaTypes.join(", "), "accept-encoding": "identity" };
  const response = await fetch(url, { method: "GET", ...asked, headers, redirect: "manual" });
  const fault = faultOf(response, mediaTypes);
  if (fault !== null) {
    await response.body?.cancel();
    return failed(fault, response.status === 404);
  }
  const bytes = await readBytes(response, limits.documentBytesMax);
  if (bytes === null) return failed("too large");
  const document = parseStrict(bytes);
  return document === undefined ? failed("not strict JSON") : { document };
}

function faultOf(response: Response, mediaTypes: readonly string[]): string | null {
  if (response.status !== 200) return "the status is not 200";
  if ((response.headers.get("content-encoding") ?? "identity") !== "identity") return "a content coding";
  const mediaType = response.headers.get("content-type")?.split(";", 1)[0]?.trim().toLowerCase() ?? "";
  return mediaTypes.includes(mediaType) ? null : "another media type";
}

async function readBytes(response: Response, bytesMax: number): Promise<Buffer | null> {
  const pieces: Uint8Array[] = [];
  let byteCount = 0;
  for await (const piece of response.body ?? []) {
    byteCount += piece.length;
    // Leaving the loop cancels the body.
    if (byteCount > bytesMax) return null;
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

/** https, or http within this machine. The URL parser has already folded 127.1, 0x7f.1 and their like. */
export function isSecureUrl(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || url.username !== "" || url.password !== "" || url.hash !== "") return false;
  return url.protocol === "https:" || (url.protocol === "http:" && LOOPBACK.test(url.hostname));
}
