/** Pure. A token from outside whose signature, times and audience hold; whether its agent may call is asked elsewhere. */
import type { Refusal } from "../../refusal.ts";
import type { AgentProfile } from "./agent.ts";

export type VerifiedToken = {
  /** Our own, or that of a trusted external issuer. */
  readonly issuer: string;
  readonly own: boolean;
  readonly sub: string;
  /** What the issuer's claim says of the agent: its id or its name; null: a token of a user, say. */
  readonly agentName: string | null;
  /** The agent itself, registered at this sight where a rule says so; null where there is none. */
  readonly profile: AgentProfile | null;
  /** Whom the agent acts for, where the token says so. */
  readonly subject: string | null;
  /** One name for one person, as of a caller. */
  readonly person: string | null;
  /** RFC 8693 `act`, outermost first. */
  readonly actors: readonly string[];
  readonly scopes: ReadonlySet<string>;
  readonly roles: readonly string[];
  readonly instance: string | null;
  readonly workflow: string | null;
  readonly clientId: string | null;
  readonly tokenId: string | null;
  readonly audience: string;
  readonly expiresAtMs: number;
  /** All claims, for what is not read above: `may_act`. */
  readonly claims: Readonly<Record<string, unknown>>;
};

/**
 * `audiences`: the token must be for one of them, or for what the issuer's entry in the configuration says.
 * `use`: an access token, or an assertion (RFC 7523, RFC 8693 `jwt`), which may have another `typ`.
 */
export type VerifyToken = (
  text: string,
  expected: { readonly audiences: readonly string[]; readonly use: "access" | "assertion" },
  nowMs: number,
) => Promise<VerifiedToken | Refusal>;
