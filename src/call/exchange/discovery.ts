/** Which authorization server an upstream names for itself (RFC 9728), among those that the gateway is registered with. */
import { ExchangeFailure } from "./bounded-fetch.ts";
import type { Fetch } from "./server-credential.ts";

export type Protection = { readonly issuer: string /** Null: not said. */; readonly resource: string | null };

export type FindProtection = {
  (upstreamUrl: string, isKnown: (issuer: string) => boolean): Protection | Promise<Protection>;
  /** After the upstream refused a token: it may have moved to another authorization server. */
  forget(upstreamUrl: string): void;
};

const METADATA_FRESH_MS = 3_600_000;
/** Between a failure and the next attempt. */
const BACK_OFF_MS = 1_000;
const ISSUERS_MAX = 16;

export function protectionFinder(fetch: Fetch, now: () => number): FindProtection {
  // Bounded by the config: only its servers are ever asked.
  const found = new Map<string, { readonly protection: Protection | Promise<Protection>; readonly untilMs: number }>();

  function find(upstreamUrl: string, isKnown: (issuer: string) => boolean): Protection | Promise<Protection> {
    const known = found.get(upstreamUrl);
    if (known !== undefined && now() < known.untilMs) return known.protection;
    const asked = discover(fetch, upstreamUrl, isKnown);
    // Whoever asks meanwhile waits for the same answer.
    const waiting = { protection: asked, untilMs: Number.POSITIVE_INFINITY };
    const settle = (protection: Protection | Promise<Protection>, keptMs: number) => {
      if (found.get(upstreamUrl) === waiting) found.set(upstreamUrl, { protection, untilMs: now() + keptMs });
    };
    found.set(upstreamUrl, waiting);
    asked.then(
      (protection) => settle(protection, METADATA_FRESH_MS),
      () => settle(asked, BACK_OFF_MS),
    );
    return asked;
  }

  return Object.assign(find, { forget: (upstreamUrl: string) => void found.delete(upstreamUrl) });
}

async function discover(fetch: Fetch, upstreamUrl: string, isKnown: (issuer: string) => boolean): Promise<Protection> {
  const named = await challengeOf(fetch, upstreamUrl);
  for (const url of named === null ? wellKnown(upstreamUrl) : [named]) {
    const response = await fetch(url, { method: "GET", headers: { accept: "application/json" } });
    if (response.status === 404) continue;
    if (response.status !== 200) throw new ExchangeFailure("the upstream's metadata cannot be read");
    return protectionIn(await response.text(), upstreamUrl, isKnown);
  }
  throw new ExchangeFailure("the upstream has no metadata of its authorization server");
}

const PING = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "ping" });
const RESOURCE_METADATA = /\bresource_metadata\s*=\s*(?:"([^"\\]*)"|([^\s,"]+))/i;

/** RFC 9728 section 5.1: what the upstream answers to who shows it nothing. Null: nothing of use. */
async function challengeOf(fetch: Fetch, upstreamUrl: string): Promise<string | null> {
  const headers = { "content-type": "application/json", accept: "application/json, text/event-stream" };
  const response = await fetch(upstreamUrl, { method: "POST", headers, body: PING }).catch(() => null);
  const match = response?.status === 401 ? RESOURCE_METADATA.exec(response.headers.get("www-authenticate") ?? "") : null;
  return match?.[1] ?? match?.[2] ?? null;
}

/** RFC 9728 section 3.1: between host and path, and then for the whole host. */
function wellKnown(upstreamUrl: string): readonly string[] {
  const { origin, pathname } = new URL(upstreamUrl);
  const root = `${origin}/.well-known/oauth-protected-resource`;
  return pathname === "/" ? [root] : [root + pathname.replace(/\/$/, ""), root];
}

function protectionIn(text: string, upstreamUrl: string, isKnown: (issuer: string) => boolean): Protection {
  const { resource, authorization_servers: issuers } = readObject(text);
  // RFC 9728 section 3.3: a document about another resource would have us ask for a token that opens that one.
  if (typeof resource !== "string" || !covers(resource, upstreamUrl)) {
    throw new ExchangeFailure("the upstream's metadata are of another resource");
  }
  const named = Array.isArray(issuers) ? issuers.slice(0, ISSUERS_MAX) : [];
  const issuer = named.find((each): each is string => typeof each === "string" && isKnown(each));
  if (issuer === undefined) throw new ExchangeFailure("the upstream names no authorization server of the configuration's clients");
  return { issuer, resource };
}

function readObject(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) return value as Readonly<Record<string, unknown>>;
  } catch {
    // Said below, without the other side's words.
  }
  throw new ExchangeFailure("the upstream's metadata cannot be read");
}

/** The same URL, or one above it at the same origin: a server may speak for all endpoints below its resource. */
function covers(resource: string, upstreamUrl: string): boolean {
  const [whole, url] = [/^[\x21-\x7e]+$/.test(resource) ? URL.parse(resource) : null, new URL(upstreamUrl)];
  if (whole === null || whole.origin !== url.origin || whole.hash !== "" || (whole.search !== "" && whole.search !== url.search))
    return false;
  const path = whole.pathname.replace(/\/$/, "");
  return whole.username === "" && (url.pathname === path || url.pathname.startsWith(`${path}/`));
}
