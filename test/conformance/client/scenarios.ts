/** What a client on SDK 2.x does in each scenario of the suite: the same steps directly and through the gateway. */
import { createHash } from "node:crypto";
import { Client, type ClientOptions, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { z } from "zod";

/** Where a scenario is served, and how a client is let in there. */
export type Target = { readonly url: string; readonly accessToken: string | null };

/** What the suite says of the scenario besides its name. */
export type Scene = { readonly revision: string; readonly context: unknown };

type Steps = (client: Client, scene: Scene) => Promise<void>;

const FILLED_BY_DEFAULTS = { elicitation: { form: { applyDefaults: true } } };

const STEPS: Readonly<Record<string, Steps>> = {
  initialize: async (client) => void (await client.listTools()),
  tools_call: (client) => callAll(client, { a: 5, b: 3 }),
  "elicitation-sep1034-client-defaults": (client) => callAll(client, {}),
  "sse-retry": (client) => callAll(client, {}),
  "request-metadata": async (client) => void (await client.listTools()),
  "sep-2322-client-request-state": callAnyway,
  "http-standard-headers": useEverything,
  "http-custom-headers": callAsTold,
  "http-invalid-tool-headers": (client) => callAll(client, { region: "us-west1" }),
  "json-schema-ref-no-deref": async (client) => void (await client.listTools()),
  "json-schema-2020-12-preservation": echoSchema,
  "sep-2640-client-no-prefetch": async (client) => void (await listSkills(client)),
  "sep-2640-client-verify-digest": loadSkill,
  "sep-2640-client-verify-size": loadSkill,
  "sep-2640-client-verify-frontmatter": loadSkill,
};

export const SCENARIOS: readonly string[] = Object.keys(STEPS);

export async function visit(scenario: string, { url, accessToken }: Target, scene: Scene): Promise<void> {
  const steps = STEPS[scenario];
  if (steps === undefined) throw new Error(`no steps for the scenario ${scenario}`);
  const client = new Client({ name: "conformance", version: "1.0.0" }, optionsFor(scene.revision));
  client.setRequestHandler("elicitation/create", () => ({ action: "accept", content: {} }));
  const headers: Record<string, string> = accessToken === null ? {} : { authorization: `Bearer ${accessToken}` };
  const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } });
  await client.connect(transport);
  try {
    await steps(client, scene);
  } finally {
    await client.close();
  }
}

/** In 2026-07-28 the first try may be refused for its revision, and the client has to find another: so nothing is pinned. */
function optionsFor(revision: string): ClientOptions {
  const capabilities = { roots: {}, sampling: {}, ...FILLED_BY_DEFAULTS };
  return revision === "2026-07-28" ? { capabilities, versionNegotiation: { mode: "auto" } } : { capabilities };
}

async function callAll(client: Client, args: Record<string, unknown>): Promise<void> {
  const { tools } = await client.listTools();
  for (const { name } of tools) await client.callTool({ name, arguments: args });
}

/** The last tool answers without a `resultType`, which SDK 2.x refuses; the scenario asks only that it is not called again. */
async function callAnyway(client: Client): Promise<void> {
  const { tools } = await client.listTools();
  for (const { name } of tools) await client.callTool({ name, arguments: {} }).catch(() => {});
}

async function callAsTold(client: Client, { context }: Scene): Promise<void> {
  const { toolCalls } = context as { toolCalls: { name: string; arguments: Record<string, unknown> }[] };
  await client.listTools();
  for (const call of toolCalls) await client.callTool(call);
}

async function useEverything(client: Client): Promise<void> {
  await callAll(client, {});
  const { resources } = await client.listResources();
  for (const { uri } of resources) await client.readResource({ uri });
  const { prompts } = await client.listPrompts();
  for (const { name } of prompts) await client.getPrompt({ name });
}

async function echoSchema(client: Client): Promise<void> {
  const { tools } = await client.listTools();
  const schema = tools.find(({ name }) => name === "json_schema_2020_12_tool")?.inputSchema;
  await client.callTool({ name: "json_schema_echo", arguments: { schema } });
}

const SKILLS = z.object({
  skills: z.array(
    z.object({
      uri: z.string(),
      frontmatter: z.record(z.string(), z.string()),
      resources: z.array(z.object({ uri: z.string(), digest: z.string(), size: z.number() })),
    }),
  ),
});
type Skill = z.infer<typeof SKILLS>["skills"][number];

async function listSkills(client: Client): Promise<readonly Skill[]> {
  const { skills } = await client.request({ method: "skills/list", params: {} }, SKILLS);
  return skills;
}

/** A file that is not what its entry says is not used, and so nothing that it refers to is fetched. */
async function loadSkill(client: Client): Promise<void> {
  for (const skill of await listSkills(client)) {
    const files = [...skill.resources].sort((a, b) => Number(b.uri === skill.uri) - Number(a.uri === skill.uri));
    for (const { uri, digest, size } of files) {
      const { contents } = await client.readResource({ uri });
      const [content] = contents;
      const text = content !== undefined && "text" in content ? content.text : "";
      if (Buffer.byteLength(text) !== size || `sha256:${createHash("sha256").update(text).digest("hex")}` !== digest) return;
      if (uri === skill.uri && !isAsListed(text, skill.frontmatter)) return;
    }
  }
}

function isAsListed(text: string, frontmatter: Readonly<Record<string, string>>): boolean {
  const lines = text.split("---\n")[1]?.trim().split("\n") ?? [];
  const listed = Object.entries(frontmatter).map(([name, value]) => `${name}: ${value}`);
  return lines.length === listed.length && listed.every((line) => lines.includes(line));
}
