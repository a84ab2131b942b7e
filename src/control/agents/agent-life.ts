/** The life of an agent: created or seen first, changed, suspended, reinstated, and revoked for good. */
import type { AgentProfile } from "../../call/authenticate/agent.ts";
import { type AgentId, mintId } from "../../ids.ts";
import type { AgentRow } from "../tables.ts";
import type { Writing } from "../writing.ts";
import {
  type AgentAttributes,
  absent,
  columnsOf,
  declaredFault,
  detailsOf,
  faultOf,
  faultOfName,
  find,
  newRow,
  onlyDeclared,
  rowByName,
  takenFault,
} from "./agent-row.ts";
import { type CredentialSpec, endCredentials, insertCredential } from "./credentials.ts";
import { ensureCustomer } from "./customers.ts";
import type { ActKind, Parts, RegistryFault } from "./registry.ts";
import { revokeWhere } from "./tokens.ts";

export type NewAgent = AgentAttributes & { readonly name: string; readonly credential?: CredentialSpec | undefined };

/** The secret is null where the agent has keys of its own; otherwise this is the only time it is shown. */
export type Issued = { readonly profile: AgentProfile; readonly credentialId: string; readonly secret: string | null };

export type LifeEvent = "suspend" | "reinstate" | "revoke";

export type AgentLife = {
  /** Registers an agent with its first credential, or issues the first one of a declared agent. */
  create(agent: NewAgent, by: string): Promise<Issued | RegistryFault>;
  update(idOrName: string, to: AgentAttributes & { readonly name?: string | undefined }, by: string): Promise<AgentProfile | RegistryFault>;
  /** To suspend what is suspended is no fault: what was asked for is so. `cause` stands in the record. */
  changeState(idOrName: string, event: LifeEvent, cause: string | null, by: string): Promise<AgentProfile | RegistryFault>;
  /** All agents of an owner, when that person leaves, in one account or in all: the ones that were suspended. */
  offboard(owner: string, cause: string | null, by: string, customer?: string | null): Promise<readonly AgentProfile[]>;
  /** An external identity that a rule of the configuration registers at first sight. */
  sighted(issuer: string, name: string, attributes: AgentAttributes): Promise<AgentProfile | RegistryFault>;
};

const EVENTS: Readonly<Record<LifeEvent, { to: AgentRow["state"]; from: readonly AgentRow["state"][]; kind: ActKind }>> = {
  suspend: { to: "suspended", from: ["active"], kind: "agent.suspended" },
  reinstate: { to: "active", from: ["suspended"], kind: "agent.reinstated" },
  revoke: { to: "revoked", from: ["active", "suspended"], kind: "agent.revoked" },
};

