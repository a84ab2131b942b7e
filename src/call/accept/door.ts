/** Pure. What is judged on the raw head of a request, before anything else reads it: pairs, duplicates, target, Host, Origin. */
import type { BlockList } from "node:net";
import { isIP, isIPv4 } from "node:net";
import { type Refusal, refuse } from "../../refusal.ts";

export type DoorOptions = {
  /** Host names with their ports, lower case, exactly as a Host header has them. */
  readonly hosts: ReadonlySet<string>;
  readonly origins: ReadonlySet<string>;
  /** Peers whose X-Forwarded-For is believed; null: none. */
  readonly trustedProxies: BlockList | null;
};

export type RawHead = {
  readonly httpVersion: string;
  readonly method: string;
  readonly target: string;
  /** node's flat list: name, value, name, value. */
  readonly rawHeaders: readonly string[];
};

/** Lower-case names to their one value. A Map: a header named `__proto__` is only a name. */
export type Headers = ReadonlyMap<string, string>;

/** node shows more pairs than any client sends; Node 20 silently dropped what came after 1,023. */
const PAIRS_MAX = 100;

/** Several values of these would let two readers choose differently. Others are joined as RFC 9110 5.2 says. */
const SINGLE = new Set([
  "host",
  "authorization",
  "content-type",
  "content-length",
  "content-encoding",
  "transfer-encoding",
  "origin",
  "expect",
  "dpop",
  "last-event-id",
  "idempotency-key",
  "traceparent",
]);

/** The headers come back in either case: a refusal is recorded with its user agent and address. */
export type JudgedHead = { readonly headers: Headers; readonly refusal: Refusal | null };

export function judgeHead(head: RawHead, options: DoorOptions): JudgedHead {
  const headers = new Map<string, string>();
  if (head.rawHeaders.length > PAIRS_MAX * 2) {
    collect(head.rawHeaders.slice(0, PAIRS_MAX * 2), headers);
    return { headers, refusal: refuse("request_too_large", { limit: PAIRS_MAX }, "too many header pairs") };
  }
  const refusal =
    collect(head.rawHeaders, headers) ??
    judgeTarget(head) ??
    judgeTransfer(head, headers) ??
    judgeHost(head, headers, options.hosts) ??
    judgeOrigin(headers, options.origins);
  return { headers, refusal };
}

/** The first value of each header, and what is wrong with a second one. */
function collect(rawHeaders: readonly string[], headers: Map<string, string>): Refusal | null {
  let refusal: Refusal | null = null;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] ?? "").toLowerCase();
    const value = rawHeaders[i + 1] ?? "";
    const before = headers.get(name);
    if (before === undefined) headers.set(name, value);
    else if (SINGLE.has(name)) refusal ??= refuse("request_malformed", { invalid: `${name}: this header may stand once` });
    else if (name.startsWith("mcp-")) refusal ??= refuse("header_mismatch", {}, "an Mcp-* header stands twice");
    else headers.set(name, `${before}, ${value}`);
  }
  return refusal;
}

/** A target in absolute form names an authority of its own; no client of an origin server sends one. */
function judgeTarget({ target }: RawHead): Refusal | null {
  return target.startsWith("/") ? null : refuse("route_unknown", {}, "not an origin-form target");
}

/** node's parser takes 0.9 and 2.0 for whole requests too; nobody who speaks them sends a head of this form. */
const VERSIONS = new Set(["1.0", "1.1"]);

/** Smuggling needs two readings of where a body ends. */
function judgeTransfer(head: RawHead, headers: Headers): Refusal | null {
  if (!VERSIONS.has(head.httpVersion)) return refuse("request_malformed", {}, "neither HTTP/1.1 nor HTTP/1.0");
  const coding = headers.get("transfer-encoding");
  if (coding !== undefined && (coding.toLowerCase() !== "chunked" || head.httpVersion !== "1.1"))
    return refuse("request_malformed", {}, "a transfer coding other than chunked");
  if (coding !== undefined && headers.has("content-length")) return refuse("request_malformed", {}, "two body lengths");
  const hasBody = coding !== undefined || (headers.get("content-length") ?? "0") !== "0";
  if (hasBody && head.method !== "POST") return refuse("request_malformed", {}, `${head.method} with a body`);
  if (headers.has("upgrade")) return refuse("request_malformed", {}, "upgrade");
  return null;
}

function judgeHost({ httpVersion }: RawHead, headers: Headers, hosts: ReadonlySet<string>): Refusal | null {
  if (httpVersion === "1.1" && !headers.has("host")) return refuse("request_malformed", {}, "no Host (RFC 9112 section 3.2)");
  return hosts.has((headers.get("host") ?? "").toLowerCase()) ? null : refuse("host_unknown");
}

function judgeOrigin(headers: Headers, origins: ReadonlySet<string>): Refusal | null {
  const origin = headers.get("origin");
  return origin === undefined || origins.has(origin) ? null : refuse("origin_forbidden");
}

/** The peer, or the last hop that trusted proxies vouch for. What is no address is not believed. */
export function remoteAddressOf(peer: string, headers: Headers, trusted: BlockList | null): string {
  let address = plainAddress(peer);
  if (trusted === null) return address;
  const hops = (headers.get("x-forwarded-for") ?? "").split(",").map((hop) => plainAddress(hop.trim()));
  while (isTrusted(address, trusted)) {
    const hop = hops.pop();
    if (hop === undefined || isIP(hop) === 0) break;
    address = hop;
  }
  return address;
}

function isTrusted(address: string, trusted: BlockList): boolean {
  const version = isIP(address);
  return version !== 0 && trusted.check(address, version === 6 ? "ipv6" : "ipv4");
}

/** `::ffff:10.0.0.1` is 10.0.0.1, and a zone (RFC 4007) belongs to this machine, not to the address. */
function plainAddress(address: string): string {
  const plain = address.replace(/%.*$/, "").toLowerCase();
  return plain.startsWith("::ffff:") && isIPv4(plain.slice(7)) ? plain.slice(7) : plain;
}
