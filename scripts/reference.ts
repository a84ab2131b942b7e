/** Writes docs/reference from the sources: what a page says is what the program does. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { WIRE } from "../src/refusal.ts";

const ROOT = join(import.meta.dirname, "..");
const NOTE = "<!-- Written by `npm run docs` from the sources; a test compares. Do not edit. -->\n\n";

type JsonSchema = {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly pattern?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly items?: JsonSchema;
  readonly oneOf?: readonly JsonSchema[];
  readonly anyOf?: readonly JsonSchema[];
  readonly additionalProperties?: JsonSchema | boolean;
};

/** Page name to its text. */
export function referencePages(program: Command): Map<string, string> {
  return new Map([
    ["cli.md", cliPage(program)],
    ["config.md", schemaPage("Configuration", "config.schema.json", "One YAML file; `tollgate check` lists every problem at once.")],
    [
      "policy.md",
      schemaPage("Policy files", "policy.schema.json", "Every `*.yaml` in the `policies` folder; names are unique across files."),
    ],
    ["refusals.md", refusalsPage()],
    ["events.md", eventsPage()],
  ]);
}

function refusalsPage(): string {
  const rows = Object.entries(WIRE).map(
    ([reason, wire]) =>
      `| \`${reason}\` | ${wire.status} | ${wire.code ?? "problem document"} | ${wire.http} | ${wire.title}. ${wire.remedy} |`,
  );
  return `${NOTE}# Refusals

Every refusal has one reason. \`refusals: jsonrpc\` answers with the status and code of the second and third column; \`refusals: http\` with the fourth, and a problem document
(RFC 9457) in either case: as the JSON-RPC error's \`data\`, or as the body. \`request_malformed\` has three codes: -32700 unreadable, -32600 not a request, -32602 lacking what its
revision requires. The problem's \`type\` is a page of the gateway itself: \`/problems/{reason}\`.

| reason | HTTP status | JSON-RPC code | with \`refusals: http\` | meaning and remedy |
| --- | --- | --- | --- | --- |
${rows.join("\n")}
`;
}

function eventsPage(): string {
  return `${NOTE}# Usage events and audit records

A usage event leaves as a CloudEvent 1.0.2: \`id\`, \`type\`, \`time\`, \`subject\` and \`data\` below, \`source\` the gateway's id, \`sequence\` gap-free per source.

\`\`\`ts
${typeSource("src/call/record/usage-event.ts")}
\`\`\`

An audit record is one leaf of the Merkle log, stored as its JCS (RFC 8785) bytes with \`sequence\` (the leaf's index) and \`source\` added.

\`\`\`ts
${typeSource("src/call/record/audit-record.ts")}
\`\`\`
`;
}

function typeSource(path: string): string {
  return readFileSync(join(ROOT, path), "utf8").split("\n").slice(1).join("\n").trim();
}

function cliPage(program: Command): string {
  const sections = leaves(program, []).map(([path, command]) => {
    return `## ${path.join(" ")}\n\n\`\`\`text\n${helpText(command)}\n\`\`\`\n`;
  });
  return `${NOTE}# Command line

Exit codes: 0 done, 1 the answer is "no", 2 wrong usage, 69 a needed service is away or the data folder or a port is in use, 78 bad configuration.

${sections.join("\n")}`;
}

function leaves(command: Command, path: readonly string[]): [readonly string[], Command][] {
  const here = [...path, command.name()];
  const nested = command.commands.filter((child) => child.name() !== "help").flatMap((child) => leaves(child, here));
  // One that only has others below it has no options of its own.
  const does = command.commands.length === 0 || (path.length > 0 && command.options.length > 0);
  return does ? [[here, command], ...nested] : nested;
}

function helpText(command: Command): string {
  let text = "";
  command.configureOutput({ writeOut: (part) => (text += part), getOutHelpWidth: () => 110, getOutHasColors: () => false });
  command.outputHelp();
  return text.trimEnd();
}

function schemaPage(title: string, file: string, intro: string): string {
  const schema = JSON.parse(readFileSync(join(ROOT, "schema", file), "utf8")) as JsonSchema;
  const rows: string[] = [];
  walk(schema, "", rows);
  return `${NOTE}# ${title}

${intro} The JSON Schema is [\`schema/${file}\`](../../schema/${file}).

| key | value | default | meaning |
| --- | --- | --- | --- |
${[...new Set(rows)].join("\n")}
`;
}

function walk(schema: JsonSchema, path: string, rows: string[]): void {
  for (const [key, member] of Object.entries(schema.properties ?? {})) {
    const here = path === "" ? key : `${path}.${key}`;
    const required = schema.required?.includes(key) === true && member.default === undefined;
    const value = cell(valueText(member));
    const fallback = required
      ? "required"
      : member.default === undefined || isObject(member.default)
        ? ""
        : `\`${JSON.stringify(member.default)}\``;
    rows.push(`| \`${here}\` | ${value} | ${fallback} | ${cell(member.description ?? "")} |`);
    below(member, here, rows);
  }
}

function below(schema: JsonSchema, path: string, rows: string[]): void {
  walk(schema, path, rows);
  for (const variant of [...(schema.anyOf ?? []), ...(schema.oneOf ?? [])]) below(variant, path, rows);
  if (schema.items !== undefined) below(schema.items, `${path}[]`, rows);
  if (typeof schema.additionalProperties === "object") below(schema.additionalProperties, `${path}.*`, rows);
}

function valueText(schema: JsonSchema): string {
  if (schema.const !== undefined) return `\`${String(schema.const)}\``;
  if (schema.enum !== undefined) return schema.enum.map((each) => `\`${String(each)}\``).join(", ");
  const variants = schema.anyOf ?? schema.oneOf;
  if (variants !== undefined) return [...new Set(variants.map(valueText))].join(" or ");
  if (schema.type === "array") return `list of ${schema.items === undefined ? "values" : valueText(schema.items)}`;
  return schema.type ?? "value";
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}

if (process.argv[1] === import.meta.filename) {
  const { createProgram } = await import("../src/cli/program.ts");
  for (const [name, text] of referencePages(await createProgram())) {
    writeFileSync(join(ROOT, "docs/reference", name), text);
    process.stdout.write(`docs/reference/${name}\n`);
  }
}
