/** Pure. A token request after its client is known: its parameters as texts, and the route and scopes that it may have. */
import type { AgentProfile } from "../../call/authenticate/agent.ts";
import { isCleanText } from "../../call/authenticate/claims.ts";
import type { CredentialRow } from "../tables.ts";
import { GrantRefused } from "./grant-refused.ts";

/** Who asks: an agent by its own credential, or null where only what it presents says who it is. */
export type GrantClient = { readonly profile: AgentProfile; readonly credential: CredentialRow | null };

export type Parameters = Readonly<Record<string, string | undefined>>;

export const GRANTS = {
  clientCredentials: "client_credentials",
  jwtBearer: "urn:ietf:params:oauth:grant-type:jwt-bearer",
  tokenExchange: "urn:ietf:params:oauth:grant-type:token-exchange",
} as const;

/** By grant: what is read beside `grant_type` and the client's own authentication; anything else is left alone, as RFC 6749 section 3.2 says. */
const COMMON = ["resource", "scope", "instance", "workflow", "authorization_details"];
export const PARAMETERS: Readonly<Record<string, readonly string[]>> = {
  [GRANTS.clientCredentials]: COMMON,
  [GRANTS.jwtBearer]: [...COMMON, "assertion"],
  [GRANTS.tokenExchange]: [
    ...COMMON,
    "audience",
    "requested_token_type",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
  ],
};

/** A parameter that comes twice has no value that both sides would agree on; a second resource is a second audience. */
export function parametersOf(params: Readonly<Record<string, unknown>>, grant: string): Parameters {
  const found: Record<string, string> = {};
  for (const name of PARAMETERS[grant] ?? []) {
    const value = params[name];
    if (value === undefined || value === "") continue;
    if (typeof value !== "string") {
      throw name === "resource" || name === "audience"
        ? new GrantRefused("invalid_target", "a token is for one route of this gateway")
        : new GrantRefused("invalid_request", `${name} comes more than once`);
    }
    found[name] = value;
  }
  return found;
}

/** RFC 8707: exactly a route's URL, byte for byte; `audience` (RFC 8693) may say the same. */
export function audienceOf({ resource, audience }: Parameters, publicUrl: string): string {
  if (resource !== undefined && audience !== undefined && resource !== audience)
    throw new GrantRefused("invalid_target", "resource and audience differ: a token is for one route of this gateway");
  const wanted = resource ?? audience ?? `${publicUrl}/mcp`;
  const path = wanted.startsWith(`${publicUrl}/mcp`) ? wanted.slice(publicUrl.length) : "";
  if (!/^\/mcp(\/[a-z0-9-]{1,32})?$(?!\n)/.test(path))
    throw new GrantRefused("invalid_target", "resource must be the URL of a route of this gateway");
  return wanted;
}

/** `mcp` belongs to every token; without `scope` that alone is issued. */
export function wantedScopes({ scope }: Parameters): ReadonlySet<string> | null {
  return scope === undefined ? null : new Set(["mcp", ...scope.split(" ").filter(Boolean)]);
}

/** Whoever asks for a bound must not believe to have it. */
export function refuseDetails({ authorization_details }: Parameters): void {
  if (authorization_details !== undefined)
    throw new GrantRefused("invalid_authorization_details", "a part of a budget is set aside by a token exchange only");
}

/** What goes into the token beside: which copy of a fleet asks, and for which workflow. */
export function marksOf({ instance, workflow }: Parameters): { readonly instance: string | null; readonly workflow: string | null } {
  for (const [name, value] of Object.entries({ instance, workflow })) {
    if (value !== undefined && !isCleanText(value))
      throw new GrantRefused("invalid_request", `${name} is not a plain text of at most 255 bytes`);
  }
  return { instance: instance ?? null, workflow: workflow ?? null };
}
