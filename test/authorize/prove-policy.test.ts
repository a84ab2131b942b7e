import { expect, test } from "vitest";
import { PROPERTIES, provePolicy, SABOTEURS } from "./prove-policy.ts";

test("random sets keep what every set must keep: npm run prove:policy", () => {
  const report = provePolicy(1, 1_500);
  for (const name of PROPERTIES) expect([name, report[name].violations]).toEqual([name, []]);
  for (const name of PROPERTIES) expect(report[name].trials).toBeGreaterThan(300);
});

test.each(Object.entries(SABOTEURS))("the proof finds it when %s", (_, subject) => {
  const violations = Object.values(provePolicy(1, 1_500, subject)).flatMap((each) => each.violations);
  expect(violations.length).toBeGreaterThan(0);
});
