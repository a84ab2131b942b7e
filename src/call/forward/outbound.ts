/** The one way out: a fetch-shaped function without redirects, content codings or cloud metadata, over undici. */
import { lookup } from "node:dns";
import { BlockList, isIP, isIPv6, type LookupFunction } from "node:net";
import { Agent, type Dispatcher, request } from "undici";
import { isPublicAddress } from "./public-address.ts";

/** Answers to OAuth, JWKS and sinks are small; a larger one is not what was asked for. */
const ANSWER_BYTES_MAX = 1_048_576;
const CONNECT_TIMEOUT_MS = 5_000;
const ANSWER_TIMEOUT_MS = 15_000;
const TIMES = { headersTimeout: ANSWER_TIMEOUT_MS, bodyTimeout: ANSWER_TIMEOUT_MS };
/** Metadata and keys of others are a few kB. */
const OUTSIDE_BYTES_MAX = 65_536;

// Cloud metadata services hand out credentials to whoever asks from the right machine.
const forbidden = new BlockList();
forbidden.addSubnet("169.254.0.0", 16, "ipv4");
forbidden.addAddress("100.100.100.200", "ipv4");
forbidden.addAddress("168.63.129.16", "ipv4");
forbidden.addSubnet("fe80::", 10, "ipv6");
forbidden.addAddress("fd00:ec2::254", "ipv6");

export function isForbiddenAddress(address: string): boolean {
  return forbidden.check(address, isIPv6(address) ? "ipv6" : "ipv4");
}

/** Judges the address that is dialled, not the name that was asked for: a name may change its mind between two look-ups. */
export const guardedLookup: LookupFunction = lookupWithin(lookup, (address) => !isForbiddenAddress(address));

function lookupWithin(resolve: typeof lookup, isAllowed: (address: string) => boolean): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (fault, addresses) => {
      const allowed = (addresses ?? []).filter(({ address }) => isAllowed(address));
      const [first] = allowed;
      if (fault !== null) return callback(fault, "", 0);
      if (first === undefined) return callback(Object.assign(new Error(NOT_ALLOWED), { code: "EADDRNOTAVAIL" }), "", 0);
      if (options.all === true) return callback(null, allowed);
      callback(null, first.address, first.family);
    });
  };
}

const NOT_ALLOWED = "the address is not allowed";

/** A host that is an address is never looked up, so it is judged here. */
export function assertDialable(url: URL): void {
  assertHost(url, (address) => !isForbiddenAddress(address));
}

function assertHost(url: URL, isAllowed: (address: string) => boolean): void {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (isIP(host) !== 0 && !isAllowed(host)) throw new Error(NOT_ALLOWED);
}

export type Outbound = {
  fetch(url: string, init: RequestInit, answerBytesMax?: number): Promise<Response>;
  /**
   * To a URL that somebody else names (metadata of an upstream, a client's JWKS): https to a public address, judged when it is
   * dialled; no redirect; at most 64 KiB. Only an origin that the operator's configuration names may be elsewhere, or without TLS.
   */
  fetchFromOutside(url: string, init: RequestInit): Promise<Response>;
  close(): Promise<void>;
};

export type OutboundOptions = {
  /** Origins of URLs in the operator's configuration. Cloud metadata addresses are never called, named or not. */
  readonly trustedOrigins?: ReadonlySet<string>;
  readonly resolve?: typeof lookup;
};

export function createOutbound({ trustedOrigins = new Set(), resolve = lookup }: OutboundOptions = {}): Outbound {
  const dispatcher = new Agent({ ...TIMES, connect: { lookup: guardedLookup, timeout: CONNECT_TIMEOUT_MS } });
  // Apart from the other: a connection that it holds open was judged by milder rules.
  const outside = new Agent({ ...TIMES, connect: { lookup: lookupWithin(resolve, isPublicAddress), timeout: CONNECT_TIMEOUT_MS } });
  return {
    fetch: (url, init, answerBytesMax = ANSWER_BYTES_MAX) => send(dispatcher, url, init, answerBytesMax),
    async fetchFromOutside(address, init) {
      const url = new URL(address);
      if (url.username !== "" || url.password !== "") throw new Error("a URL with a user name or password is not called");
      const trusted = trustedOrigins.has(url.origin);
      if (!trusted && url.protocol !== "https:") throw new Error("only https is called outside");
      if (!trusted) assertHost(url, isPublicAddress);
      const answer = await send(trusted ? dispatcher : outside, address, init, OUTSIDE_BYTES_MAX);
      if (answer.status >= 300 && answer.status < 400) throw new Error("a redirect is not followed");
      return answer;
    },
    async close() {
      await Promise.all([dispatcher.close(), outside.close()]);
    },
  };
}

async function send(dispatcher: Dispatcher, address: string, init: RequestInit, bytesMax: number): Promise<Response> {
  const url = new URL(address);
  assertDialable(url);
  const headers = Object.fromEntries(new Headers(init.headers));
  const answer = await request(url, {
    dispatcher,
    method: (init.method ?? "GET") as Dispatcher.HttpMethod,
    headers: { ...headers, "accept-encoding": "identity" },
    body: bodyOf(init.body),
    signal: init.signal ?? AbortSignal.timeout(ANSWER_TIMEOUT_MS),
  });
  const coding = answer.headers["content-encoding"];
  if (coding !== undefined && coding !== "identity") {
    answer.body.on("error", () => {}).destroy();
    throw new Error("the answer has a content coding");
  }
  const bytes = await readLimited(answer.body, bytesMax);
  const bodyless = answer.statusCode === 204 || answer.statusCode === 205 || answer.statusCode === 304;
  return new Response(bodyless ? null : new Uint8Array(bytes), { status: answer.statusCode, headers: flatHeaders(answer.headers) });
}

/** Our callers send text or form parameters; anything else would be a stream that cannot be sent twice. */
function bodyOf(body: RequestInit["body"]): string | null {
  if (body === undefined || body === null) return null;
  if (typeof body === "string") return body;
  if (body instanceof URLSearchParams) return body.toString();
  throw new Error("a body is text or form parameters");
}

async function readLimited(body: AsyncIterable<Buffer> & { destroy(): unknown }, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > bytesMax) {
      body.destroy();
      throw new Error("the answer is too large");
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function flatHeaders(headers: Dispatcher.ResponseData["headers"]): Headers {
  const flat = new Headers();
  for (const [name, value] of Object.entries(headers))
    for (const each of Array.isArray(value) ? value : [value]) if (each !== undefined) flat.append(name, each);
  return flat;
}
