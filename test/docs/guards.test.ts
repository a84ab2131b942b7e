import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { authzenVerdict, httpVerdict } from "../../src/call/inspect/verdict.ts";
import { inspectAll } from "../../src/check.ts";

const PAGE = readFileSync(join(import.meta.dirname, "../../docs/policies.md"), "utf8");
const SECTION = PAGE.slice(PAGE.indexOf("\n## Guards\n"), PAGE.indexOf("\n## Tools that change\n"));
const blocks = (kind: string) => [...SECTION.matchAll(new RegExp(`^\`\`\`${kind}\n(.*?)^\`\`\`$`, "gms"))].map(([, block = ""]) => block);

test("the page's inspectors and the rule that asks them are good as they stand", async () => {
  const [inspectors = "", policies = ""] = blocks("yaml");
  const folder = mkdtempSync(join(tmpdir(), "tollgate-guards-"));
  mkdirSync(join(folder, "policies"));
  writeFileSync(join(folder, "policies", "a.yaml"), policies);
  const servers = "servers: { tickets: { url: https://tickets.internal/mcp } }\n";
  writeFileSync(join(folder, "tollgate.yaml"), `apiVersion: tollgate/v1\n${servers}${inspectors}`);
  const { problems, warnings } = await inspectAll(join(folder, "tollgate.yaml"), { PII_TOKEN: "set" });
  // Nobody of the page's team exists here.
  expect([problems, warnings.filter(({ message }) => !message.includes("team"))]).toEqual([[], []]);
});

test("the page's answer is an answer", () => {
  const [, answer = ""] = blocks("json");
  expect(httpVerdict(Buffer.from(answer))).toEqual({ verdict: "refuse", code: "iban", reason: "two account numbers" });
  expect(authzenVerdict(Buffer.from('{"decision": true}'))).toEqual({ verdict: "allow", code: null, reason: null });
});
