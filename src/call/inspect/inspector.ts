/** One external guard: asked within its time, its bounds and its number of questions at once. It never throws: what goes wrong is no verdict. */
import { createHash } from "node:crypto";
import { authzenQuestion, contentBytes, httpQuestion, type Question } from "./question.ts";
import { authzenVerdict, failed, httpVerdict, type Said } from "./verdict.ts";

export type Answered = {
  readonly said: Said;
  /** `sha256:<hex>` of the answer's bytes; null where none came. */
  readonly digest: string | null;
  readonly durationMs: number;
};

export type Inspector = {
  /** What becomes of a call when no verdict comes. */
  readonly onFailure: "refuse" | "unsafeAllow";
  /** `gone`: nobody waits for the answer any more. */
  ask(question: Question, gone: AbortSignal | null): Promise<Answered>;
};

export type InspectorOptions = Pick<Inspector, "onFailure"> & {
  readonly type: "http" | "authzen";
  readonly url: string;
  /** A secret is revealed where it is used. */
  readonly bearer: { reveal(): string } | null;
  readonly timeoutMs: number;
  readonly concurrent: number;
  readonly fetch: (url: string, init: RequestInit, answerBytesMax: number) => Promise<Response>;
  /** Monotonic milliseconds. */
  readonly mono: () => number;
};

/** A guard reads all of it while a call waits. What is larger has no verdict. */
export const CONTENT_BYTES_MAX = 1_048_576;
/** A verdict is a few words. */
export const VERDICT_BYTES_MAX = 65_536;

export function createInspector(options: InspectorOptions): Inspector {
  const { timeoutMs, concurrent, mono } = options;
  let underWay = 0;
  return {
    onFailure: options.onFailure,
    async ask(question, gone) {
      if (contentBytes(question.content) > CONTENT_BYTES_MAX) return unasked(`it is asked about ${CONTENT_BYTES_MAX} bytes at most`);
      if (underWay >= concurrent) return unasked(`${concurrent} questions are under way`);
      underWay += 1;
      const startMs = mono();
      const late = AbortSignal.timeout(timeoutMs);
      try {
        const answered = await post(options, question, gone === null ? late : AbortSignal.any([late, gone]));
        return { ...answered, durationMs: elapsed(mono() - startMs) };
      } catch (fault) {
        const why = gone?.aborted ? "the client left" : late.aborted ? "no answer in time" : wordsOf(fault);
        return { said: failed(why), digest: null, durationMs: elapsed(mono() - startMs) };
      } finally {
        underWay -= 1;
      }
    },
  };
}

function unasked(why: string): Answered {
  return { said: failed(why), digest: null, durationMs: 0 };
}

async function post(
  { type, url, bearer, fetch }: InspectorOptions,
  question: Question,
  signal: AbortSignal,
): Promise<Omit<Answered, "durationMs">> {
  const response = await fetch(
    url,
    {
      method: "POST",
      headers: {
        "content-type": "application/json",
        accept: "application/json",
        // AuthZEN Authorization API 1.0: a request identifier of the enforcement point's own.
        "x-request-id": question.request.callId,
        ...(bearer === null ? {} : { authorization: `Bearer ${bearer.reveal()}` }),
      },
      body: type === "authzen" ? authzenQuestion(question) : httpQuestion(question),
      signal,
    },
    VERDICT_BYTES_MAX,
  );
  const bytes = Buffer.from(await response.arrayBuffer());
  const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
  if (response.status !== 200) return { said: failed(`it answered ${response.status}`), digest };
  return { said: type === "authzen" ? authzenVerdict(bytes) : httpVerdict(bytes), digest };
}

function elapsed(ms: number): number {
  return Math.max(0, Math.round(ms));
}

/** Codes of the system and our own fixed words; never what the other side says. */
function wordsOf(fault: unknown): string {
  const { code, message } = fault instanceof Error ? (fault as NodeJS.ErrnoException) : { code: undefined, message: "" };
  if (code !== undefined) return `it cannot be asked: ${code}`;
  return /^the (answer|address) /.test(message) ? message : "it cannot be asked";
}
