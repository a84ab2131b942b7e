/** What kind of credential a command asks for, and how it is shown. */
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { EXIT, Exit } from "./io.ts";

export type CredentialOptions = {
  readonly jwks?: string;
  readonly jwksUri?: string;
  readonly apiKey?: string;
  readonly scope?: string[];
  readonly server?: string[];
  readonly expiresIn?: string;
};

export type IssuedJson = {
  readonly id: string;
  readonly name: string;
  readonly client_id: string;
  readonly credential_id?: string;
  readonly client_secret?: string;
  readonly api_key?: string;
};

export function withCredentialOptions(command: Command): Command {
  return command
    .option("--jwks <file>", "public keys (a JWK Set) for private_key_jwt instead of a secret")
    .option("--jwks-uri <url>", "where its public keys are, instead of a secret")
    .option("--api-key <environment>", "an opaque key, live or test, instead of a secret")
    .option("--scope <scopes...>", "the only scopes it may have")
    .option("--server <servers...>", "the only servers and views an opaque key is good for")
    .option("--expires-in <time>", "when it ends by itself: 90d");
}

/** As the admin API takes it; undefined: nothing was said. */
export function credentialBody(options: CredentialOptions): Record<string, unknown> | undefined {
  const { jwks, jwksUri, apiKey, scope, server, expiresIn } = options;
  if ([jwks, jwksUri, apiKey].filter((each) => each !== undefined).length > 1)
    throw new Exit(EXIT.usage, "--jwks, --jwks-uri and --api-key: one of them");
  if (apiKey !== undefined && apiKey !== "live" && apiKey !== "test")
    throw new Exit(EXIT.usage, `--api-key ${apiKey}: there is live, test`);
  const bounds = { scopes: scope, servers: server, expires_in: expiresIn };
  if (jwks !== undefined) return { kind: "jwks", jwks: readJwks(jwks), ...bounds };
  if (jwksUri !== undefined) return { kind: "jwks_uri", jwks_uri: jwksUri, ...bounds };
  if (apiKey !== undefined) return { kind: "api_key", environment: apiKey, ...bounds };
  return Object.values(bounds).some((bound) => bound !== undefined) ? { kind: "secret", ...bounds } : undefined;
}

export function issuedText(made: IssuedJson): string {
  const head = `agent          ${made.name}\nclient_id      ${made.client_id}\n`;
  if (made.client_secret !== undefined)
    return `${head}client_secret  ${made.client_secret}\nThe secret is shown this once; only its hash is kept.`;
  if (made.api_key !== undefined) return `${head}api_key        ${made.api_key}\nThe key is shown this once; only its hash is kept.`;
  return `${head}authenticates with its own key (private_key_jwt)`;
}

function readJwks(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    // What the parser would say repeats a piece of the file, which may be a private key.
    throw new Exit(EXIT.usage, `${file} is not a readable JWK Set`);
  }
}
