/** Ids that Tollgate mints: each wears its kind, sorts by time of birth and cannot be guessed. */
import { randomFillSync } from "node:crypto";

declare const brand: unique symbol;
type Branded<B extends string> = string & { readonly [brand]: B };

export type CallId = Branded<"CallId">;
export type AgentId = Branded<"AgentId">;
export type GatewayId = Branded<"GatewayId">;
export type ServerName = Branded<"ServerName">;

type Kind = "call" | "agt" | "gw" | "key" | "cred" | "req" | "apr" | "sub";

/** `<kind>_` + 10 characters of milliseconds since the epoch + 16 of randomness (80 bits), Crockford base32. */
export function mintId(kind: "call", nowMs: number): CallId;
export function mintId(kind: "agt", nowMs: number): AgentId;
export function mintId(kind: "gw", nowMs: number): GatewayId;
export function mintId(kind: "key" | "cred" | "req" | "apr" | "sub", nowMs: number): string;
export function mintId(kind: Kind, nowMs: number): string {
  return `${kind}_${timePart(nowMs)}${randomPart()}`;
}

const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";

// Random bytes are drawn 4 KiB at a time: one getrandom call for 256 ids.
const pool = Buffer.alloc(4096);
let poolOffset = pool.length;

function randomPart(): string {
  if (poolOffset + 16 > pool.length) {
    randomFillSync(pool);
    poolOffset = 0;
  }
  let text = "";
  for (let i = 0; i < 16; i++) text += ALPHABET[(pool[poolOffset++] ?? 0) & 31];
  return text;
}

let lastMs = -1;
let lastText = "";

function timePart(nowMs: number): string {
  if (nowMs === lastMs) return lastText;
  let text = "";
  let rest = nowMs;
  for (let i = 0; i < 10; i++) {
    text = ALPHABET[rest % 32] + text;
    rest = Math.floor(rest / 32);
  }
  lastMs = nowMs;
  lastText = text;
  return text;
}
