/** Which tools a view with a limit shows to whom: what it does not list cannot be called through it either. */
import { LRUCache } from "lru-cache";
import type { Agent } from "../../authenticate/agent.ts";
import type { ServerView } from "../../authorize/server-view.ts";
import type { Asking, Members } from "./member-page.ts";
import { type MergedPage, readFirst } from "./merged-list.ts";

export type ShownTools = {
  /** The view's tools as they are now. */
  read(view: ServerView, asking: Asking): Promise<MergedPage>;
  /** `missing`: the tool's server could not be read, so that nobody knows; its reason is a word of the table of refusals. */
  has(view: ServerView, asking: Asking, server: string, tool: string): Promise<boolean | { readonly missing: string }>;
};

type Known = { readonly tools: ReadonlySet<string>; readonly missing: ReadonlyMap<string, string>; readonly atMs: number };

/** How long a reading counts, and how soon a tool that was not in it may cause the next one. */
const FRESH_MS = 300_000;
const MISS_PAUSE_MS = 1_000;
/** Principals of all views together; each at most 1,000 names. */
const KNOWN_MAX = 10_000;

export function createShownTools(members: Members, mono: () => number): ShownTools {
  const known = new LRUCache<string, Known>({ max: KNOWN_MAX });
  const keyOf = ({ route }: ServerView, { principal }: Agent) => JSON.stringify([route, principal]);
  const read: ShownTools["read"] = async (view, asking) => {
    const page = await readFirst(view, members, asking, "tools/list", view.toolsMax ?? Number.POSITIVE_INFINITY);
    const tools = new Set(page.elements.map(({ server, name }) => `${server}/${name}`));
    const missing = new Map(page.unavailable.map(({ server, reason }) => [server as string, reason]));
    // What is missing today may be first tomorrow: a partial reading counts for a moment only.
    const atMs = missing.size === 0 ? mono() : mono() - FRESH_MS;
    known.set(keyOf(view, asking.agent), { tools, missing, atMs });
    return page;
  };
  return {
    read,
    async has(view, asking, server, tool) {
      const wanted = `${server}/${tool}`;
      const last = known.get(keyOf(view, asking.agent));
      const ageMs = last === undefined ? Number.POSITIVE_INFINITY : mono() - last.atMs;
      if (last?.tools.has(wanted) && ageMs < FRESH_MS) return true;
      if (last === undefined || ageMs >= MISS_PAUSE_MS) await read(view, asking);
      const now = known.get(keyOf(view, asking.agent));
      if (now?.tools.has(wanted)) return true;
      const missing = now?.missing.get(server);
      return missing === undefined ? false : { missing };
    },
  };
}
