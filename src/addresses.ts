/** Pure. What the config may say of hosts, URLs and networks. */
import { isIP } from "node:net";

/** This machine only: 127.0.0.0/8, ::1 and `localhost`. */
export function isLoopbackHost(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, "").toLowerCase();
  return bare === "localhost" || bare === "::1" || (isIP(bare) === 4 && bare.startsWith("127."));
}

export function isHttpsOrLoopback(url: string): boolean {
  const parsed = URL.parse(url);
  return parsed !== null && (parsed.protocol === "https:" || isLoopbackHost(parsed.hostname));
}

/** RFC 6454 section 6.2: scheme, host and port as a browser writes them, and nothing after. */
export function isOrigin(url: string): boolean {
  const parsed = URL.parse(url);
  return parsed !== null && parsed.origin === url;
}

export function hasUserInfo(url: string): boolean {
  const parsed = URL.parse(url);
  return parsed !== null && (parsed.username !== "" || parsed.password !== "");
}

// AWS, Google Cloud, Azure and most others; AWS over IPv6; ECS tasks; Alibaba Cloud.
const METADATA_HOSTS = new Set([
  "169.254.169.254",
  "fd00:ec2::254",
  "169.254.170.2",
  "100.100.100.200",
  "metadata.google.internal",
  "metadata",
]);

/** The URL parser has already turned decimal, octal and hexadecimal spellings into dotted ones. */
export function isMetadataAddress(url: string): boolean {
  const host = URL.parse(url)?.hostname.replace(/^\[|\]$|\.$/g, "") ?? "";
  return METADATA_HOSTS.has(host) || METADATA_HOSTS.has(mappedIpv4(host) ?? "");
}

/** `::ffff:a9fe:a9fe` (RFC 4291 section 2.5.5.2) and `64:ff9b::a9fe:a9fe` (RFC 6052) lead to the IPv4 address inside. */
function mappedIpv4(host: string): string | null {
  const match = /^(?:::ffff:|64:ff9b::)([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(host);
  if (match === null) return null;
  const [high, low] = [Number.parseInt(match[1] ?? "", 16), Number.parseInt(match[2] ?? "", 16)];
  return [high >> 8, high & 255, low >> 8, low & 255].join(".");
}

/** An address, or a network that is not the whole world: `10.0.0.0/8`. */
export function isNetwork(written: string): boolean {
  const [address = "", length, ...rest] = written.split("/");
  const bits = isIP(address) === 4 ? 32 : isIP(address) === 6 ? 128 : 0;
  if (bits === 0 || rest.length > 0) return false;
  return length === undefined || (/^[1-9][0-9]{0,2}$/.test(length) && Number(length) <= bits);
}
