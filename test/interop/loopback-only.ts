/** Preloaded into a client and into what it starts: whatever is not loopback cannot be reached, and every attempt is written down. */
import dns from "node:dns";
import { appendFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import net from "node:net";

const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|::1|\[::1\])$/i;
const file = process.env.TOLLGATE_INTEROP_ATTEMPTS;

function refused(host: string): Error {
  if (file !== undefined) appendFileSync(file, `${host}\n`);
  return Object.assign(new Error(`${host} is not loopback`), { code: "ENETUNREACH" });
}

const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (this: net.Socket, ...args: unknown[]) {
  // net.connect() hands its arguments over normalized, as an array in the first place.
  const first = Array.isArray(args[0]) ? args[0][0] : args[0];
  const options =
    typeof first === "object" && first !== null ? (first as { host?: string; path?: string }) : { host: String(args[1] ?? "") };
  const host = options.path === undefined ? (options.host ?? "") : "";
  if (host === "" || LOOPBACK.test(host)) return Reflect.apply(connect, this, args);
  return this.destroy(refused(host));
} as typeof connect;

const lookup = dns.lookup;
dns.lookup = ((host: string, ...rest: unknown[]) => {
  if (LOOPBACK.test(host)) return Reflect.apply(lookup, dns, [host, ...rest]);
  const done = rest.at(-1) as (fault: Error) => void;
  process.nextTick(() => done(refused(host)));
}) as typeof lookup;

const lookupPromised = dns.promises.lookup;
dns.promises.lookup = ((host: string, ...rest: unknown[]) =>
  LOOPBACK.test(host)
    ? Reflect.apply(lookupPromised, dns.promises, [host, ...rest])
    : Promise.reject(refused(host))) as typeof lookupPromised;

// For those who import the functions by name.
syncBuiltinESMExports();
