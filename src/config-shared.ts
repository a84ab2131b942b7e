/** Pure. What several gateways have in common, as the configuration writes it, and what of it goes together. */
import { z } from "zod";
import { durationMs, durationText } from "./call/authorize/written.ts";
import { duration, HOUR, postgresUrl, redisUrl } from "./config-parts.ts";
import type { ConfigFile } from "./config-schema.ts";
import type { Path } from "./document.ts";

/** A gateway that is silent for a day has no calls under way. */
const LAPSE_MAX_MS = 24 * HOUR;
/** Longer, and calls would wait for a ledger that is gone. */
const ANSWER_MAX_MS = 30_000;
/** Between the end of the longest call and the moment when others take its gateway for dead. */
const MARGIN_MS = 60_000;

export const shared = z
  .strictObject({
    postgres: postgresUrl
      .optional()
      .describe("The PostgreSQL database of the registry that several gateways share. Default: a SQLite file in data, for one gateway."),
    staleAfter: duration(HOUR, "How long this gateway goes on from memory while that database is away; then it refuses calls.").default(
      "60s",
    ),
    redis: redisUrl
      .optional()
      .describe(
        "The Redis or Valkey in which several gateways count on the same budgets; needs postgres. Default: each gateway counts alone.",
      ),
    namespace: z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, "is not a name: 1 to 64 letters, digits, . _ and -")
      .default("tollgate")
      .describe("What the names of all keys there begin with: one for each installation on one Redis."),
    timeout: duration(ANSWER_MAX_MS, "How long one answer of it may take; then it counts as away.").default("1s"),
    lapse: duration(
      LAPSE_MAX_MS,
      "After how long without a sign of life a gateway's open calls count as used. At least the longest server timeout and a minute.",
    ).default("5m"),
  })
  .prefault({})
  .describe("What several gateways have in common.");

export function judgeShared(file: Partial<ConfigFile>, say: (path: Path, message: string) => void): void {
  const written = file.shared;
  if (written?.redis === undefined) return;
  if (written.postgres === undefined)
    say(
      ["shared", "redis"],
      "needs shared.postgres: budgets are counted by the ids of agents, which gateways have in common only by a common registry",
    );
  const timeouts = Object.values(file.servers ?? {}).map(({ timeout }) => durationMs(timeout));
  const leastMs = Math.max(0, ...timeouts) + MARGIN_MS;
  if (durationMs(written.lapse) < leastMs)
    say(
      ["shared", "lapse"],
      `must be at least ${durationText(leastMs)}: the longest timeout of a server and a minute, so that no call under way counts as lost`,
    );
}
