/** Tokens as the providers' documentation shows them: each is read under its profile, and what only looks like it is refused. */
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { describe, expect, test } from "vitest";
import { createAuthenticator } from "../../src/call/authenticate/authenticate.ts";
import { PROFILE_NAMES, type ProfileName } from "../../src/call/authenticate/profiles.ts";
import { loadConfig } from "../../src/config-load.ts";
import type { AgentId, ServerName } from "../../src/ids.ts";
import { issuersOf } from "../../src/issuers.ts";
import { isRefusal } from "../../src/refusal.ts";
import { directoryOf, profile as profileOf } from "./issuer.ts";

type Change = {
  readonly why: string;
  readonly header?: object;
  readonly claims?: Record<string, unknown>;
  readonly lifetimeSeconds?: number;
};
type Shape = {
  readonly profile: ProfileName;
  readonly issuer: string;
  readonly audience?: string;
  readonly clients?: string[];
  /** The name that the token gives its agent; `triage-bot` where it is not said. */
  readonly agent?: string;
  readonly header: { readonly typ: string | null };
  readonly claims: Record<string, unknown>;
  readonly lifetimeSeconds: number;
  readonly expect: Record<string, unknown> & { readonly scopes: string[] };
  readonly refused: readonly Change[];
};

const FOLDER = join(import.meta.dirname, "shapes");
const shapes = readdirSync(FOLDER).map(
  (file) => [file.replace(".json", ""), JSON.parse(readFileSync(join(FOLDER, file), "utf8")) as Shape] as const,
);
const { privateKey, publicKey } = await generateKeyPair("RS256");
const jwks = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: "k", alg: "RS256", use: "sig" }] });
const NOW_MS = Date.now();

/** Through the configuration, as an operator writes it: the profile alone decides how the token is read. */
function authenticatorOf({ profile, issuer, audience, clients, agent }: Shape) {
  const folder = mkdtempSync(join(tmpdir(), "tollgate-shape-"));
  writeFileSync(join(folder, "jwks.json"), jwks);
  const entry = { issuer, profile, audience, clients, jwks: "file:jwks.json" };
  const file = join(folder, "tollgate.yaml");
  writeFileSync(file, JSON.stringify({ apiVersion: "tollgate/v1", issuers: [entry], servers: { up: { url: "https://up.example/mcp" } } }));
  const loaded = loadConfig(file, {});
  if ("problems" in loaded) throw new Error(loaded.problems.map(({ message }) => message).join("\n"));
  const known = profileOf({ name: agent ?? "triage-bot", id: "agt_bot" as AgentId, issuer: null });
  const directory = { ...directoryOf(known), byName: (name: string) => (name === known.name ? known : undefined) };
  return createAuthenticator({ publicUrl: loaded.config.publicUrl, issuers: issuersOf(loaded.config, []), directory, fetch });
}

async function ask(shape: Shape, change: Omit<Change, "why"> = {}) {
  const iat = Math.floor(NOW_MS / 1000);
  const exp = iat + (change.lifetimeSeconds ?? shape.lifetimeSeconds);
  const claims = Object.fromEntries(
    Object.entries({ iat, nbf: iat, exp, ...shape.claims, ...change.claims }).filter(([, value]) => value !== null),
  );
  const { typ } = { ...shape.header, ...change.header };
  const token = await new SignJWT(claims).setProtectedHeader({ alg: "RS256", kid: "k", ...(typ === null ? {} : { typ }) }).sign(privateKey);
  return await authenticatorOf(shape).authenticate(`Bearer ${token}`, "up" as ServerName, NOW_MS);
}

test("every profile has a shape", () => {
  expect(new Set(shapes.map(([, { profile }]) => profile))).toEqual(new Set(PROFILE_NAMES));
});

describe.each(shapes)("%s", (_, shape) => {
  test("is read as it is meant", async () => {
    const agent = await ask(shape);
    if (isRefusal(agent)) throw new Error(`${agent.refused}: ${agent.note}`);
    const { subject, scopes, roles, clientId, tokenId, instance } = agent;
    expect({ subject, scopes: [...scopes], roles, clientId, tokenId, instance }).toEqual(shape.expect);
  });

  if (shape.refused.length > 0) {
    test.each(shape.refused.map((change) => [change.why, change] as const))("is refused: %s", async (_why, change) => {
      expect(await ask(shape, change)).toMatchObject({ refused: "credential_invalid" });
    });
  }
});
