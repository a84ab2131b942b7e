/** Pure. What calls cost, as the configuration writes it: one currency, whole micro-units, and from when on a price counts. */
import { createHash } from "node:crypto";
import { z } from "zod";
import { globOf } from "./call/authorize/glob.ts";
import { parsePattern } from "./call/authorize/pattern.ts";
import { amountOf, instantMs } from "./call/authorize/written.ts";
import { canonicalJson } from "./call/record/canonical.ts";
import type { PriceRule } from "./config.ts";
import { amount, text } from "./config-parts.ts";
import type { ConfigFile } from "./config-schema.ts";
import type { Path } from "./document.ts";

/** A billion units of a currency for one call: what is more is a slip. */
const MICROS_MAX = 1_000_000_000_000_000;
const LIST_MAX = 10_000;
const outcomeName = z.string().regex(/^[a-z][a-z0-9_-]{0,63}$/, "is not an outcome's name");

export const prices = z
  .array(
    z
      .strictObject({
        tool: text
          .optional()
          .describe("What it is the price of: server/tool, prompt:server/name, resource:server/uri; * for any characters."),
        server: text.optional().describe("In place of tool: all tools of this server."),
        perCall: amount(0, MICROS_MAX).default(0).describe("Micro-units (a millionth of the currency) for each call."),
        per1kTokens: amount(0, MICROS_MAX).default(0).describe("Micro-units for 1,000 tool tokens."),
        outcomes: z.record(outcomeName, amount(0, MICROS_MAX)).default({}).describe("Micro-units for each outcome, by its name."),
        currency: z
          .string()
          .regex(/^[A-Z]{3}$/, "is not a currency of ISO 4217: EUR")
          .describe("ISO 4217, the same in all rows."),
        from: z
          .string()
          .refine((written) => instantMs(written) !== null, "must be a date or an RFC 3339 time: 2026-12-01 or 2026-12-01T09:00:00+01:00")
          .optional()
          .describe("Since when it counts: a date (midnight UTC) or an RFC 3339 time. Default: always."),
      })
      .refine(({ tool, server }) => (tool === undefined) !== (server === undefined), "must have either tool or server"),
  )
  .max(LIST_MAX)
  .default([])
  .describe(
    "What calls cost, on the meter cost_micros. Of several rows for one call the one that names it most closely counts, and of those the latest.",
  );

type PricesFile = z.output<typeof prices>;

export function pricesOf(file: PricesFile): readonly PriceRule[] {
  return file.map(({ tool, server, perCall, per1kTokens, outcomes, from }) => ({
    tool: tool ?? `${server}/*`,
    fromMs: from === undefined ? 0 : (instantMs(from) ?? 0),
    price: {
      perCall: amountOf(perCall),
      per1kTokens: amountOf(per1kTokens),
      outcomes: Object.fromEntries(Object.entries(outcomes).map(([name, micros]) => [name, amountOf(micros)])),
    },
  }));
}

/** `EUR sha256:<16 hex>`: the currency, and the table as a whole; null: there is none. */
export function pricesVersionOf(file: PricesFile): string | null {
  const [first] = file;
  if (first === undefined) return null;
  return `${first.currency} sha256:${createHash("sha256").update(canonicalJson(file)).digest("hex").slice(0, 16)}`;
}

type Say = (path: Path, message: string) => void;

export function judgePrices({ prices: rows = [], outcomes = [] }: Partial<ConfigFile>, servers: readonly string[], say: Say): void {
  const seen = new Map<string, number>();
  const names = new Set(outcomes.map(({ name }) => name));
  for (const [index, row] of rows.entries()) {
    const path = ["prices", index];
    const at = [...path, row.tool === undefined ? "server" : "tool"];
    const pattern = parsePattern(row.tool ?? `${row.server}/*`);
    if ("problem" in pattern) say(at, pattern.problem);
    else if (!servers.some(globOf(pattern.server))) say(at, `there is no server ${pattern.server}`);
    const key = `${row.tool ?? `${row.server}/*`} ${row.from === undefined ? 0 : instantMs(row.from)}`;
    const other = seen.get(key);
    if (other !== undefined) say(at, `has a price from the same time on already (prices[${other}]): keep one`);
    else seen.set(key, index);
    if (row.currency !== rows[0]?.currency)
      say([...path, "currency"], `is not ${rows[0]?.currency}, as in the first row: one gateway counts in one currency`);
    for (const name of Object.keys(row.outcomes))
      if (!names.has(name)) say([...path, "outcomes", name], `outcomes has no ${name}: count it first`);
  }
}
