/** Pure. What an answer says of a refusal, in whichever of its three forms, or as the last message of a stream. */
import type { Told } from "./contract.ts";
import type { Answer } from "./socket.ts";

export type Said = {
  readonly reason: string | null;
  readonly code: number | null;
  readonly form: Told["form"] | null;
  /** The problem's type. */
  readonly type: string | null;
  readonly callId: string | null;
  readonly id: unknown;
};

type Problem = { type?: string; reason?: string; call_id?: string };
type Body = Problem & {
  jsonrpc?: string;
  id?: unknown;
  error?: { code: number; data?: Problem };
  result?: { isError?: boolean; content?: { text?: string }[] };
};

export function saidIn(answer: Answer): Said {
  const body = bodyOf(answer);
  if (body === null) return NOTHING;
  const { error, result, id = null } = body;
  if (error !== undefined) return { ...problemOf(error.data ?? {}), code: error.code, form: "error", id };
  if (result?.isError === true) {
    const [, reason = null, callId = null] = /\[([a-z_]+), (call_[a-z0-9]+)\]$/.exec(result.content?.[0]?.text ?? "") ?? [];
    return { ...NOTHING, reason, callId, form: "result", id };
  }
  return answer.headers.get("content-type") === "application/problem+json" ? problemOf(body) : NOTHING;
}

const NOTHING: Said = { reason: null, code: null, form: null, type: null, callId: null, id: null };

function problemOf({ type = undefined, reason = undefined, call_id = undefined }: Problem): Said {
  return { ...NOTHING, form: "problem", reason: reason ?? null, type: type ?? null, callId: call_id ?? null };
}

/** Null where it is no JSON object. */
function bodyOf({ headers, body }: Answer): Body | null {
  const isStream = (headers.get("content-type") ?? "").startsWith("text/event-stream");
  const [last] = isStream ? [...body.matchAll(/^data: (.*)$/gm)].slice(-1) : [];
  try {
    const parsed: unknown = JSON.parse(isStream ? (last?.[1] ?? "") : body);
    return typeof parsed === "object" && parsed !== null && !Array.isArray(parsed) ? (parsed as Body) : null;
  } catch {
    return null;
  }
}
