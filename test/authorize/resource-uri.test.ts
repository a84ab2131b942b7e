import { expect, test } from "vitest";
import { asciiUri, isPlainUri } from "../../src/call/authorize/resource-uri.ts";

test.each([
  "file:///pub/readme.md",
  "file:///pub/",
  "file:///",
  "https://example.com",
  "https://example.com/a//b?x=../y#..",
  "test://static-resource",
  "demo://resource/dynamic/text/1",
  "note:1",
  "urn:isbn:0451450523",
  "file:///na\u00efve.txt",
  "file:///na%C3%AFve.txt",
  "file:///a%20b",
  "file:///pub/{path}",
  "git://repo/x.y/...",
  "readme",
])("%s has one spelling", (uri) => expect(isPlainUri(uri)).toBe(true));

test.each([
  "file:///pub/../etc/shadow",
  "file:///pub/%2e%2e/etc/shadow",
  "file:///pub/.%2E/etc/shadow",
  "file:///pub/\\..\\..\\etc/shadow",
  "file:///pub/./secret",
  "file:///pub/x/../secret",
  "file:///pub//secret",
  "file:///pub/%73ecret",
  "file:///pub%2Fsecret",
  "file:///pub%5csecret",
  "file:///pub/secret%00",
  "file:///pub/secret\u0000",
  "file:///pub/ secret",
  "file:///pub/se\tcret",
  "file:/pub/secret",
  "file:pub",
  "FILE:///pub/secret",
  "file://localhost/pub/secret",
  "https://EXAMPLE.com/x",
  "https://example.com:443/x",
  "https:/example.com/x",
  "demo://a/../b",
  "file:///na%c3%afve.txt",
  "file:///pub/{a}/../../etc",
  "../x",
])("%j has a twin", (uri) => expect(isPlainUri(uri)).toBe(false));

test("a raw letter and its encoding are compared as one", () => {
  expect(asciiUri("file:///na\u00efve")).toBe("file:///na%C3%AFve");
});
