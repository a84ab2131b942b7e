import { expect, test } from "vitest";
import { loopbackHosts } from "../../src/listen.ts";

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
