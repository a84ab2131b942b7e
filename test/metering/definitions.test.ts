import { expect, test } from "vitest";
import { BUILT_IN, catalogueOf, definitionDigest, type EventType } from "../../src/call/record/event-types.ts";

/** Written out by hand: whoever changes a definition must give it another version, and then another line here. */
const DIGESTS: Readonly<Record<string, string>> = {
  "io.tollgate.call.settled.v1 2026-11-01": "sha256:c3ab23e2a806677c82676c345eba8c06a8c569f11e393f12b2b305e853afa4c8",
  "io.tollgate.usage.adjusted.v1 1": "sha256:8690fb5688eb15613b052142fa9807a2a5b0ff43d9735084ab309d8426d5a2c3",
  "io.tollgate.llm.tokens.v1 1": "sha256:a68abc905244dede44c5e15da877857de234ea96301bc0bbf5ce5249455dc223",
  "io.tollgate.outcome.claimed.v1 1": "sha256:be285b5d096d9c169f6ff04076b573d124705016eff7d1113c230e8a7b8a9999",
  "io.tollgate.workflow.completed.v1 1": "sha256:b0dd6035b678bed766ff2f2b53121c9ba2dc425580756b7caa1bf8e082decb4b",
  "io.tollgate.activation.created.v1 1": "sha256:283ef58ff25823a7dc690314beaf848053607af6b85d72c0c51614ee4dd1865f",
};

test("a definition never changes under its version", () => {
  expect(Object.fromEntries(BUILT_IN.map((each) => [`${each.type} ${each.version}`, definitionDigest(each)]))).toEqual(DIGESTS);
});

test("a short name means a type as long as only one version has it; the full name always does", () => {
  const own = (version: string): EventType => ({
    ...{ type: `com.x.y.v${version}`, short_name: "com.x.y", version, meters: ["pages"], unit: "page", metadata: {}, required: [] },
    ...{ use: ["policy"], told_by: "reporter", approved_by: "x", approved: "2026-01-01" },
  });
  expect(catalogueOf([own("1")], [], []).find("com.x.y")?.version).toBe("1");
  const both = catalogueOf([own("1"), own("2")], [], []);
  expect(both.find("com.x.y")).toBeNull();
  expect(both.find("com.x.y.v2")?.version).toBe("2");
  expect(definitionDigest(own("1"))).not.toBe(definitionDigest(own("2")));
});
