/** Customers: who pays, what their agents may use at most, and the end of a contract. */
import type { AgentProfile } from "../../call/authenticate/agent.ts";
import { parsePattern } from "../../call/authorize/pattern.ts";
import type { CustomerRow, CustomerState } from "../tables.ts";
import type { Writing } from "../writing.ts";
import { type Customer, iso } from "./profiles.ts";
import type { ActKind, Parts, RegistryFault } from "./registry.ts";
import { revokeWhere } from "./tokens.ts";

export type CustomerBounds = {
  readonly tools?: readonly string[] | null | undefined;
  readonly scopes?: readonly string[] | null | undefined;
  readonly agentsMax?: number | null | undefined;
  readonly owner?: string | null | undefined;
};

export type Customers = {
  createCustomer(key: string, bounds: CustomerBounds, by: string): Promise<Customer | RegistryFault>;
  updateCustomer(key: string, bounds: CustomerBounds, by: string): Promise<Customer | RegistryFault>;
  /** With its agents: those whose calls this has ended or begun again. To end a contract is final. */
  changeCustomer(
    key: string,
    to: CustomerState,
    cause: string | null,
    by: string,
  ): Promise<{ readonly customer: Customer; readonly agents: readonly AgentProfile[] } | RegistryFault>;
};

/** The subject of usage events, and part of the audit: printable, and not long. */
const KEY = /^[A-Za-z0-9][A-Za-z0-9._@:-]{0,127}$/;
const KINDS: Readonly<Record<CustomerState, ActKind>> = {
  active: "customer.reinstated",
  suspended: "customer.suspended",
  ended: "customer.ended",
};

export function customersOf(parts: Parts): Customers {
  const { store, directory, audit } = parts;
  const shown = async (key: string): Promise<Customer> => {
    await directory.catchUp();
    return directory.customer(key) as Customer;
  };
  return {
    async createCustomer(key, bounds, by) {
      if (!KEY.test(key))
        return { fault: "invalid", detail: "key: 1 to 128 of letters, digits, . _ @ : -, beginning with a letter or digit" };
      const wrong = faultOfBounds(bounds);
      if (wrong !== null) return wrong;
      const fault = await store.write(async (writing) => {
        if ((await rowOf(writing, key)) !== undefined) return { fault: "conflict", detail: `there is a customer ${key} already` } as const;
        await insert(parts, writing, key, bounds, by);
        return null;
      });
      return fault ?? (await shown(key));
    },
    async updateCustomer(key, bounds, by) {
      const wrong = faultOfBounds(bounds);
      if (wrong !== null) return wrong;
      const fault = await store.write(async (writing) => {
        if ((await rowOf(writing, key)) === undefined) return absent(key);
        await audit("customer.changed", by, { customer: key, ...detailsOf(bounds) });
        await writing.db.updateTable("customer").set(columnsOf(bounds)).where("key", "=", key).execute();
        await writing.changed("customer", key);
        return null;
      });
      return fault ?? (await shown(key));
    },
    async changeCustomer(key, to, cause, by) {
      const theirs = [...directory.entries()].filter(({ row }) => row.customer === key && row.state === "active");
      const fault = await store.write(async (writing) => {
        const row = await rowOf(writing, key);
        if (row === undefined) return absent(key);
        if (row.state === to) return null;
        if (row.state === "ended") return { fault: "conflict", detail: `the contract of ${key} has ended, which is final` } as const;
        await audit(KINDS[to], by, { customer: key, cause, agents: theirs.length });
        await writing.db.updateTable("customer").set({ state: to }).where("key", "=", key).execute();
        await writing.changed("customer", key);
        // Whoever listens for an agent hears of it by name.
        for (const { row: agent } of theirs) {
          await writing.changed("agent", agent.id);
          // As when the agent itself is stopped: what others have derived from its tokens ends.
          if (to !== "active")
            await revokeWhere(writing, { own: parts.issuer, nowMs: parts.now() }, "agent_id", agent.id, to === "suspended");
        }
        return null;
      });
      if (fault !== null) return fault;
      const customer = await shown(key);
      return { customer, agents: theirs.flatMap(({ row }) => directory.byId(row.id) ?? []) };
    },
  };
}

