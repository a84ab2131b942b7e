/** Ports, and which names and peers they answer to. */
import type { Server } from "node:http";
import { BlockList, isIPv6 } from "node:net";
import { isLoopbackHost } from "./addresses.ts";
import type { Config } from "./config.ts";

export type Door = {
  readonly hosts: ReadonlySet<string>;
  readonly origins: ReadonlySet<string>;
  readonly trustedProxies: BlockList | null;
};

export function doorOf({ listen, publicUrl }: Pick<Config, "listen" | "publicUrl">): Door {
  const url = new URL(publicUrl);
  const named = listen.allowedHosts ?? [];
  const hosts = new Set([
    url.host,
    ...named.map((host) => host.toLowerCase()),
    ...named.map((host) => `${host.toLowerCase()}:${listen.port}`),
  ]);
  // A page under a name of ours is no page of a stranger; one under a rebound name says that name here too.
  const origins = new Set([url.origin, ...listen.allowedOrigins]);
  if (listen.allowedHosts === null) {
    for (const host of loopbackHosts(listen)) {
      hosts.add(host);
      origins.add(`http://${host}`);
    }
  }
  return { hosts, origins, trustedProxies: proxiesOf(listen.behindProxy?.trusted ?? []) };
}

/** The names under which a loopback listener may be called: a rebinding page has another. */
export function loopbackHosts({ host, port }: { readonly host: string; readonly port: number }): ReadonlySet<string> {
  const own = isLoopbackHost(host) ? [isIPv6(host) ? `[${host}]` : host.toLowerCase()] : [];
  return new Set(["localhost", "127.0.0.1", "[::1]", ...own].map((name) => `${name}:${port}`));
}

function proxiesOf(trusted: readonly string[]): BlockList | null {
  if (trusted.length === 0) return null;
  const list = new BlockList();
  for (const network of trusted) {
    const [address = "", bits] = network.split("/");
    const family = isIPv6(address) ? "ipv6" : "ipv4";
    if (bits === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(bits), family);
  }
  return list;
}

/** A port that cannot be had. */
export class PortRefused extends Error {}

/** Resolves to what closes it; a port in use refuses the start by name. */
export function listen(server: Server, { host, port }: { host: string; port: number }, key: string): Promise<() => Promise<void>> {
  return new Promise((resolve, reject) => {
    server.once("error", (fault: NodeJS.ErrnoException) => {
      const why = fault.code === "EADDRINUSE" ? "the port is in use" : fault.message;
      reject(new PortRefused(`cannot listen on ${host}:${port} (${key}): ${why}`));
    });
    server.listen(port, host, () =>
      resolve(() => {
        server.closeAllConnections();
        return new Promise<void>((done) => server.close(() => done()));
      }),
    );
  });
}
