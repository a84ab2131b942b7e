/** Pure. Patterns against the tools that servers really have: what matches nothing, and which tools a rule is about. */
import { globOf, isPattern } from "./glob.ts";
import type { Known, KnownTool } from "./known.ts";
import { nearestOf } from "./nearest.ts";
import type { TargetPattern } from "./pattern.ts";

/** What is wrong with a pattern, or null: it matches something, or nothing is known of what it could match. */
export function reviewPattern({ kind, server, name }: TargetPattern, known: Known): string | null {
  // A pattern over all servers is often there for tools that are yet to come.
  const tools = kind === "tool" && !isPattern(server) ? known.tools.get(server) : undefined;
  if (tools === undefined || tools.some(({ tool }) => globOf(name)(tool))) return null;
  const names = tools.map(({ tool }) => tool);
  const near = nearestOf(name.replaceAll("*", ""), names).slice(0, SHOWN_MAX);
  const has = near.length > 0 ? `nearest: ${near.map((tool) => `${server}/${tool}`).join(", ")}` : `it has ${shown(names)}`;
  return `${server}/${name} matches no tool of ${server}; ${has}`;
}

function shown(names: readonly string[]): string {
  if (names.length === 0) return "none";
  const more = names.length > SHOWN_MAX ? ` and ${names.length - SHOWN_MAX} more` : "";
  return `${names.slice(0, SHOWN_MAX).join(", ")}${more}`;
}

const SHOWN_MAX = 5;

export type Matched = {
  readonly tools: readonly KnownTool[];
  /** Servers that a target may mean and whose tools nobody has seen. */
  readonly unseen: readonly string[];
  /** It may be about prompts, resources or methods as well, which have no schema. */
  readonly isToolsOnly: boolean;
};

export function matchedBy(targets: readonly TargetPattern[], servers: ReadonlySet<string>, known: Known): Matched {
  const tools = new Set<KnownTool>();
  const unseen = new Set<string>();
  for (const { kind, server, name } of targets) {
    if (kind !== "tool") continue;
    const [isServer, isTool] = [globOf(server), globOf(name)];
    for (const each of isPattern(server) ? [...servers].filter(isServer) : [server]) {
      const listed = known.tools.get(each);
      if (listed === undefined) unseen.add(each);
      for (const tool of listed ?? []) if (isTool(tool.tool)) tools.add(tool);
    }
  }
  return { tools: [...tools], unseen: [...unseen], isToolsOnly: targets.every(({ kind }) => kind === "tool") };
}
