/** The story of the demo, step by step; a step is as told only if the system says so. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Client, ClientCredentialsProvider, ProtocolError, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import type { StoredRecord } from "../call/record/books.ts";
import { verifyInclusion } from "../call/record/merkle.ts";
import type { UsageAnswer } from "../call/record/queries.ts";
import { verifyLog } from "../call/record/verify.ts";
import { adminAt } from "./admin-client.ts";
import type { CallRecord } from "./books.ts";
import type { Stage } from "./demo-stage.ts";
import { explain } from "./explain.ts";
import { grouped } from "./table.ts";

export type Tell = (label: string, text: string, asTold: boolean) => void;

type Agent = { readonly name: string; readonly client_id: string; readonly client_secret: string };
type Facts = { readonly reason?: string; readonly call_id?: string; readonly budget?: string; readonly resets_at?: string };

export async function play(stage: Stage, startedMs: number, tell: Tell): Promise<void> {
  const admin = adminAt(stage.adminUrl, () => readFileSync(join(stage.dataFolder, "admin.key"), "utf8").trim());
  tell("gateway", `${stage.publicUrl}, embedded defaults, ready after ${startedMs} ms`, true);
  tell("servers", `everything over stdio; toolbox over Streamable HTTP at ${stage.toolboxUrl}`, true);

  const agent = await admin.post<Agent>("/agents", {
    name: "demo-bot",
    team: "demo",
    owner: "you@example.com",
    purpose: "show what a gateway does",
  });
  await admin.post("/agents", { name: "visitor", team: "visitors", owner: "you@example.com", purpose: "your own client" });
  tell("agent", `${agent.name} is ${agent.client_id}; only a hash of its secret is kept`, agent.client_id.startsWith("agt_"));

  const everything = await connect(`${stage.publicUrl}/mcp/everything`, stage.publicUrl, agent);
  const toolbox = await connect(`${stage.publicUrl}/mcp/toolbox`, stage.publicUrl, agent);
  tell(
    "token",
    `by OAuth client_credentials, ${everything.typ}, valid for ${everything.audience} alone`,
    everything.audience === `${stage.publicUrl}/mcp/everything`,
  );
  try {
    await calls(everything.client, toolbox.client, tell);
  } finally {
    await everything.client.close();
    await toolbox.client.close();
  }
  await evidence(stage, admin, tell);
}

/** A real SDK client: it finds the authorization server from the 401 and obtains its token by itself. */
async function connect(
  url: string,
  issuer: string,
  { client_id, client_secret }: Agent,
): Promise<{ client: Client; audience: string; typ: string }> {
  const authProvider = new ClientCredentialsProvider({ clientId: client_id, clientSecret: client_secret, expectedIssuer: issuer });
  const client = new Client({ name: "tollgate-demo", version: "1.0.0" });
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { authProvider }));
  const [header = "", payload = ""] = (authProvider.tokens()?.access_token ?? "")
    .split(".")
    .map((part) => Buffer.from(part, "base64url").toString());
  return { client, audience: (JSON.parse(payload) as { aud: string }).aud, typ: (JSON.parse(header) as { typ: string }).typ };
}

async function calls(everything: Client, toolbox: Client, tell: Tell): Promise<void> {
  const { tools } = await everything.listTools();
  const names = tools.map((tool) => tool.name);
  tell("tools/list", `${names.length} tools; get-env is hidden by policy`, names.includes("echo") && !names.includes("get-env"));

  const echo = await outcomeOf(everything, "echo", { message: "hello" });
  tell("allowed", `everything/echo answers "${echo.text}"`, echo.text.includes("hello"));
  const sum = await outcomeOf(toolbox, "get-sum", { a: 2, b: 3 });
  tell("allowed", `toolbox/get-sum answers "${sum.text}"`, sum.text.includes("5"));

  const hidden = await outcomeOf(everything, "get-env", {});
  tell("refused", `everything/get-env: ${said(hidden)}, as if it did not exist`, hidden.facts.reason === "tool_unknown");
  const large = await outcomeOf(toolbox, "get-sum", { a: 2_000_000, b: 3 });
  tell("refused", `toolbox/get-sum with a = 2_000_000: ${said(large)}`, large.facts.reason === "arguments_denied");
  const third = await outcomeOf(everything, "echo", { message: "once more" });
  tell(
    "refused",
    `a third call: ${said(third)}, budget ${third.facts.budget}, resets at ${third.facts.resets_at}`,
    third.facts.reason === "budget_exhausted",
  );
}

type Heard = { readonly text: string; readonly code: number | null; readonly facts: Facts };

async function outcomeOf(client: Client, name: string, args: Record<string, unknown>): Promise<Heard> {
  try {
    const result = await client.callTool({ name, arguments: args });
    const [first] = Array.isArray(result.content) ? result.content : [];
    return { text: first?.type === "text" ? first.text : "", code: null, facts: {} };
  } catch (fault) {
    if (!ProtocolError.isInstance(fault)) throw fault;
    return { text: "", code: fault.code, facts: (fault.data ?? {}) as Facts };
  }
}

function said({ code, facts }: Heard): string {
  return `${code} ${facts.reason}`;
}

async function evidence(stage: Stage, admin: ReturnType<typeof adminAt>, tell: Tell): Promise<void> {
  const usage = await admin.get<UsageAnswer>("/metering/usage?by=agent,server,tool");
  for (const row of usage.rows)
    tell(
      "usage",
      `${row.agent} ${row.server}/${row.tool}: ${row.calls} call, ${grouped(Number(row.tool_tokens))} tool tokens`,
      row.calls === 1,
    );
  const { items } = await admin.get<{ items: StoredRecord[] }>("/audit/records?limit=1000");
  const recorded = items.filter((record) => record.request?.method === "tools/call");
  for (const { call_id } of recorded) {
    const { record, proof } = await admin.get<CallRecord>(`/audit/records/${call_id}`);
    const path = proof.hashes.map((hash) => Buffer.from(hash, "hex"));
    const proved = verifyInclusion(Buffer.from(proof.leaf, "hex"), proof.leaf_index, proof.tree_size, path, Buffer.from(proof.root, "hex"));
    const what = `${record.server}/${record.target?.name}: ${record.reason ?? record.outcome}`;
    tell("record", `leaf ${proof.leaf_index} ${what}; proved by ${path.length} hashes`, proved && record.sequence === proof.leaf_index);
  }
  const refused = recorded.find((record) => record.reason === "arguments_denied");
  if (refused !== undefined) tell("why", explain(refused)[2] ?? "", true);
  const verdict = await verifyLog(join(stage.dataFolder, "journal.db"));
  tell("verify", `${verdict.size} records, root ${verdict.root}`, verdict.ok && recorded.length === 5 && usage.rows.length === 2);
}
