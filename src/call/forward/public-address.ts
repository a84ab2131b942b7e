/** Pure. Whether an IP address is one of the public Internet, by the special-purpose registries of IANA (RFC 6890 and its successors). */
import { BlockList, isIP } from "node:net";

const special = new BlockList();
for (const [network, bits] of [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
] as const)
  special.addSubnet(network, bits, "ipv4");
// A platform's own agent at Azure, on an address that is otherwise public.
special.addAddress("168.63.129.16", "ipv4");

/** Of IPv6 only what is allocated as unicast; the forms that carry an IPv4 address inside (mapped, NAT64) lie outside it. */
const unicast = new BlockList();
unicast.addSubnet("2000::", 3, "ipv6");
// Protocol assignments with Teredo, documentation, 6to4.
for (const [network, bits] of [
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["3fff::", 20],
] as const)
  special.addSubnet(network, bits, "ipv6");

export function isPublicAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return !special.check(address, "ipv4");
  return family === 6 && !address.includes("%") && unicast.check(address, "ipv6") && !special.check(address, "ipv6");
}
