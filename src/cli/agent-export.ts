/** `agent export`: all that is kept of one agent, as JSON lines that another system can read (Article 20 GDPR). */
import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import type { Command } from "commander";
import type { StoredRecord } from "../call/record/books.ts";
import type { StoredEvent } from "../call/record/event-query.ts";
import { type AdminClient, adminClient, allPages } from "./admin-client.ts";
import { type CommonOptions, configOf, leaf, print } from "./command.ts";
import { EXIT, Exit, type Io } from "./io.ts";

type ExportOptions = CommonOptions & { readonly out: string };
type Thing = { readonly id: string; readonly agent_id?: string; readonly agent?: { readonly id: string } };

export function registerAgentExport(agent: Command, io: Io): void {
  leaf(
    agent,
    "export <name>",
    "all that is kept of one agent: registry, credentials without secrets, requests, budgets, records, usage events",
    "tollgate agent export triage-bot --out triage-bot.jsonl",
  )
    .requiredOption("--out <file>", "a new file, one JSON object a line: {kind, value}")
    .action((name: string, options: ExportOptions) => exportAgent(name, options, io));
}

async function exportAgent(name: string, options: ExportOptions, io: Io): Promise<void> {
  const admin = adminClient(configOf(options, io), io);
  const path = `/agents/${encodeURIComponent(name)}`;
  const agent = await admin.get<Thing>(path);
  const file = newFile(options.out);
  const counts: Record<string, number> = {};
  const add = (kind: string, value: unknown) => {
    counts[kind] = (counts[kind] ?? 0) + 1;
    writeSync(file, `${JSON.stringify({ kind, value })}\n`);
  };
  try {
    add("export", { schema: "tollgate.agent-export.v1", exported_at: new Date().toISOString(), agent_id: agent.id });
    add("agent", agent);
    for (const part of ["credentials", "budgets"] as const) {
      const { items } = await admin.get<{ items: readonly unknown[] }>(`${path}/${part}`);
      for (const item of items) add(part === "credentials" ? "credential" : "budget", item);
    }
    for (const item of await ofStates(admin, "/access-requests", ["pending", "approved", "denied"]))
      if (item.agent_id === agent.id) add("access_request", item);
    for (const item of await ofStates(admin, "/approvals", ["pending", "approved", "denied", "expired"]))
      if (item.agent?.id === agent.id) add("approval", item);
    for await (const record of pages<StoredRecord>(admin, `/audit/records?agent=${encodeURIComponent(agent.id)}&`)) add("record", record);
    for await (const event of pages<StoredEvent>(admin, "/metering/events?"))
      if (event.data.agent_id === agent.id) add("usage_event", event);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  print(io, options, { file: options.out, ...counts }, () => {
    const { export: _, ...told } = counts;
    return `${options.out}: ${Object.entries(told)
      .map(([kind, count]) => `${count} ${kind}`)
      .join(", ")}`;
  });
}

async function ofStates(admin: AdminClient, path: string, states: readonly string[]): Promise<Thing[]> {
  const found: Thing[] = [];
  for (const state of states) found.push(...(await allPages<Thing>(admin, path, [["state", state]])));
  return found;
}

/** A list that is followed by the sequence numbers of what it holds; the first record of a journal is the gateway's own. */
async function* pages<T extends { readonly sequence: number }>(admin: AdminClient, path: string): AsyncGenerator<T> {
  for (let after: string | null = "0"; after !== null; ) {
    const page: { items: readonly T[]; next_cursor: string | null } = await admin.get(`${path}limit=1000&after=${after}`);
    yield* page.items;
    after = page.items.length === 0 ? null : page.next_cursor;
  }
}

function newFile(out: string): number {
  try {
    return openSync(out, "wx", 0o600);
  } catch (fault) {
    const exists = fault instanceof Error && "code" in fault && fault.code === "EEXIST";
    throw new Exit(
      EXIT.usage,
      exists ? `${out} exists already: nothing is overwritten` : `${out} cannot be written: ${(fault as Error).message}`,
    );
  }
}
