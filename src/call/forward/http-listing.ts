/** The gateway's own tools/list at an HTTP upstream, page by page. */
import type { Refusal } from "../../refusal.ts";
import type { IssuedToken } from "../exchange/issued-token.ts";
import type { Listing, ToolListing } from "./catalogue.ts";
import { handshake, MODERN, onOurBehalf, type Reissue, type Said, type Say, type Session } from "./http-own-words.ts";
import type { Wire } from "./http-wire.ts";
import { versionInMeta } from "./server-info.ts";

/** 10,000 tools are more than any agent can read. */
const PAGES_MAX = 100;
const TOOLS_MAX = 10_000;

export function readListing(wire: Wire, issued: IssuedToken, timeoutMs: number, reissue: Reissue): Promise<Listing | Refusal> {
  return onOurBehalf(wire, issued, timeoutMs, reissue, readPages);
}

async function readPages(say: Say): Promise<Listing> {
  const first = await say("tools/list", {}, MODERN);
  if (isPage(first)) {
    const tools = await collect(say, MODERN, first);
    return { tools, version: versionInMeta(first.message?.result) };
  }
  const session = await handshake(say);
  const page = await say("tools/list", {}, session);
  if (!isPage(page)) throw new Error(`the upstream answered ${page.status}`);
  const tools = await collect(say, session, page);
  if (session.id !== null) await say("DELETE", {}, session).catch(() => {});
  return { tools, version: session.version };
}

function isPage({ message }: Said): boolean {
  return Array.isArray(message?.result?.tools);
}

async function collect(say: Say, session: Session, first: Said): Promise<ToolListing> {
  const tools: ToolListing[number][] = [];
  let said = first;
  for (let pages = 1; ; pages++) {
    const result = said.message?.result;
    for (const tool of (result?.tools as unknown[]) ?? []) if (isTool(tool)) tools.push(tool);
    if (tools.length > TOOLS_MAX) throw new Error("the list has no end");
    const cursor = result?.nextCursor;
    if (typeof cursor !== "string") return tools;
    if (pages === PAGES_MAX) throw new Error("the list has no end");
    said = await say("tools/list", { cursor }, session);
    if (!isPage(said)) throw new Error(`the upstream answered ${said.status} to a page`);
  }
}

function isTool(tool: unknown): tool is ToolListing[number] {
  return typeof tool === "object" && tool !== null && typeof (tool as { name?: unknown }).name === "string";
}
