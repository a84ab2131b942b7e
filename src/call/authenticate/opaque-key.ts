/** Pure. An opaque key: found in the directory by its digest, so that it ends the moment it is revoked. */
import { hash } from "node:crypto";
import type { ServerName } from "../../ids.ts";
import type { Refusal } from "../../refusal.ts";
import { AccessToken, type Agent, type AgentDirectory, type OpaqueKey } from "./agent.ts";
import { scopesWithin } from "./scopes-within.ts";
import { invalid } from "./trusted-issuer.ts";

const PREFIX = /^tg_(live|test)_/;
/** 256 random bits in base64url. */
const FORM = /^tg_(live|test)_[A-Za-z0-9_-]{43}$/;

const UNKNOWN = invalid("the key is none of ours, or was revoked");
const EXPIRED = invalid("the key has expired");
const OTHER_ROUTE = invalid("the key is not for this route");

/** A JWT never begins so: its first part is the base64url of a brace. */
export function isOpaqueKey(credential: string): boolean {
  return PREFIX.test(credential);
}

/** The agent is the same object while the directory's entry is: what others keep by it stays kept. Its state is not judged here. */
export function opaqueKeys(directory: AgentDirectory, issuer: string) {
  const agents = new WeakMap<OpaqueKey, Agent>();
  return (text: string, server: ServerName | null, nowMs: number): Agent | Refusal => {
    if (!FORM.test(text)) return UNKNOWN;
    const key = directory.byKey(hash("sha256", text, "base64"));
    if (key === undefined) return UNKNOWN;
    if (nowMs >= key.expiresAtMs) return EXPIRED;
    if (server !== null && key.servers !== null && !key.servers.has(server)) return OTHER_ROUTE;
    const known = agents.get(key);
    if (known !== undefined) return known;
    const agent = agentOf(key, text, issuer);
    agents.set(key, agent);
    return agent;
  };
}

function agentOf({ id, profile, scopes, expiresAtMs, environment }: OpaqueKey, text: string, issuer: string): Agent {
  return {
    profile,
    instance: null,
    subject: null,
    person: null,
    actors: [],
    roles: [],
    scopes: scopesWithin(new Set(["mcp", ...scopes]), profile.account.scopes),
    issuer,
    clientId: profile.id,
    tokenId: id,
    expiresAtMs,
    claims: {},
    environment,
    principal: hash("sha256", JSON.stringify([issuer, null, profile.id, profile.name, null]), "base64url"),
    accessToken: new AccessToken(text),
  };
}
