/** Pure. What a limit in a policy file says beside whom and what it is about: rates, calls at once, how long to wait, and what is a loop. */
import { z } from "zod";
import { isPattern } from "./glob.ts";
import type { TargetPattern } from "./pattern.ts";
import type { Limit, Loop, Rate } from "./permit.ts";
import { durationMs } from "./written.ts";

const PERIOD_MS = { s: 1_000, min: 60_000, h: 3_600_000, day: 86_400_000 } as const;
type PeriodUnit = keyof typeof PERIOD_MS;

/** More in any period than one gateway carries; with a day of milliseconds it stays an exact integer. */
const COUNT_MAX = 1_000_000;
/** Clients give up after a minute, and the server needs its part of it. */
const WAIT_MS_MAX = 30_000;
/** What is repeated more slowly harms nobody, and what is remembered longer fills the memory. */
const LOOP_MS_MAX = 3_600_000;
/** The time of each repetition is remembered. */
const LOOP_CALLS_MAX = 100;

const RATE_WORDS = `must be a whole number from 1 to ${COUNT_MAX} per s, min, h or day: 60/min`;
const rate = z
  .string(RATE_WORDS)
  .regex(/^[1-9][0-9]{0,6}\/(s|min|h|day)$/, { error: RATE_WORDS, abort: true })
  .refine((written) => rateOf(written).count <= COUNT_MAX, RATE_WORDS);

const timeSpan = (words: string, msMax: number, most: string) =>
  z
    .string(words)
    .regex(/^[1-9][0-9]{0,7}(ms|s|m|h)$/, { error: words, abort: true })
    .refine((written) => durationMs(written) <= msMax, `is longer than ${most}`);

/** More streams than a process has descriptors for. */
const CONCURRENT_MAX = 100_000;

const loop = z
  .strictObject({
    calls: z
      .int()
      .min(2)
      .max(LOOP_CALLS_MAX)
      .describe("How often the same tool may be called with the same arguments by one caller within `within`; the next is refused."),
    within: timeSpan("must be a whole number with ms, s, m or h: 1m", LOOP_MS_MAX, "1 h").describe(
      "How far back repetitions count, and how long the caller has to leave off before the call passes again.",
    ),
    action: z
      .enum(["refuse", "suspend"])
      .default("refuse")
      .describe("refuse: the call alone. suspend: the agent as well, until somebody reinstates it."),
  })
  .describe("What stops a caller that makes one and the same call over and over.");

/** Members of a limit beside name, who, tools and each. */
export const pace = {
  rate: z
    .union([rate, z.array(rate).min(1).max(2)], { error: `${RATE_WORDS}, or a list of two` })
    .optional()
    .describe("How often: 60/min. Or a list of two, for a short and a long window: [10/s, 1000/h]."),
  burst: z
    .int()
    .min(1)
    .max(COUNT_MAX)
    .optional()
    .describe("How many may come at once after a pause, of the first rate. Left out: as many as the rate counts."),
  concurrent: z.int().min(1).max(CONCURRENT_MAX).optional().describe("How many may be under way at once."),
  wait: timeSpan("must be a whole number with ms or s: 2s", WAIT_MS_MAX, "30 s, and clients give up after 60")
    .optional()
    .describe("How long a call waits for its turn before it is refused. Left out: not at all."),
  loop: loop.optional(),
};

type PaceFile = z.output<z.ZodObject<typeof pace>>;

/** What cannot be meant, each with the member at which it stands. */
export function contradictionsIn(limit: PaceFile): { readonly path: readonly (string | number)[]; readonly message: string }[] {
  const { rate: written, burst, concurrent, wait, loop: repeated } = limit;
  if (written === undefined && concurrent === undefined && repeated === undefined)
    return [{ path: [], message: "limits nothing: it needs rate, concurrent or loop" }];
  const found = [];
  if (burst !== undefined && written === undefined) found.push({ path: ["burst"], message: "is the burst of a rate, and there is none" });
  if (wait !== undefined && written === undefined && concurrent === undefined)
    found.push({ path: ["wait"], message: "waits for a rate or a place, and there is neither" });
  const [short, long] = ratesOf(limit);
  if (short !== undefined && long !== undefined) found.push(...twoRates(short, long));
  return found;
}

/** Of two rates each must be able to refuse what the other lets pass. */
function twoRates(short: Rate, long: Rate): { path: (string | number)[]; message: string }[] {
  if (long.perMs <= short.perMs)
    return [{ path: ["rate", 1], message: "is the sustained rate: its period must be longer than that of the first" }];
  if (long.count * short.perMs >= short.count * long.perMs)
    return [{ path: ["rate", 1], message: `never refuses anything: ${short.text} lets no more pass` }];
  if (short.burst >= long.burst) return [{ path: ["rate", 0], message: `never refuses anything: ${long.text} is used up first` }];
  return [];
}

export function ratesOf({ rate: written, burst }: Pick<PaceFile, "rate" | "burst">): Rate[] {
  return (written === undefined ? [] : [written].flat()).map((text, index) => {
    const { count, perMs } = rateOf(text);
    return { text, count, perMs, burst: index === 0 ? (burst ?? count) : count };
  });
}

export function limitOf(name: string, written: PaceFile): Limit {
  const { concurrent, wait } = written;
  return {
    name,
    rates: ratesOf(written),
    concurrent: concurrent ?? null,
    waitMs: wait === undefined ? 0 : durationMs(wait),
    loop: written.loop === undefined ? null : loopOf(written.loop),
  };
}

/** A call that waits for longer than its server may take is likely to be given up before it is sent. */
export function tooLongWaits(
  { waitMs }: Limit,
  targets: readonly TargetPattern[] | null,
  servers: ReadonlyMap<string, { readonly timeoutMs?: number }>,
): string[] {
  return [...servers].flatMap(([server, { timeoutMs = Number.POSITIVE_INFINITY }]) => {
    const concerned = targets === null || targets.some((target) => isPattern(target.server) || target.server === server);
    return concerned && waitMs > timeoutMs ? [`is longer than servers.${server}.timeout: who calls will hardly wait for both`] : [];
  });
}

function loopOf({ calls, within, action }: NonNullable<PaceFile["loop"]>): Loop {
  return { calls, withinMs: durationMs(within), action };
}

function rateOf(written: string): { count: number; perMs: number } {
  const [count = "", unit = "s"] = written.split("/");
  return { count: Number(count), perMs: PERIOD_MS[unit as PeriodUnit] };
}
