/** The books of a gateway: asked of it while it runs, read from its data folder while none does. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { openBooks as openFolderBooks, type StoredRecord } from "../call/record/books.ts";
import type { UsageAnswer } from "../call/record/queries.ts";
import { JOURNAL_FILE, openReader } from "../call/record/store.ts";
import type { Proof } from "../call/record/tree.ts";
import type { Config } from "../config.ts";
import { type BudgetRow, budgetFacts, budgetRows } from "../control/admin/budget-rows.ts";
import { usageQuestion } from "../control/admin/usage-question.ts";
import { loadPolicies } from "../policy-load.ts";
import { type AdminClient, adminClient, NoGateway } from "./admin-client.ts";
import { problemLines } from "./command.ts";
import { EXIT, Exit, type Io, paint } from "./io.ts";

export type CallRecord = { readonly record: StoredRecord; readonly proof: Proof };
/** As the admin API's query has it. */
export type UsageQuery = Readonly<Record<string, string>>;

export type Books = {
  usage(query: UsageQuery): Promise<UsageAnswer>;
  budgets(): Promise<readonly BudgetRow[]>;
  tail(limit: number): Promise<readonly StoredRecord[]>;
  record(callId: string): Promise<CallRecord>;
};

export function openBooks(config: Config, io: Io): Books {
  const admin = adminClient(config, io);
  const either = <T>(ask: () => Promise<T>, read: () => T) => askOrRead(config, io, ask, read);
  return {
    usage: (query) =>
      either(
        () => admin.get(`/metering/usage?${new URLSearchParams(query)}`),
        () => usageInFolder(config, query),
      ),
    budgets: () =>
      either(
        async () => (await admin.get<{ items: BudgetRow[] }>("/budgets")).items,
        () => budgetsInFolder(config),
      ),
    tail: (limit) =>
      either(
        () => newest(admin, limit),
        () => inFolder(config, (books) => books.tail(limit, null)),
      ),
    record: (callId) =>
      either(
        () => admin.get<CallRecord>(`/audit/records/${encodeURIComponent(callId)}`),
        () => recordInFolder(config, callId),
      ),
  };
}

/** Of the gateway where one runs; else from the data folder, if there is one. */
export async function askOrRead<T>(config: Config, io: Io, ask: () => Promise<T>, read: () => T): Promise<T> {
  try {
    return await ask();
  } catch (fault) {
    if (!(fault instanceof NoGateway) || !existsSync(join(config.data, JOURNAL_FILE))) throw fault;
    if (io.color) io.err(paint(io, "dim", `no gateway runs: read from ${config.data}`));
    return read();
  }
}

async function newest(admin: AdminClient, limit: number): Promise<StoredRecord[]> {
  return (await admin.get<{ items: StoredRecord[] }>(`/audit/records?limit=${limit}`)).items;
}

export function inFolder<T>(config: Config, read: (books: ReturnType<typeof openFolderBooks>) => T): T {
  const file = join(config.data, JOURNAL_FILE);
  try {
    const store = openReader(file);
    try {
      return read(openFolderBooks(store));
    } finally {
      store.close();
    }
  } catch (fault) {
    throw new Exit(EXIT.away, `${file} cannot be read: ${fault instanceof Error ? fault.message : String(fault)}`);
  }
}

/** As the admin API says it. */
function purgedText(callId: string): string {
  return `the record of ${callId} was purged: its leaf stays, its words are gone`;
}

function recordInFolder(config: Config, callId: string): CallRecord {
  const [found, isPurged] = inFolder(config, (books) => [books.record(callId), books.isPurged(callId)] as const);
  if (found === null) throw new Exit(EXIT.no, isPurged ? purgedText(callId) : `there is no record of ${callId}`);
  return found;
}

function budgetsInFolder(config: Config): BudgetRow[] {
  const policies = loadPolicies(config.policies, config.servers);
  if ("problems" in policies) throw new Exit(EXIT.config, problemLines(policies.problems));
  return budgetRows(
    budgetFacts(policies.policySet),
    inFolder(config, (books) => books.balances()),
    Date.now(),
  );
}

function usageInFolder(config: Config, query: UsageQuery): UsageAnswer {
  const question = usageQuestion(query, Date.now());
  if ("fault" in question) throw new Exit(EXIT.usage, question.fault);
  return inFolder(config, (books) => books.usage(question));
}
