import { expect, test } from "vitest";
import { type Judge, proveParser } from "./prove-parser.ts";

test("whatever passes means the same to readers that take the first, the last or a folded twin", () => {
  const { passed, violations } = proveParser({ seed: 1, count: 20_000 });
  expect(violations).toEqual([]);
  expect(passed).toBeGreaterThan(1_000);
});

/** A gateway that trusts JSON.parse: the proof has to see what it lets through. */
const trusting: Judge = ({ bytes }) => {
  try {
    const body = JSON.parse(bytes.toString()) as {
      method?: string;
      id?: unknown;
      params?: { name?: string; uri?: string; arguments?: unknown };
    };
    const { method = null, id, params } = body;
    const { name, uri, arguments: args } = params ?? {};
    return {
      method,
      id: id === undefined ? null : JSON.stringify(id),
      name: (method === "resources/read" ? uri : name) ?? null,
      arguments: args === undefined ? null : JSON.stringify(args),
    };
  } catch {
    return null;
  }
};

test("a gateway that decides on JSON.parse and forwards the bytes is caught", () => {
  const { violations } = proveParser({ seed: 1, count: 2_000, judge: trusting });
  expect(violations.map((each) => each.split(":")[0])).toEqual(
    expect.arrayContaining(["firstWins reads another method", "folded reads another name", "firstWins reads other arguments"]),
  );
});
