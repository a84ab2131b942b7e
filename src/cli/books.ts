/** The books of a gateway: asked of it while it runs, read from its data folder while none does. */
import type { StoredRecord } from "../call/record/books.ts";
import type { UsageAnswer } from "../call/record/queries.ts";
import type { Proof } from "../call/record/tree.ts";
import type { Config } from "../config.ts";
import type { BudgetRow } from "../control/admin/budget-rows.ts";
import type { BudgetTerms } from "../control/admin/budget-terms.ts";
import { type AdminClient, adminClient, NoGateway } from "./admin-client.ts";
import { type Io, paint } from "./io.ts";

export type CallRecord = { readonly record: StoredRecord; readonly proof: Proof };
/** As the admin API's query has it. */
export type UsageQuery = Readonly<Record<string, string>>;

export type OneBudget = { readonly terms: BudgetTerms | null; readonly counters: readonly BudgetRow[] };

export type Books = {
  usage(query: UsageQuery): Promise<UsageAnswer>;
  budgets(): Promise<readonly BudgetRow[]>;
  /** One, with what it says; null: it has no counters to be seen. */
  budget(name: string): Promise<OneBudget | null>;
  /** `kind`: a pattern of kinds; null: of every kind. */
  tail(limit: number, kind: string | null): Promise<readonly StoredRecord[]>;
  record(callId: string): Promise<CallRecord>;
};

export function openBooks(config: Config, io: Io): Books {
  const admin = adminClient(config, io);
  const either = <T>(ask: () => Promise<T>, read: () => T | Promise<T>, how?: "told") => askOrRead(config, io, ask, read, how);
  return {
    usage: (query) =>
      either(
        () => admin.get(`/metering/usage?${new URLSearchParams(query)}`),
        async () => (await folderBooks()).usageInFolder(config, query),
      ),
    budgets: () =>
      either(
        async () => (await admin.get<{ items: BudgetRow[] }>("/budgets")).items,
        async () => (await ofFolder(config, io)).rows,
        "told",
      ),
    budget: (name) =>
      either(
        () => oneBudget(admin, name),
        async () => {
          const { rows, termsOf } = await ofFolder(config, io);
          const counters = rows.filter((row) => row.name === name);
          return counters.length === 0 ? null : { terms: termsOf(name), counters };
        },
        "told",
      ),
    tail: (limit, kind) =>
      either(
        () => newest(admin, limit, kind),
        async () =>
          (await folderBooks()).inFolder(config, (books) =>
            books.tail(limit, null, kind === null ? null : { customer: null, agents: [], agent: null, kind }),
          ),
      ),
    record: (callId) =>
      either(
        () => admin.get<CallRecord>(`/audit/records/${encodeURIComponent(callId)}`),
        async () => (await folderBooks()).recordInFolder(config, callId),
      ),
  };
}

/** Of the gateway where one runs; else from the data folder, if there is one. `told`: `read` itself says that it was. */
export async function askOrRead<T>(config: Config, io: Io, ask: () => Promise<T>, read: () => T | Promise<T>, how?: "told"): Promise<T> {
  try {
    return await ask();
  } catch (fault) {
    if (!(fault instanceof NoGateway) || !(await folderBooks()).hasBooks(config)) throw fault;
    if (io.color && how !== "told") io.err(paint(io, "dim", `no gateway runs: read from ${config.data}`));
    return await read();
  }
}

/** SQLite, the queries and the policies: not loaded while a gateway answers. */
function folderBooks(): Promise<typeof import("./folder-books.ts")> {
  return import("./folder-books.ts");
}

async function ofFolder(config: Config, io: Io) {
  const found = await (await folderBooks()).budgetsInFolder(config);
  // One line, also for a script: what is missing here is nowhere else to be seen.
  const share = config.shared.redis === null ? "" : "; these are this gateway's share alone";
  const missing = found.unknown === null ? "" : `; budgets made at run time are not among them: they ${found.unknown}`;
  io.err(`no gateway runs: read from ${config.data}${share}${missing}`);
  return found;
}

/** The list says which there are; one of a policy file may have the name of a route, and is shown without its terms. */
async function oneBudget(admin: AdminClient, name: string): Promise<OneBudget | null> {
  const counters = (await admin.get<{ items: BudgetRow[] }>("/budgets")).items.filter((row) => row.name === name);
  if (counters.length === 0 || name === "shared") return counters.length === 0 ? null : { terms: null, counters };
  return await admin.get<OneBudget>(`/budgets/${encodeURIComponent(name)}`);
}

async function newest(admin: AdminClient, limit: number, kind: string | null): Promise<StoredRecord[]> {
  const query = new URLSearchParams({ limit: String(limit), ...(kind === null ? {} : { kind }) });
  return (await admin.get<{ items: StoredRecord[] }>(`/audit/records?${query}`)).items;
}
