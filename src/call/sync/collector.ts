/** A collector over HTTP: takes CloudEvents in batches, as OpenMeter and its like do. */
import { batchText } from "./cloudevents.ts";
import { type ErrorShape, readAnswer } from "./item-errors.ts";
import { sayable } from "./sayable.ts";
import { type Answer, NotDelivered, type Target } from "./target.ts";

export type CollectorOptions = {
  readonly url: string;
  /** Reveals the bearer token at the moment of use, or null. */
  readonly bearer: (() => string) | null;
  readonly timeoutMs: number;
  /** The gateway's id. */
  readonly gateway: string;
  /** Null: the shapes that are known. */
  readonly errors: ErrorShape | null;
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>;
  readonly now: () => number;
  /** Of an answer that is odd, and taken all the same. */
  readonly note: (why: string) => void;
};

/** Statuses that say "this content is bad" (or too much of it), not "I am in trouble" nor "you may not". */
const CONTENT_IS_BAD = new Set([400, 413, 422]);
/** Behind these the sink may have taken it: its answer was lost, or it broke down afterwards. */
const MAY_HAVE_TAKEN = new Set([408, 500, 502, 504]);
/** Faults of a connection that never stood: not a byte of the batch has left. */
const NEVER_LEFT = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EADDRNOTAVAIL",
  "UND_ERR_CONNECT_TIMEOUT",
]);
/** A sink that asks for more is asked again all the same. */
const RETRY_AFTER_MAX_MS = 3_600_000;

export function createCollector(options: CollectorOptions): Target {
  const hide = (said: string) => sayable(said, options.bearer === null ? [] : [options.bearer()]);
  return {
    async send(items, stopping): Promise<Answer> {
      const answer = await post(batchText(items, options.gateway), options, stopping);
      const { status } = answer;
      if (CONTENT_IS_BAD.has(status)) return { kind: "bad", status, reason: `the sink answered ${status}` };
      if (status < 200 || status >= 300) {
        const fate = MAY_HAVE_TAKEN.has(status) ? "unknown" : "not_taken";
        throw new NotDelivered(`the sink answered ${status}`, fate, retryAfterMs(answer.headers.get("retry-after"), options.now()));
      }
      const body = await answer.text().catch((fault: unknown) => {
        throw new NotDelivered(hide(causeOf(fault)), "unknown");
      });
      const reading = readAnswer(answer.headers.get("content-type") ?? "", body, items, options.errors, hide);
      if (reading.kind === "garbage") throw new NotDelivered(reading.reason, "unknown");
      if (reading.kind === "unclear") return { kind: "bad", status, reason: reading.reason };
      // The sink said yes: an error of what is not in the batch takes nothing from it.
      if (reading.strange > 0) options.note(`the sink names ${reading.strange} errors of what it was not sent`);
      return { kind: "taken", faults: reading.faults };
    },
    close: async () => {},
  };
}

async function post(body: string, { url, bearer, timeoutMs, fetch }: CollectorOptions, stopping: AbortSignal): Promise<Response> {
  const headers = {
    "content-type": "application/cloudevents-batch+json",
    ...(bearer === null ? {} : { authorization: `Bearer ${bearer()}` }),
  };
  const signal = AbortSignal.any([stopping, AbortSignal.timeout(timeoutMs)]);
  try {
    return await fetch(url, { method: "POST", headers, body, redirect: "manual", signal });
  } catch (fault) {
    throw new NotDelivered(causeOf(fault), NEVER_LEFT.has(codeOf(fault)) ? "not_taken" : "unknown");
  }
}

/** RFC 9110 section 10.2.3: seconds, or a date. */
export function retryAfterMs(written: string | null, nowMs: number): number | null {
  if (written === null) return null;
  const ms = /^[0-9]{1,9}$/.test(written) ? Number(written) * 1_000 : Date.parse(written) - nowMs;
  return Number.isNaN(ms) ? null : Math.min(RETRY_AFTER_MAX_MS, Math.max(0, ms));
}

/** The cause names what failed (a refused connection, a timeout); a message of fetch alone says nothing. */
function causeOf(fault: unknown): string {
  if (!(fault instanceof Error)) return "unknown";
  return (fault.cause instanceof Error ? fault.cause.message : fault.message) || "the connection broke";
}

function codeOf(fault: unknown): string {
  const cause = fault instanceof Error && fault.cause instanceof Error ? fault.cause : fault;
  const inner = cause instanceof AggregateError ? cause.errors[0] : cause;
  return inner instanceof Error && "code" in inner && typeof inner.code === "string" ? inner.code : "";
}
