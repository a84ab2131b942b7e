/** What every client is taken through, on one connection where it keeps one: a list, a result, two refusals, a stream, a result again. */
import { CALLS, type Call } from "../play.ts";
import type { Report, Seen, Target } from "../report.ts";

/** How a client shows the answer of a tool; what it throws is read by `seen`. */
export type Shown = { readonly text: string; readonly isError: boolean; readonly data?: unknown };

export type Session = {
  tools(): Promise<string[]>;
  /** `progressed` is called for each notification of progress, by clients that have a way to hear of it. */
  call(tool: string, args: Record<string, unknown>, progressed?: () => void): Promise<Shown>;
  close(): Promise<void>;
};

export async function visit(target: Target, open: (target: Target) => Promise<Session>): Promise<Report> {
  const session = await open(target);
  try {
    const tools = (await session.tools()).sort();
    const played = ({ tool, args }: Call, progressed?: () => void) => seen(() => session.call(tool, args, progressed));
    const result = await played(CALLS.result);
    const policy = await played(CALLS.policy);
    const within = await played(CALLS.within);
    const budget = await played(CALLS.budget);
    const progressAt: number[] = [];
    const streamed = await played(CALLS.streamed, () => progressAt.push(performance.now()));
    const first = progressAt[0];
    const leadMs = first === undefined ? null : Math.round(performance.now() - first);
    const after = await played(CALLS.after);
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
