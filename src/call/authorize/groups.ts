/** Pure. Lists with a name, which rules of every policy file may use. */
import type { PolicySource } from "./policy-set.ts";

const PREFIX = "group:";

export type Groups = {
  readonly agents: ReadonlyMap<string, readonly string[]>;
  readonly tools: ReadonlyMap<string, readonly string[]>;
};

export function groupsOf(sources: readonly PolicySource[]): Groups {
  const all = (kind: keyof Groups) => sources.flatMap(({ policy }) => Object.entries(policy.groups[kind]));
  return { agents: new Map(all("agents")), tools: new Map(all("tools")) };
}

/** A group's own entries, or what was written; `problem` where there is no such group, or it holds another. */
export function expanded(
  groups: ReadonlyMap<string, readonly string[]>,
  written: string,
): readonly string[] | { readonly problem: string } {
  if (!written.startsWith(PREFIX)) return [written];
  const name = written.slice(PREFIX.length);
  const entries = groups.get(name);
  if (entries === undefined) {
    const known = groups.size === 0 ? "there is none" : `there is ${[...groups.keys()].join(", ")}`;
    return { problem: `no group of this kind is named ${name}: ${known}` };
  }
  const nested = entries.find((entry) => entry.startsWith(PREFIX));
  return nested === undefined ? entries : { problem: `${written} holds ${nested}: groups do not hold groups` };
}
