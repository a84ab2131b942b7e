/** Pure. Several servers as one: what of them a view shows, under which names, and what a shown name means. */
import type { ServerName } from "../../ids.ts";
import type { Target } from "../accept/request.ts";
import { globOf } from "./glob.ts";
import { parsePattern, type TargetPattern } from "./pattern.ts";
import { asciiUri } from "./resource-uri.ts";
import { TargetIndex } from "./target-index.ts";

export type Named = { readonly server: ServerName; readonly name: string };

export type ServerView = {
  /** `/mcp` or `/mcp/{view}`. */
  readonly route: string;
  /** In the order of the configuration, which is the order of every merged list. */
  readonly servers: readonly ServerName[];
  /** How many tools one agent is shown at most; null: no limit. */
  readonly toolsMax: number | null;
  /** Whether it can show anything of this kind of this server: who cannot contribute is not asked. */
  mayShow(server: ServerName, kind: Target["kind"]): boolean;
  shows(server: ServerName, target: Target): boolean;
  /** The name under which a tool or a prompt of a server is shown. Null: the view does not show it. */
  shownAs(server: ServerName, target: Target): string | null;
  /** For what has a name but is not asked for by it: a resource template. */
  prefixed(server: ServerName, name: string): string;
  /** What stands behind a shown name. Null: nothing that this view shows. */
  meaningOf(kind: "tool" | "prompt", shown: string): Named | null;
};

export type ViewRules = {
  /** Patterns of the policy grammar; null: everything. */
  readonly tools: readonly string[] | null;
  readonly max: number | null;
  /** `server/tool` or `prompt:server/name` to the name that is shown instead. */
  readonly rename: ReadonlyMap<string, string>;
};

/** A server's name holds no `_`, so the first two always end it, whatever the tool is called (`a__b__c` is `b__c` of `a`). */
const SEPARATOR = "__";

export function serverViewOf(route: string, servers: readonly ServerName[], { tools, max, rename }: ViewRules): ServerView {
  const patterns = tools === null ? null : tools.map(patternOf);
  const shown = patterns === null ? null : indexOf(patterns);
  const renamed = new Map<string, string>();
  const meanings = new Map<string, Named>();
  for (const [written, name] of rename) {
    const target = patternOf(written);
    renamed.set(keyOf(target.kind, target.server, target.name), name);
    meanings.set(`${target.kind}:${name}`, { server: target.server as ServerName, name: target.name });
  }
  const shows: ServerView["shows"] = (server, target) => {
    const asked = target.kind === "resource" ? { kind: target.kind, name: asciiUri(target.name) } : target;
    return servers.includes(server) && (shown === null || shown.find(server, asked).size > 0);
  };
  return {
    route,
    servers: patterns === null ? servers : servers.filter((server) => patterns.some((pattern) => globOf(pattern.server)(server))),
    toolsMax: max,
    mayShow: (server, kind) => patterns === null || patterns.some((pattern) => pattern.kind === kind && globOf(pattern.server)(server)),
    shows,
    shownAs(server, target) {
      if (!shows(server, target)) return null;
      return renamed.get(keyOf(target.kind, server, target.name)) ?? server + SEPARATOR + target.name;
    },
    prefixed: (server, name) => server + SEPARATOR + name,
    meaningOf(kind, name) {
      const meaning = meanings.get(`${kind}:${name}`) ?? split(name);
      if (meaning === null || !shows(meaning.server, { kind, name: meaning.name })) return null;
      // One name each: what is renamed is not found under its old name as well.
      const own = renamed.get(keyOf(kind, meaning.server, meaning.name));
      return own === undefined || own === name ? meaning : null;
    },
  };
}

function split(name: string): Named | null {
  const at = name.indexOf(SEPARATOR);
  return at <= 0 ? null : { server: name.slice(0, at) as ServerName, name: name.slice(at + SEPARATOR.length) };
}

function keyOf(kind: string, server: string, name: string): string {
  return `${kind}:${server}/${name}`;
}

function indexOf(patterns: readonly TargetPattern[]): TargetIndex<true> {
  const index = new TargetIndex<true>();
  for (const pattern of patterns) index.add(pattern, true);
  return index;
}

/** Read before by the rules of the configuration. */
function patternOf(written: string): TargetPattern {
  const pattern = parsePattern(written);
  if ("problem" in pattern) throw new Error(pattern.problem);
  return pattern;
}
