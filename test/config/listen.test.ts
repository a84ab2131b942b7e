import { expect, test } from "vitest";
import { doorOf, loopbackHosts } from "../../src/listen.ts";

test.each([
  ["127.0.0.1", "127.0.0.1:8421", true],
  ["127.0.0.1", "localhost:8421", true],
  ["127.0.0.1", "[::1]:8421", true],
  ["127.0.0.2", "127.0.0.2:8421", true],
  ["127.0.0.1", "127.0.0.2:8421", false],
  ["0.0.0.0", "0.0.0.0:8421", false],
  ["127.0.0.1", "rebound.example:8421", false],
  ["127.0.0.1", "127.0.0.1:8420", false],
])("a listener on %s answers to %s: %s", (host, name, answers) => {
  expect(loopbackHosts({ host, port: 8421 }).has(name)).toBe(answers);
});

const LISTEN = { host: "127.0.0.1", port: 8420, behindProxy: null, allowedHosts: null, allowedOrigins: ["https://app.example"] };

test.each([
  ["http://127.0.0.1:8420", "http://127.0.0.1:8420", true],
  ["http://127.0.0.1:8420", "http://localhost:8420", true],
  ["https://gate.example", "https://gate.example", true],
  ["https://gate.example", "https://app.example", true],
  ["https://gate.example", "http://gate.example", false],
  ["https://gate.example", "https://gate.example:8420", false],
  ["http://127.0.0.1:8420", "http://127.0.0.1:8421", false],
  ["http://127.0.0.1:8420", "http://rebound.example:8420", false],
  ["http://127.0.0.1:8420", "null", false],
])("at %s the origin %s is served: %s", (publicUrl, origin, isServed) => {
  expect(doorOf({ publicUrl, listen: LISTEN }).origins.has(origin)).toBe(isServed);
});

test("beyond named hosts no loopback origin is served", () => {
  const listen = { ...LISTEN, allowedHosts: ["gate.example"] };
  expect(doorOf({ publicUrl: "https://gate.example", listen }).origins.has("http://localhost:8420")).toBe(false);
});
