/** Pure. The limits that an agent is held against, and what its counters have left: as far as they are known before there is a call. */
import type { Target } from "../../call/accept/request.ts";
import type { Agent } from "../../call/authenticate/agent.ts";
import { type PolicySet, reachOf, viewOf } from "../../call/authorize/candidates.ts";
import { globOf, isPattern } from "../../call/authorize/glob.ts";
import { type CompiledLimit, paceOf } from "../../call/authorize/limits.ts";
import type { Loop, Pace } from "../../call/authorize/permit.ts";
import type { LeftOf } from "../../call/budget/paces.ts";
import { type Place, placesOf } from "./places.ts";

export type LimitRow = {
  readonly limit: string;
  readonly each: readonly string[];
  readonly scope: string;
  /** Each window with what may come now, and the milliseconds until one more may, or until all may where some are left. */
  readonly rates: readonly { readonly rate: string; readonly burst: number; readonly remaining: number; readonly resets_in_ms: number }[];
  readonly concurrent: { readonly limit: number; readonly remaining: number } | null;
  readonly wait_ms: number;
  readonly loop: { readonly calls: number; readonly within_ms: number; readonly action: Loop["action"] } | null;
};

/** Counters of each tool of many servers: more of them nobody reads. */
const ROWS_MAX = 100;

export function limitRowsOf(
  policySet: PolicySet,
  leftOf: (paces: readonly Pace[]) => readonly LeftOf[],
  agent: Agent,
  nowMs: number,
): readonly LimitRow[] {
  const { facets, limits } = viewOf(policySet, agent);
  const rows: LimitRow[] = [];
  for (const compiled of limits) {
    const places = placesOf(policySet, compiled, agent, nowMs);
    const all = places.length > 0 ? places : methodsIn(policySet, compiled, agent, nowMs);
    const paces = new Map(all.map(({ server, target }) => paceOf(compiled, facets, server, target)).map((pace) => [pace.key, pace]));
    for (const pace of paces.values()) {
      if (rows.length >= ROWS_MAX) return rows;
      rows.push(rowOf(pace, compiled.each, leftOf([pace])));
    }
  }
  return rows;
}

/** Of a limit on lists and the like, which nobody is permitted by name. */
function methodsIn(policySet: PolicySet, { targets }: CompiledLimit, agent: Agent, nowMs: number): Place[] {
  const view = viewOf(policySet, agent);
  const servers = [...policySet.servers].filter((server) => reachOf(policySet, view, server, nowMs) !== null);
  return (targets ?? [])
    .filter(({ kind, name }) => kind === "method" && !isPattern(name))
    .flatMap(({ server: pattern, name }) =>
      servers.filter(globOf(pattern)).map((server) => ({ server, target: { kind: "method", name } satisfies Target })),
    );
}

function rowOf({ limit, scope }: Pace, each: readonly string[], left: readonly LeftOf[]): LimitRow {
  const { loop, waitMs } = limit;
  const places = left.find(({ rate }) => rate === null);
  return {
    limit: limit.name,
    each,
    scope,
    rates: left.flatMap(({ rate, left: remaining, resetMs }) =>
      rate === null ? [] : [{ rate: rate.text, burst: rate.burst, remaining, resets_in_ms: resetMs ?? 0 }],
    ),
    concurrent: places === undefined ? null : { limit: limit.concurrent ?? 0, remaining: places.left },
    wait_ms: waitMs,
    loop: loop === null ? null : { calls: loop.calls, within_ms: loop.withinMs, action: loop.action },
  };
}
