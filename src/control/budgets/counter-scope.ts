/** Pure. Whose counter a person means: as `budget list` shows it, or with an agent's name. One on which no call can draw is a slip. */
import type { Each } from "../../call/authorize/scope.ts";

export type Known = {
  /** Undefined: there is no such agent. */
  readonly agentId: (idOrName: string) => string | undefined;
  /** Of all agents; an empty one where some have none. */
  readonly teams: () => ReadonlySet<string>;
  readonly customers: () => ReadonlySet<string>;
  readonly servers: ReadonlySet<string>;
};

export function counterScope(
  each: readonly Each[],
  written: string,
  known: Known,
): { readonly scope: string } | { readonly fault: string } {
  const parts = written === "" ? [] : written.split("&").map((part) => part.split("="));
  if (parts.length !== each.length || parts.some(([key, value], i) => key !== each[i] || value === undefined))
    return { fault: shapeOf(each) };
  const scope: string[] = [];
  for (const [i, dimension] of each.entries()) {
    const value = decoded(parts[i]?.slice(1).join("=") ?? "");
    const found = resolved(dimension, value, known);
    if (found === undefined) return { fault: `scope: ${absent(dimension, value)}, so that no call draws on that counter` };
    scope.push(`${dimension}=${found.replace(/[%&=]/g, encodeURIComponent)}`);
  }
  return { scope: scope.join("&") };
}

/** Undefined: there is none. What calls bring with them (instances, workflows, people, tools) nobody can know beforehand. */
function resolved(dimension: Each, value: string, known: Known): string | undefined {
  if (dimension === "agent") return known.agentId(value);
  const all = { team: known.teams, customer: known.customers, server: () => known.servers };
  if (!(dimension in all)) return value;
  return all[dimension as keyof typeof all]().has(value) ? value : undefined;
}

function absent(dimension: Each, value: string): string {
  if (dimension === "agent" || dimension === "server") return `there is no ${dimension} ${value}`;
  return value === "" ? `every agent has a ${dimension}` : `no agent is of ${dimension} ${value}`;
}

function shapeOf(each: readonly Each[]): string {
  return each.length === 0
    ? "scope: one counter is shared by all: leave it out"
    : `scope: each of ${each.join(", ")} has a counter of its own: write ${each.map((key) => `${key}=...`).join("&")}, as budget list shows it`;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
