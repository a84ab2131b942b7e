/** Pure. Who calls, from verified claims and the registry only: never from a session id, a header or an address. */
import type { AgentId } from "../../ids.ts";

export type AgentKind = "autonomous" | "service" | "fleet" | "collective" | "synthetic" | "human-driven";
export type AgentState = "active" | "suspended" | "revoked";
export type RiskClass = "minimal" | "limited" | "high" | "unclassified";

/** What the registry knows of an agent, whatever credential it shows. */
export type AgentProfile = {
  readonly id: AgentId;
  readonly name: string;
  readonly kind: AgentKind;
  readonly state: AgentState;
  readonly customer: string;
  readonly team: string | null;
  readonly workflow: string | null;
  readonly owner: string;
  readonly purpose: string;
  readonly riskClass: RiskClass;
  /** The only external issuer whose tokens may name it: it was registered at the first sight of one. Null: any that the operator trusts. */
  readonly issuer: string | null;
  readonly account: Account;
};

/** What a customer's account allows its agents at most, whatever policies and credentials say; null: no bound of its own. */
export type Account = { readonly tools: readonly string[] | null; readonly scopes: readonly string[] | null };

/** An opaque key (`tg_live_...`, `tg_test_...`) as the registry knows it; its text is nowhere. */
export type OpaqueKey = {
  /** The credential's id: it stands in records as the token's id. */
  readonly id: string;
  readonly profile: AgentProfile;
  readonly scopes: ReadonlySet<string>;
  /** Names of servers and views, `""` for `/mcp`; null: every route. */
  readonly servers: ReadonlySet<string> | null;
  /** Milliseconds since the epoch. */
  readonly expiresAtMs: number;
  readonly environment: "live" | "test";
};

/** A part of somebody's budget that was set aside for one token. */
export type SubBudget = {
  /** What its counter is named: `delegated:sub_...`. */
  readonly budget: string;
  readonly meter: string;
  /** Whole units of the meter. */
  readonly limit: number;
  /** Counters that it was taken from, directly or by way of others: what it pays for does not count there again. By `counterKey`. */
  readonly takenFrom: ReadonlySet<string>;
  /** Asked at each use: false once its token has ended, and where another gateway counts it. */
  readonly isOpen: boolean;
};

/** A verified caller: the agent and the token that proved it. */
export type Agent = {
  readonly profile: AgentProfile;
  readonly instance: string | null;
  /** The end user on whose behalf it acts, when the token names one beside the agent. */
  readonly subject: string | null;
  /** One name for one person: the subject, with its issuer where that is not our own, since two issuers may know two people by one name. */
  readonly person: string | null;
  /** RFC 8693 `act` chain, outermost first; only the outermost counts for decisions. */
  readonly actors: readonly string[];
  readonly roles: readonly string[];
  readonly scopes: ReadonlySet<string>;
  readonly issuer: string;
  readonly clientId: string | null;
  /** `jti`, or null where the issuer gives none; of an opaque key its credential's id. Never the token's text: one ES256 token has 16 verifying spellings. */
  readonly tokenId: string | null;
  readonly expiresAtMs: number;
  /** All claims of the verified token; empty for an opaque key. */
  readonly claims: Readonly<Record<string, unknown>>;
  /** `test` where an opaque key for tests was shown: recorded as such. */
  readonly environment: "live" | "test";
  /** Stable key of (issuer, subject, client, name of the agent, instance): sessions, cursors and per-principal caches are bound to it. */
  readonly principal: string;
  /** What its token may use of other agents' budgets; absent: nothing was set aside for it. */
  readonly subBudgets?: readonly SubBudget[];
  /** The presented token, kept only for an RFC 8693 exchange with its own issuer; redacts itself when printed. */
  readonly accessToken: AccessToken;
};

/** A credential that prints as `[redacted]`; `reveal()` is the only way to its text. */
export class AccessToken {
  readonly #text: string;
  constructor(text: string) {
    this.#text = text;
  }
  reveal(): string {
    return this.#text;
  }
  toString(): string {
    return "[redacted]";
  }
  toJSON(): string {
    return "[redacted]";
  }
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return "[redacted]";
  }
}

/** The registry as the data plane sees it: a look-up in memory. */
export type AgentDirectory = {
  byId(id: string): AgentProfile | undefined;
  /** By name within a customer; external identities are mapped by name or id. */
  byName(name: string): AgentProfile | undefined;
  /** An agent that was registered at the first sight of an external issuer's token, by the name that its claim gives. */
  byIdentity(issuer: string, name: string): AgentProfile | undefined;
  /** By the SHA-256 of the key's text, base64. */
  byKey(digest: string): OpaqueKey | undefined;
  /** True where a revocation has ended the token before its time. */
  isRevoked(issuer: string, tokenId: string): boolean;
};
