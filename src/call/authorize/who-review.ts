/** Pure. The names in `who` against those that are declared and registered: one that nobody has is most likely a slip. */

import { isPattern } from "./glob.ts";
import { expanded, type Groups } from "./groups.ts";
import type { Known, KnownNames } from "./known.ts";
import { nearestOf } from "./nearest.ts";
import type { WhoFile } from "./policy-file.ts";
import type { Path, PolicySource } from "./policy-set.ts";

const KEYS = ["agent", "team", "workflow", "customer"] as const;

export function declaredNames(sources: readonly PolicySource[]): KnownNames {
  const agents = sources.flatMap(({ policy }) => Object.entries(policy.agents));
  const each = (key: "team" | "workflow" | "customer") => new Set(agents.flatMap(([, agent]) => agent[key] ?? []));
  return { agent: new Set(agents.map(([name]) => name)), team: each("team"), workflow: each("workflow"), customer: each("customer") };
}

export function reviewWho(
  who: WhoFile | undefined,
  path: Path,
  { registered }: Known,
  declared: KnownNames,
  groups: Groups,
): { readonly path: Path; readonly message: string }[] {
  return KEYS.flatMap((key) => {
    const written = [who?.[key] ?? []].flat();
    return written.flatMap((text) => {
      const entries = key === "agent" ? expanded(groups.agents, text) : [text];
      return "problem" in entries ? [] : entries.flatMap((name) => saidOf(key, name, path, registered, declared));
    });
  });
}

function saidOf(key: (typeof KEYS)[number], name: string, path: Path, registered: KnownNames | null, declared: KnownNames) {
  const known = declared[key].union(registered?.[key] ?? new Set<string>());
  if (isPattern(name) || known.has(name)) return [];
  const near = nearestOf(name, known);
  // Where nobody could be asked, the name may well be registered: only what looks like a slip is worth a word.
  if (registered === null && near.length === 0) return [];
  const nobody = key === "agent" ? `no agent ${name} is declared` : `no declared agent has the ${key} ${name}`;
  const where = registered === null ? nobody : key === "agent" ? `${nobody} or registered` : `no agent has the ${key} ${name}`;
  return [{ path: [...path, key], message: `${where}${near.length === 0 ? "" : `; nearest: ${near.slice(0, 3).join(", ")}`}` }];
}
