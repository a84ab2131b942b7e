/** What every client is taken through, on one connection where it keeps one: a list, a result, two refusals, a stream, a result again. */
import type { Report, Seen, Target } from "../report.ts";

/** How a client shows the answer of a tool; what it throws is read by `seen`. */
export type Shown = { readonly text: string; readonly isError: boolean; readonly data?: unknown };

export type Session = {
  tools(): Promise<string[]>;
  /** `progressed` is called for each notification of progress, by clients that have a way to hear of it. */
  call(tool: string, args: Record<string, unknown>, progressed?: () => void): Promise<Shown>;
  close(): Promise<void>;
};

/** Long enough that a buffered stream shows: its progress would come with its result. */
const STREAM_MS = 600;

export async function visit(target: Target, open: (target: Target) => Promise<Session>): Promise<Report> {
  const session = await open(target);
  try {
    const tools = (await session.tools()).sort();
    const result = await seen(() => session.call("echo", { text: "hello" }));
    const policy = await seen(() => session.call("search", { query: "x", limit: 101 }));
    const within = await seen(() => session.call("add", { a: 1, b: 2 }));
    const budget = await seen(() => session.call("add", { a: 1, b: 2 }));
    const progressAt: number[] = [];
    const streamed = await seen(() => session.call("slow", { ms: STREAM_MS, steps: 3 }, () => progressAt.push(performance.now())));
    const first = progressAt[0];
    const leadMs = first === undefined ? null : Math.round(performance.now() - first);
    const after = await seen(() => session.call("echo", { text: "still here" }));
    return { tools, result, policy, within, budget, streamed, progress: progressAt.length, leadMs, after };
  } finally {
    await session.close();
  }
}

export function bearer({ accessToken }: Target): Record<string, string> {
  return { Authorization: `Bearer ${accessToken}` };
}

/** A result as the SDKs give it. */
export function shown(result: unknown): Shown {
  const { content, isError, _meta } = result as { content?: { type: string; text?: string }[]; isError?: boolean; _meta?: unknown };
  return { text: (content ?? []).map(({ text }) => text ?? "").join("\n"), isError: isError === true, data: _meta };
}

async function seen(call: () => Promise<Shown>): Promise<Seen> {
  try {
    const { text, isError, data } = await call();
    return { how: isError ? "told" : "result", name: null, code: null, text, data: data ?? null };
  } catch (thrown) {
    const chain = causes(thrown);
    const of = <T>(member: string, type: string): T | null =>
      (chain.map((fault) => fault[member]).find((value) => typeof value === type && value !== null) as T | undefined) ?? null;
    return {
      how: "thrown",
      name: (thrown as Error)?.constructor?.name ?? null,
      code: of<number>("code", "number"),
      text: String((thrown as Error)?.message ?? thrown),
      data: of<object>("data", "object"),
    };
  }
}

const CAUSES_MAX = 5;

/** Frameworks wrap what their SDK threw. */
function causes(thrown: unknown): Record<string, unknown>[] {
  const chain: Record<string, unknown>[] = [];
  for (let fault = thrown; typeof fault === "object" && fault !== null && chain.length < CAUSES_MAX; fault = (fault as Error).cause)
    chain.push(fault as Record<string, unknown>);
  return chain;
}
