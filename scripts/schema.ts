/** Writes schema/*.schema.json, from the definitions that judge the files themselves: node scripts/schema.ts */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { casesJsonSchema } from "../src/call/authorize/cases-file.ts";
import { policyJsonSchema } from "../src/call/authorize/policy-file.ts";
import { configSchema } from "../src/config-schema.ts";

/** File name to text. */
export function schemaFiles(): ReadonlyMap<string, string> {
  const files = new Map([
    ["config.schema.json", { title: "Tollgate configuration", ...z.toJSONSchema(configSchema, { io: "input" }) }],
    ["cases.schema.json", { title: "Tollgate policy cases", ...casesJsonSchema() }],
    ["policy.schema.json", { title: "Tollgate policy file", ...policyJsonSchema() }],
  ]);
  return new Map([...files].map(([name, schema]) => [name, `${JSON.stringify(schema, null, 2)}\n`]));
}

if (import.meta.main) {
  for (const [name, text] of schemaFiles()) writeFileSync(join(import.meta.dirname, "../schema", name), text);
}
