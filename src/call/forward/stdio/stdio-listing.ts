/** The gateway's own tools/list at a stdio server, page by page. */
import { type Refusal, refuse } from "../../../refusal.ts";
import type { Listing, ToolListing } from "../catalogue.ts";
import { versionIn } from "../server-info.ts";
import type { Child } from "./children.ts";

/** 10,000 tools are more than any agent can read. */
const PAGES_MAX = 100;
const TOOLS_MAX = 10_000;

/** `timeoutMs` is for all pages together. */
export async function readListing({ peer, initialized }: Child, mono: () => number, timeoutMs: number): Promise<Listing | Refusal> {
  const tools: ToolListing[number][] = [];
  const untilMs = mono() + timeoutMs;
  try {
    let cursor: unknown;
    for (let pages = 0; pages < PAGES_MAX && tools.length <= TOOLS_MAX; pages++) {
      const page = await peer.ask("tools/list", cursor === undefined ? {} : { cursor }, untilMs - mono());
      for (const tool of Array.isArray(page.tools) ? (page.tools as unknown[]) : []) if (isTool(tool)) tools.push(tool);
      cursor = page.nextCursor;
      if (typeof cursor !== "string") return { tools, version: versionIn(initialized.serverInfo) };
    }
    return refuse("upstream_unreachable", {}, "tools/list has no end");
  } catch (fault) {
    return refuse("upstream_unreachable", {}, `tools/list: ${fault instanceof Error ? fault.message : "unknown"}`);
  }
}

function isTool(tool: unknown): tool is ToolListing[number] {
  return typeof tool === "object" && tool !== null && typeof (tool as { name?: unknown }).name === "string";
}
