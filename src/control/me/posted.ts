/** Pure. What an agent may post about itself: closed forms in strict JSON, each wrong member named in fixed words. */
import { parsePattern } from "../../call/authorize/pattern.ts";
import { durationMs } from "../../call/authorize/written.ts";
import type { ServerName } from "../../ids.ts";
import { isScanFault, type JsonNode, scanJson, stringValue } from "../../json.ts";
import { type Refusal, refuse } from "../../refusal.ts";
import { hasUnseen } from "../../visible-text.ts";
import type { Intent } from "./rehearse.ts";

/** `durationMs` null: for good. */
export type Wish = { readonly tool: string; readonly reason: string; readonly durationMs: number | null };

const SERVER = /^[a-z0-9-]{1,32}$/;
const TOOL_CHARACTERS_MAX = 256;
export const REASON_CHARACTERS_MAX = 512;
/** A right for longer is asked for without an end. */
export const DURATION_MAX_MS = 90 * 86_400_000;

export function readIntent(body: Buffer): Intent | Refusal {
  const form = readForm(body, ["server", "tool", "arguments"]);
  if ("refused" in form) return form;
  const written = form.get("tool");
  const tool = stringValue(body, written);
  const server = stringValue(body, form.get("server"));
  const args = form.get("arguments");
  if (form.has("server") && (server === undefined || !SERVER.test(server))) return invalid("server: a server's name");
  if (written !== undefined && (tool === undefined || tool === "" || tool.length > TOOL_CHARACTERS_MAX)) return invalid(TOOL_WORDS);
  if (args !== undefined && args.kind !== "object") return invalid("arguments: an object");
  const argumentBytes = args === undefined ? null : body.subarray(args.start, args.end);
  if (server !== undefined) return { server: server as ServerName, tool: tool ?? null, argumentBytes };
  const slash = tool?.indexOf("/") ?? -1;
  if (tool === undefined || !SERVER.test(tool.slice(0, Math.max(0, slash))) || slash === tool.length - 1) return invalid(TOOL_WORDS);
  return { server: tool.slice(0, slash) as ServerName, tool: tool.slice(slash + 1), argumentBytes };
}

const TOOL_WORDS = "tool: server/tool, or server and tool apart";

export function readWish(body: Buffer): Wish | Refusal {
  const form = readForm(body, ["tool", "reason", "duration"]);
  if ("refused" in form) return form;
  const [tool = "", reason = "", duration] = ["tool", "reason", "duration"].map((name) => stringValue(body, form.get(name)));
  if (tool.length > TOOL_CHARACTERS_MAX || hasUnseen(tool) || "problem" in parsePattern(tool)) {
    return invalid("tool: a pattern as policies have it: server/tool, prompt:server/name, resource:server/uri");
  }
  if (reason.trim() === "" || reason.length > REASON_CHARACTERS_MAX || hasUnseen(reason)) {
    return invalid(`reason: 1 to ${REASON_CHARACTERS_MAX} characters, no control characters`);
  }
  if (!form.has("duration")) return { tool, reason, durationMs: null };
  const ms = duration !== undefined && /^[1-9][0-9]{0,9}(s|m|h|d)$/.test(duration) ? durationMs(duration) : Number.NaN;
  return ms <= DURATION_MAX_MS ? { tool, reason, durationMs: ms } : invalid("duration: a whole number with s, m, h or d, at most 90d");
}

type Form = ReadonlyMap<string, JsonNode>;

function readForm(body: Buffer, names: readonly string[]): Form | Refusal {
  const node = scanJson(body, { treeDepth: 1 });
  if (isScanFault(node)) return invalid(`body: JSON that every parser reads alike (${node.fault})`);
  if (node.kind !== "object") return invalid("body: an object");
  const unknown = node.members.some(({ name }) => !names.includes(name));
  return unknown ? invalid(`body: only ${names.join(", ")}`) : new Map(node.members.map(({ name, value }) => [name, value]));
}

function invalid(what: string): Refusal {
  return refuse("request_malformed", { invalid: what }, what);
}
