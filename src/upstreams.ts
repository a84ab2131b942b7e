/** The servers of the configuration as upstreams, whatever their transport. */
import { globOf } from "./call/authorize/glob.ts";
import type { ServerCredential } from "./call/exchange/server-credential.ts";
import type { Reading } from "./call/forward/catalogue.ts";
import { createHttpUpstream, type HttpUpstreamOptions } from "./call/forward/http-upstream.ts";
import { createStdioUpstream } from "./call/forward/stdio/stdio-upstream.ts";
import type { Upstream } from "./call/forward/upstream.ts";
import type { Config, Server } from "./config.ts";
import type { ServerName } from "./ids.ts";
import type { Log } from "./observe.ts";
import type { Refusal } from "./refusal.ts";

export type Upstreams = {
  get(server: ServerName): Upstream;
  /** What the gateway shows each of them. */
  readonly credentials: ReadonlyMap<string, ServerCredential>;
  close(graceMs: number): Promise<void>;
};

type Surroundings = Pick<HttpUpstreamOptions, "now" | "mono" | "reissue" | "sessions"> & {
  readonly log: Log;
  /** Hears first what each server was read to offer. */
  readonly hear: (server: ServerName, reading: Reading) => Promise<Refusal | null>;
};

export function createUpstreams(config: Config, surroundings: Surroundings): Upstreams {
  const upstreams = new Map<ServerName, Upstream>();
  const credentials = new Map<string, ServerCredential>();
  for (const [name, server] of config.servers) {
    upstreams.set(name, upstreamOf(server, surroundings));
    credentials.set(name, credentialOf(server));
  }
  return {
    credentials,
    get(server) {
      const upstream = upstreams.get(server);
      // A server outside the configuration is refused long before: server_unknown.
      if (upstream === undefined) throw new Error(`there is no server ${server}`);
      return upstream;
    },
    async close(graceMs) {
      await Promise.all([...upstreams.values()].map((upstream) => upstream.close(graceMs)));
    },
  };
}

function upstreamOf(server: Server, surroundings: Surroundings): Upstream {
  const { now, mono, reissue, sessions, log } = surroundings;
  const hear = (reading: Reading) => surroundings.hear(server.name, reading);
  if (server.kind === "http") {
    return createHttpUpstream({ ...server, tls: server.clientCertificate, now, mono, reissue, sessions, hear });
  }
  const env = Object.fromEntries(Object.entries(server.env).map(([name, secret]) => [name, secret.reveal()]));
  return createStdioUpstream({ ...server, env, mono, hear, warn: (facts, message) => log.warn(facts, message) });
}

/** What stands behind each name, as far as a session there depends on it. */
export function backendsOf({ servers }: Config): ReadonlyMap<ServerName, string> {
  return new Map([...servers].map(([name, server]) => [name, JSON.stringify(backendOf(server))]));
}

function backendOf(server: Server): readonly string[] {
  return server.kind === "http" ? [server.url, server.credential.kind] : server.command;
}

/** RFC 8707: the token is for the server that it is shown to, unless the configuration or the server's own metadata name another resource. */
function credentialOf(server: Server): ServerCredential {
  if (server.kind === "stdio") return { kind: "none" };
  const { credential, url } = server;
  if (!("clients" in credential)) return credential;
  const toolScopes = [...credential.toolScopes].map(([pattern, scopes]) => ({ matches: globOf(pattern), scopes }));
  const place =
    credential.issuer === null
      ? { issuer: { discoveredFrom: url }, resource: credential.resource }
      : { issuer: credential.issuer, resource: credential.resource ?? url };
  return { ...credential, ...place, toolScopes };
}

/** Origins that the operator names, of whatever network: servers, issuers and what is configured of them. */
export function trustedOrigins({ publicUrl, issuers, servers }: Config): ReadonlySet<string> {
  const urls: unknown[] = [publicUrl, ...issuers.flatMap((issuer) => Object.values(issuer))];
  for (const server of servers.values()) {
    if (server.kind === "stdio") continue;
    urls.push(server.url);
    if ("clients" in server.credential) urls.push(server.credential.issuer, ...server.credential.clients.keys());
  }
  const origins = urls.map((url) => (typeof url === "string" && /^https?:/.test(url) ? URL.parse(url)?.origin : undefined));
  return new Set(origins.filter((origin) => origin !== undefined));
}
