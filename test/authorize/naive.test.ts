import { expect, test } from "vitest";
import { policyFileSchema } from "../../src/call/authorize/policy-file.ts";
import { agentOf, asked } from "./fixture.ts";
import { judge, matchesText } from "./naive.ts";

test("a star takes any letters, every other letter itself", () => {
  expect(["", "ab", "a/b", "axxb", "axbx"].filter((text) => matchesText("a*b", text))).toEqual(["ab", "a/b", "axxb"]);
});

test("the naive interpreter: a failing condition takes a permit away and keeps a forbid", () => {
  const file = policyFileSchema.parse({
    apiVersion: "tollgate/v1",
    entitlements: [
      { name: "a", permit: ["crm/read"], when: "args.n > 1" },
      { name: "b", permit: ["crm/*"], requires: ["w"] },
      { name: "c", forbid: ["crm/pay"], when: "args.n > 1" },
    ],
  });
  const say = (path: string, json: string, scopes: string[] = []) =>
    judge({ files: [file], servers: ["crm"] }, agentOf({ scopes }), asked(path, json), 0);
  expect(say("crm/read", '{"n":2}')).toEqual({ reason: null, rule: "a" });
  expect(say("crm/read", '{"n":"x"}')).toEqual({ reason: "scope_insufficient", rule: "b" });
  expect(say("crm/pay", '{"n":"x"}', ["w"])).toEqual({ reason: "arguments_denied", rule: "c" });
  expect(say("crm/pay", '{"n":1}', ["w"])).toEqual({ reason: null, rule: "b" });
  expect(say("tickets/x", "{}")).toEqual({ reason: "server_unknown", rule: null });
});