export function agentLife(parts: Parts): AgentLife {
  const { store, directory, audit, now } = parts;
  const profileOf = (id: string) => directory.byId(id) as AgentProfile;

  async function create(agent: NewAgent, by: string): Promise<Issued | RegistryFault> {
    const fault = faultOfName(agent.name) ?? faultOf(agent);
    if (fault !== null) return { fault: "invalid", detail: fault };
    const made = await store
      .write(async (writing) => {
        const known = await rowByName(writing, agent.name);
        if (known !== undefined) return await firstCredential(writing, known, agent, by);
        const taken = await takenFault(writing, agent.name, null);
        if (taken !== null) return taken;
        const room = await ensureCustomer(parts, writing, agent.customer ?? "default", by);
        if (room !== null) return room;
        const row = newRow(agent, mintId("agt", now()), directory.customer(agent.customer ?? "default")?.owner ?? null, by, now());
        await audit("agent.created", by, detailsOf(row));
        await writing.db.insertInto("agent").values(row).execute();
        await writing.changed("agent", row.id);
        const issued = await insertCredential(parts, writing, row, agent.credential ?? { kind: "secret" }, by);
        return "fault" in issued ? Promise.reject(new InvalidCredential(issued)) : { id: row.id, ...issued };
      })
      .catch(unlessInvalid);
    return await shown(made);
  }

  async function firstCredential(writing: Writing, known: AgentRow, agent: NewAgent, by: string) {
    if (known.declared === 0) return { fault: "conflict", detail: `an agent is named ${agent.name} already` } as const;
    const fault = onlyDeclared(agent, known);
    if (fault !== null) return fault;
    if (known.state !== "active") return { fault: "conflict", detail: `${known.name} is ${known.state}` } as const;
    const has = await writing.db.selectFrom("credential").select("id").where("agent_id", "=", known.id).executeTakeFirst();
    if (has !== undefined) return { fault: "conflict", detail: `${known.name} has a credential already: rotate it instead` } as const;
    const issued = await insertCredential(parts, writing, known, agent.credential ?? { kind: "secret" }, by);
    return "fault" in issued ? issued : { id: known.id, ...issued };
  }

  async function shown(made: RegistryFault | { id: string; credentialId: string; secret: string | null }): Promise<Issued | RegistryFault> {
    if ("fault" in made) return made;
    await directory.catchUp();
    return { profile: profileOf(made.id), credentialId: made.credentialId, secret: made.secret };
  }

  const changeState: AgentLife["changeState"] = async (idOrName, event, cause, by) => {
    const answer = await store.write(async (writing) => {
      const row = await find(writing, idOrName);
      if (row === undefined) return absent(idOrName);
      const { to, from, kind } = EVENTS[event];
      if (row.state === to) return { id: row.id };
      if (!from.includes(row.state))
        return { fault: "conflict", detail: `${row.name} is revoked, which is final: register a new agent` } as const;
      await audit(kind, by, { ...detailsOf(row), cause });
      await writing.db.updateTable("agent").set({ state: to, state_cause: cause }).where("id", "=", row.id).execute();
      await writing.changed("agent", row.id);
      // Its own tokens may count again some day; what others have derived from them is made anew then.
      const tokens = { own: parts.issuer, nowMs: now() };
      if (to !== "active") await revokeWhere(writing, tokens, "agent_id", row.id, to === "suspended");
      return { id: row.id };
    });
    if ("fault" in answer) return answer;
    await directory.catchUp();
    return profileOf(answer.id);
  };

  return {
    create,
    changeState,
    async update(idOrName, to, by) {
      const fault = (to.name === undefined ? null : faultOfName(to.name)) ?? faultOf(to);
      if (fault !== null) return { fault: "invalid", detail: fault };
      const answer = await store.write(async (writing) => {
        const row = await find(writing, idOrName);
        if (row === undefined) return absent(idOrName);
        if (row.declared === 1) return declaredFault(row.name);
        const taken = to.name === undefined ? null : await takenFault(writing, to.name, row.id);
        if (taken !== null) return taken;
        const room =
          to.customer === undefined || to.customer === row.customer ? null : await ensureCustomer(parts, writing, to.customer, by);
        if (room !== null) return room;
        const after: AgentRow = { ...row, ...columnsOf(to) };
        await audit("agent.changed", by, { ...detailsOf(after), was: JSON.stringify(detailsOf(row)) });
        await writing.db.updateTable("agent").set(columnsOf(to)).where("id", "=", row.id).execute();
        if (after.name !== row.name) await rememberName(writing, row);
        if (after.customer !== row.customer) await endCredentials(parts, writing, row.id);
        await writing.changed("agent", row.id);
        return { id: row.id };
      });
      if ("fault" in answer) return answer;
      await directory.catchUp();
      return profileOf(answer.id);
    },
    async offboard(owner, cause, by, customer = null) {
      const theirs = [...directory.entries()].filter(
        ({ row }) => row.owner === owner && row.state === "active" && (customer === null || row.customer === customer),
      );
      const cut: AgentProfile[] = [];
      for (const { row } of theirs) {
        const answer = await changeState(row.id, "suspend", cause, by);
        if (!("fault" in answer)) cut.push(answer);
      }
      return cut;
    },
    async sighted(issuer, name, attributes) {
      const fault = faultOf(attributes);
      if (fault !== null) return { fault: "invalid", detail: fault };
      const by = "first sight";
      const answer = await store.write(async (writing) => {
        const known = await writing.db
          .selectFrom("agent")
          .selectAll()
          .where("issuer", "=", issuer)
          .where("issuer_name", "=", name)
          .executeTakeFirst();
        if (known !== undefined) return { id: known.id };
        const room = await ensureCustomer(parts, writing, attributes.customer ?? "default", by);
        if (room !== null) return room;
        const id = mintId("agt", now());
        const own = nameFor(name, (await takenFault(writing, nameFor(name, null), null)) === null ? null : id);
        const row: AgentRow = { ...newRow({ ...attributes, name: own }, id, null, by, now()), issuer, issuer_name: name };
        await audit("agent.created", by, { ...detailsOf(row), issuer, issuer_name: name });
        await writing.db.insertInto("agent").values(row).execute();
        await writing.changed("agent", id);
        return { id };
      });
      if ("fault" in answer) return answer;
      await directory.catchUp();
      return profileOf(answer.id);
    },
  };
}

async function rememberName({ db }: Writing, { id, name }: AgentRow): Promise<void> {
  await db
    .insertInto("former_name")
    .values({ name, agent_id: id })
    .onConflict((conflict) => conflict.column("name").doNothing())
    .execute();
}

/** Rolls the transaction back: an agent without the credential that was asked for is not made. */
class InvalidCredential extends Error {
  readonly answer: RegistryFault;
  constructor(answer: RegistryFault) {
    super(answer.detail);
    this.answer = answer;
  }
}

function unlessInvalid(fault: unknown): RegistryFault {
  if (fault instanceof InvalidCredential) return fault.answer;
  throw fault;
}

/** A name as policies may write it, from whatever an issuer says; where it is taken, the id's own part makes it another. */
function nameFor(issuerName: string, taken: AgentId | null): string {
  const plain =
    issuerName
      .replace(/[^A-Za-z0-9._@-]+/g, "-")
      .replace(/^(?:[^A-Za-z0-9]+|agt_)+/, "")
      .slice(0, 100) || "agent";
  return taken === null ? plain : `${plain}-${taken.slice(-8)}`;
}