/** A policy or an administrator may name a customer that nobody has described yet: it is made, without bounds. Null: there is room for one more agent. */
export async function ensureCustomer(parts: Parts, writing: Writing, key: string, by: string): Promise<RegistryFault | null> {
  const fault = await faultOfCustomer(writing, key, 1);
  if (fault === null && (await rowOf(writing, key)) === undefined) await insert(parts, writing, key, {}, by);
  return fault;
}

/** Null: the account is open, or may be opened, and has room for `more` agents. */
export async function faultOfCustomer(writing: Writing, key: string, more: number): Promise<RegistryFault | null> {
  const row = await rowOf(writing, key);
  if (row === undefined && !KEY.test(key)) return { fault: "invalid", detail: "customer: 1 to 128 of letters, digits, . _ @ : -" };
  if (row?.state === "ended") return { fault: "conflict", detail: `the contract of ${key} has ended` };
  if (row?.agents_max == null) return null;
  const { count } = await writing.db
    .selectFrom("agent")
    .select(({ fn }) => fn.countAll<number>().as("count"))
    .where("customer", "=", key)
    .where("state", "<>", "revoked")
    .executeTakeFirstOrThrow();
  const free = row.agents_max - Number(count);
  if (free >= more) return null;
  const left = more === 1 ? "" : `: ${Math.max(0, free)} more, not ${more}`;
  return { fault: "conflict", detail: `the customer ${key} has all of its ${row.agents_max} agents${left}` };
}

async function insert({ audit, now }: Parts, writing: Writing, key: string, bounds: CustomerBounds, by: string): Promise<void> {
  await audit("customer.created", by, { customer: key, ...detailsOf(bounds) });
  const row = { key, state: "active", tools: null, scopes: null, agents_max: null, owner: null, ...columnsOf(bounds) } as const;
  await writing.db
    .insertInto("customer")
    .values({ ...row, created_at: iso(now()), created_by: by })
    .execute();
  await writing.changed("customer", key);
}

async function rowOf({ db }: Writing, key: string): Promise<CustomerRow | undefined> {
  return await db.selectFrom("customer").selectAll().where("key", "=", key).executeTakeFirst();
}

/** RFC 6749 section 3.3. */
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]{1,255}$/;

/** A bound that says nothing would be a bound that forbids everything: told at once, not at the next call. */
function faultOfBounds({ tools, scopes, agentsMax }: CustomerBounds): RegistryFault | null {
  for (const written of tools ?? []) {
    const pattern = parsePattern(written);
    if ("problem" in pattern) return { fault: "invalid", detail: `tools: ${pattern.problem}` };
  }
  const wrong = scopes?.find((scope) => !SCOPE.test(scope));
  if (wrong !== undefined) return { fault: "invalid", detail: `scopes: ${JSON.stringify(wrong)} is not a scope (RFC 6749 section 3.3)` };
  if (agentsMax != null && !(Number.isSafeInteger(agentsMax) && agentsMax >= 0))
    return { fault: "invalid", detail: "agents_max: a whole number from 0" };
  return null;
}

function absent(key: string): RegistryFault {
  return { fault: "absent", detail: `there is no customer ${key}` };
}

/** Only what was said. */
function columnsOf({ tools, scopes, agentsMax, owner }: CustomerBounds): Partial<CustomerRow> {
  const json = (list: readonly string[] | null | undefined) => (list == null ? list : JSON.stringify(list));
  const columns = { tools: json(tools), scopes: json(scopes), agents_max: agentsMax, owner };
  return Object.fromEntries(Object.entries(columns).filter(([, value]) => value !== undefined));
}

function detailsOf(bounds: CustomerBounds): Record<string, string | number | null> {
  return columnsOf(bounds) as Record<string, string | number | null>;
}
