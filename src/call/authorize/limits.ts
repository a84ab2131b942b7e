/** Pure. The limits of one load, found by whom and what they are about: those that do not match cost a call nothing. */
import type { Target } from "../accept/request.ts";
import type { TargetPattern } from "./pattern.ts";
import type { Limit, Pace } from "./permit.ts";
import type { WhoFile } from "./policy-file.ts";
import { type Each, scopeOf } from "./scope.ts";
import { TargetIndex } from "./target-index.ts";
import type { Facets, Who } from "./who.ts";
import { WhoIndex } from "./who-index.ts";

export type CompiledLimit = {
  readonly limit: Limit;
  readonly who: Who;
  readonly written: WhoFile | null;
  /** Null: every call that is metered. */
  readonly targets: readonly TargetPattern[] | null;
  readonly each: readonly Each[];
  /** Place among all limits of all files. */
  readonly index: number;
};

export type Limits = {
  readonly all: readonly CompiledLimit[];
  readonly byWho: WhoIndex<CompiledLimit>;
  readonly byTarget: TargetIndex<CompiledLimit>;
};

export function limitsOf(all: readonly CompiledLimit[]): Limits {
  const byWho = new WhoIndex<CompiledLimit>();
  const byTarget = new TargetIndex<CompiledLimit>();
  for (const limit of all) {
    byWho.add(limit.written, limit);
    for (const target of limit.targets ?? []) byTarget.add(target, limit);
  }
  return { all, byWho, byTarget };
}

/** The limits that are about a caller. */
export function limitsFor({ byWho }: Limits, facets: Facets): readonly CompiledLimit[] {
  return [...byWho.find(facets)].filter(({ who }) => who(facets)).sort((a, b) => a.index - b.index);
}

/** What a call of the caller is held against there. A method is limited only where a pattern names it: lists and the like are not calls. */
export function pacesAt(
  { byTarget }: Limits,
  { facets, limits }: { readonly facets: Facets; readonly limits: readonly CompiledLimit[] },
  server: string,
  target: Target,
): readonly Pace[] {
  if (limits.length === 0) return NONE;
  const named = byTarget.find(server, target);
  return limits
    .filter((limit) => (limit.targets === null ? target.kind !== "method" : named.has(limit)))
    .map((limit) => paceOf(limit, facets, server, target));
}

export function paceOf({ limit, each }: Pick<CompiledLimit, "limit" | "each">, facets: Facets, server: string, target: Target): Pace {
  const scope = scopeOf({ each }, facets, server, target);
  return { limit, scope, key: `${limit.name}\0${scope}` };
}

const NONE: readonly Pace[] = Object.freeze([]);
