/** The registry: who may call, with which credentials, in whose account. Every change is recorded before it takes effect. */
import type { AgentProfile } from "../../call/authenticate/agent.ts";
import { agreedNowMs } from "../shared-clock.ts";
import type { ControlStore } from "../store.ts";
import { type AgentLife, agentLife } from "./agent-life.ts";
import { type Credentials, credentialsOf } from "./credentials.ts";
import { type Customers, customersOf } from "./customers.ts";
import { type Declare, declareAgents } from "./declare.ts";
import { CHANGES_KEPT_MS, type Directory, openDirectory, REMEMBERED_MS } from "./directory.ts";
import { type Forget, forgetOf } from "./forget.ts";
import { type Imports, importsOf } from "./import.ts";
import { type Tokens, tokensOf } from "./tokens.ts";

/** `conflict`: it is so already, or another was first. `invalid`: something is wrong with what was asked. `absent`: there is no such thing. */
export type RegistryFault = { readonly fault: "conflict" | "invalid" | "absent"; readonly detail: string };

export type ActKind =
  | "agent.created"
  | "agent.declared"
  | "agent.changed"
  | "agent.suspended"
  | "agent.reinstated"
  | "agent.revoked"
  | "credential.issued"
  | "credential.retired"
  | "credential.revoked"
  | "credential.overlap_used"
  | "customer.created"
  | "customer.changed"
  | "customer.suspended"
  | "customer.reinstated"
  | "customer.ended"
  | "token.revoked";

export type Audit = (kind: ActKind, by: string, details: Readonly<Record<string, string | number | null>>) => Promise<void>;

export type RegistryOptions = {
  readonly store: ControlStore;
  readonly audit: Audit;
  readonly now: () => number;
  /** Our own, as `iss` of our tokens has it. */
  readonly issuer: string;
  /** Where other gateways write too: how long this one may decide without having heard from them, milliseconds. */
  readonly staleAfterMs?: number;
};

export type Parts = RegistryOptions & { readonly directory: Directory };

export type Registry = Directory &
  AgentLife &
  Credentials &
  Customers &
  Forget &
  Imports &
  Tokens & {
    all(): readonly AgentProfile[];
    find(idOrName: string): AgentProfile | undefined;
    isDeclared(id: string): boolean;
    declare: Declare;
    /** True where nothing may be decided: what other gateways have changed has not been heard of for too long. */
    isStale(): boolean;
    /** Deletes what has ended and can no longer matter; done now and then by itself. */
    sweep(): Promise<void>;
    close(): Promise<void>;
  };

/** Where others write too: asked this often, in case a notice was lost. */
const ASK_MS = 300;
const SWEEP_MS = 600_000;

export async function openRegistry(options: RegistryOptions): Promise<Registry> {
  const { store, now, staleAfterMs = Number.POSITIVE_INFINITY } = options;
  const directory = await openDirectory(store, now);
  const parts: Parts = { ...options, directory };
  const catchUp = () => directory.catchUp().catch(() => {});
  const timers = [setInterval(() => void sweep(parts).catch(() => {}), SWEEP_MS).unref()];
  if (store.shared) {
    timers.push(setInterval(catchUp, ASK_MS).unref());
    await store.onNotice(catchUp);
  }
  return {
    ...directory,
    ...agentLife(parts),
    ...credentialsOf(parts),
    ...customersOf(parts),
    ...forgetOf(parts),
    ...importsOf(parts),
    ...tokensOf(parts),
    all: () => [...directory.entries()].map(({ profile }) => profile),
    find: (idOrName) => directory.entry(idOrName)?.profile,
    isDeclared: (id) => directory.entry(id)?.row.declared === 1,
    declare: declareAgents(parts),
    isStale: () => store.shared && now() - directory.heardAtMs() > staleAfterMs,
    sweep: () => sweep(parts),
    async close() {
      for (const timer of timers) clearInterval(timer);
      await store.close();
    },
  };
}

/** What is gone counts again: a revoked token, an assertion that may be used once. So it goes only when its time is over for all gateways. */
async function sweep({ store, now }: Parts): Promise<void> {
  const nowMs = await agreedNowMs(store, now);
  await store.db
    .deleteFrom("revoked_token")
    .where("expires_ms", "<", nowMs - REMEMBERED_MS)
    .execute();
  await store.db
    .deleteFrom("issued_token")
    .where("expires_ms", "<", nowMs - CHANGES_KEPT_MS)
    .execute();
  await store.db
    .deleteFrom("sub_budget")
    .where("state", "=", "returned")
    .where("expires_ms", "<", nowMs - CHANGES_KEPT_MS)
    .execute();
  await store.db.deleteFrom("oauth_item").where("expires_ms", "<", nowMs).execute();
  await store.db
    .deleteFrom("change")
    .where("at_ms", "<", nowMs - CHANGES_KEPT_MS)
    .execute();
}
