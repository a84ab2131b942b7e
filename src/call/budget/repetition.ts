/** Pure. What makes two calls the same: the tool and its arguments as values, however their JSON is written. */
import { createHash } from "node:crypto";
import type { McpRequest } from "../accept/request.ts";

type Repeatable = Pick<McpRequest, "server" | "method" | "target" | "argumentsSpan" | "body">;

/** Null: it calls no tool. */
export function fingerprintOf({ server, method, target, argumentsSpan, body }: Repeatable): string | null {
  if (method !== "tools/call" || target?.kind !== "tool") return null;
  const written = argumentsSpan === null ? "{}" : body.toString("utf8", argumentsSpan.start, argumentsSpan.end);
  return createHash("sha256")
    .update(JSON.stringify([server, target.name]))
    .update(canonical(parsed(written)))
    .digest("base64");
}

/** An integer too large for a double is another one than its neighbour. */
const LARGE = /[0-9]{16}/;

function parsed(written: string): unknown {
  return LARGE.test(written) ? JSON.parse(written, keepLarge) : JSON.parse(written);
}

function keepLarge(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  const isLarge = typeof value === "number" && !Number.isSafeInteger(value) && /^-?[0-9]+$/.test(context?.source ?? "");
  return isLarge ? BigInt(context?.source ?? 0) : value;
}

/** Members in the order of their names, numbers by their value, texts with one kind of escapes. The parser has bounded the depth. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object" || value === null) return typeof value === "string" ? JSON.stringify(value) : String(value);
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(",")}}`;
}
