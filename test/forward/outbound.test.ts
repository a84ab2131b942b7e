/** What somebody else names is fetched from the public Internet only, judged when it is dialled; what the operator names may be nearer (O14, O22). */
import type { LookupAddress, lookup } from "node:dns";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { createOutbound } from "../../src/call/forward/outbound.ts";
import { isPublicAddress } from "../../src/call/forward/public-address.ts";

let server: Server;
let origin: string;
let asked = 0;
beforeAll(async () => {
  server = createServer((request, response) => {
    asked += 1;
    if (request.url === "/away") response.writeHead(302, { location: "/large" }).end();
    else if (request.url === "/large") response.end("x".repeat(65_537));
    else if (request.url === "/coded") response.writeHead(200, { "content-encoding": "gzip" }).end("x");
    else response.end("here");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => void server.close());
afterEach(() => {
  asked = 0;
});

test.each([
  ["8.8.8.8", true],
  ["2606:4700::1111", true],
  ["2a00:1450::1", true],
  ["127.0.0.1", false],
  ["10.1.2.3", false],
  ["100.64.0.1", false],
  ["100.100.100.200", false],
  ["168.63.129.16", false],
  ["169.254.169.254", false],
  ["172.31.0.1", false],
  ["192.168.1.1", false],
  ["192.0.2.1", false],
  ["198.18.0.1", false],
  ["0.0.0.0", false],
  ["224.0.0.1", false],
  ["255.255.255.255", false],
  ["::1", false],
  ["::", false],
  ["::ffff:8.8.8.8", false],
  ["::ffff:a9fe:a9fe", false],
  ["64:ff9b::a9fe:a9fe", false],
  ["fe80::1", false],
  ["fe80::1%eth0", false],
  ["fd00:ec2::254", false],
  ["2001:db8::1", false],
  ["2001::1", false],
  ["2002:a9fe:a9fe::1", false],
  ["localhost", false],
])("%s is public: %s", (address, expected) => {
  expect(isPublicAddress(address)).toBe(expected);
});

test.each([
  ["plain http", "http://example.com/jwks", "only https is called outside"],
  ["this machine", "https://127.0.0.1/jwks", "the address is not allowed"],
  ["this machine by IPv6", "https://[::1]/jwks", "the address is not allowed"],
  ["a decimal address", "https://2130706433/jwks", "the address is not allowed"],
  ["a private network", "https://10.0.0.1/jwks", "the address is not allowed"],
  ["cloud metadata in IPv6", "https://[::ffff:a9fe:a9fe]/jwks", "the address is not allowed"],
  ["a user name", "https://user@example.com/jwks", "a URL with a user name or password is not called"],
  ["another scheme", "file:///etc/passwd", "only https is called outside"],
])("%s is not called", async (_name, url, why) => {
  const outbound = createOutbound();
  await expect(outbound.fetchFromOutside(url, {})).rejects.toThrow(why);
  await outbound.close();
});

test("a name that leads to this machine is not called, whatever it led to before", async () => {
  const answers: LookupAddress[][] = [
    [{ address: "127.0.0.1", family: 4 }],
    [
      { address: "10.0.0.1", family: 4 },
      { address: "::1", family: 6 },
    ],
  ];
  const lying = (_name: string, _options: object, done: (fault: null, addresses: LookupAddress[]) => void) =>
    done(null, answers.shift() ?? []);
  const outbound = createOutbound({ resolve: lying as typeof lookup });
  const url = `https://rebind.example:${(server.address() as AddressInfo).port}/`;
  for (let i = 0; i < 3; i++) await expect(outbound.fetchFromOutside(url, {})).rejects.toThrow("the address is not allowed");
  expect(asked).toBe(0);
  await outbound.close();
});

test("an origin of the configuration may be near, another port of the same host may not", async () => {
  const outbound = createOutbound({ trustedOrigins: new Set([origin]) });
  expect(await (await outbound.fetchFromOutside(`${origin}/keys`, {})).text()).toBe("here");
  await expect(outbound.fetchFromOutside("http://127.0.0.1:1/keys", {})).rejects.toThrow("only https is called outside");
  await expect(outbound.fetchFromOutside("https://127.0.0.1:1/keys", {})).rejects.toThrow("the address is not allowed");
  await outbound.close();
});

test("cloud metadata is not called even where the configuration names it", async () => {
  const outbound = createOutbound({ trustedOrigins: new Set(["http://169.254.169.254"]) });
  await expect(outbound.fetchFromOutside("http://169.254.169.254/latest", {})).rejects.toThrow("the address is not allowed");
  await outbound.close();
});

test.each([
  ["/away", "a redirect is not followed"],
  ["/large", "the answer is too large"],
  ["/coded", "the answer has a content coding"],
])("%s is refused after one request", async (path, why) => {
  const outbound = createOutbound({ trustedOrigins: new Set([origin]) });
  await expect(outbound.fetchFromOutside(origin + path, {})).rejects.toThrow(why);
  expect(asked).toBe(1);
  await outbound.close();
});
