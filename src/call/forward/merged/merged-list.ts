/** The lists of several servers as one: page by page in the order of the configuration; who cannot be read is named, and the others are shown. */
import type { ServerName } from "../../../ids.ts";
import { malformed, type Refusal } from "../../../refusal.ts";
import type { Seal } from "../../../seal.ts";
import type { Agent } from "../../authenticate/agent.ts";
import type { ServerView } from "../../authorize/server-view.ts";
import { SHAPES } from "../list-filter.ts";
import { type Asking, type ListedElement, type MemberPage, type Members, readMemberPage, type Unavailable } from "./member-page.ts";

/** Where each server that has more goes on. */
type Place = { readonly server: ServerName; readonly cursor: string | null };

export type MergedPage = {
  readonly elements: readonly ListedElement[];
  readonly unavailable: readonly Unavailable[];
  readonly next: readonly Place[];
  readonly ttlMs: number;
};

/** Of one server; longer ones would make the cursor of all too long to come back, and its list ends there. */
const CURSOR_CHARACTERS_MAX = 1_024;
/** A list with a limit is read to its end: 100 pages of one server are more than any limit shows. */
const PAGES_MAX = 100;

/** The next page of every server that has one. */
export async function readMergedPage(
  view: ServerView,
  members: Members,
  asking: Asking,
  method: string,
  places: readonly Place[],
): Promise<MergedPage> {
  const pages = await Promise.all(places.map(({ server, cursor }) => readMemberPage(view, members, asking, server, method, cursor)));
  const next: Place[] = [];
  for (const [index, page] of [...pages].entries()) {
    const server = places[index]?.server;
    if (server === undefined || !("elements" in page) || page.nextCursor === null) continue;
    if (page.nextCursor.length <= CURSOR_CHARACTERS_MAX) next.push({ server, cursor: page.nextCursor });
    else pages.push({ server, reason: "upstream_invalid" });
  }
  return together(pages, next);
}

/** The first `max` elements, server after server, as one page. */
export async function readFirst(view: ServerView, members: Members, asking: Asking, method: string, max: number): Promise<MergedPage> {
  const wholes = await Promise.all(
    firstPlaces(view, members, asking.agent, method).map(({ server }) => readWhole(view, members, asking, server, method, max)),
  );
  const { elements, ...rest } = together(wholes.flat(), []);
  return { elements: elements.slice(0, max), ...rest };
}

async function readWhole(view: ServerView, members: Members, asking: Asking, server: ServerName, method: string, max: number) {
  const pages: (MemberPage | Unavailable)[] = [];
  let cursor: string | null = null;
  let count = 0;
  for (let read = 0; read < PAGES_MAX && count < max; read++) {
    const page: MemberPage | Unavailable = await readMemberPage(view, members, asking, server, method, cursor);
    pages.push(page);
    if (!("elements" in page) || page.nextCursor === null) break;
    count += page.elements.length;
    cursor = page.nextCursor;
  }
  return pages;
}

function together(pages: readonly (MemberPage | Unavailable)[], next: readonly Place[]): MergedPage {
  const read = pages.filter((page) => "elements" in page);
  const unavailable = pages.filter((page): page is Unavailable => !("elements" in page));
  // Who is missing may be back in a moment.
  const ttlMs = unavailable.length > 0 ? 0 : Math.min(...read.map((page) => page.ttlMs ?? 0));
  return { elements: read.flatMap((page) => page.elements), unavailable, next, ttlMs: Number.isFinite(ttlMs) ? Math.max(0, ttlMs) : 0 };
}

/** Every server that the agent may ask, at its beginning. */
export function firstPlaces(view: ServerView, members: Members, agent: Agent, method: string | null): Place[] {
  const kind = SHAPES.get(method ?? "")?.kind;
  const asked = view.servers.filter(
    (server) => (kind === undefined || kind === "task" || view.mayShow(server, kind)) && members.mayAsk(agent, server, method),
  );
  return asked.map((server) => ({ server, cursor: null }));
}

/** A cursor is the view's own: sealed for the principal, the route and the list that it continues. */
export function sealPlaces(seal: Seal, { route }: ServerView, { principal }: Agent, method: string, places: readonly Place[]): string {
  return seal.seal(
    "cursor",
    JSON.stringify([principal, route, method]),
    JSON.stringify(places.map(({ server, cursor }) => [server, cursor])),
  );
}

/** A cursor outlives a restart: a server that has left the view since, or that the agent may not ask any more, is passed over. */
export function openPlaces(
  seal: Seal,
  view: ServerView,
  members: Members,
  agent: Agent,
  method: string,
  cursor: string,
): Place[] | Refusal {
  const text = seal.open("cursor", JSON.stringify([agent.principal, view.route, method]), cursor);
  if (text === null) return malformed(-32602, "a cursor that this list did not give to this principal");
  const asked = new Set(firstPlaces(view, members, agent, method).map(({ server }) => server));
  const places = JSON.parse(text) as [ServerName, string][];
  return places.filter(([server]) => asked.has(server)).map(([server, at]) => ({ server, cursor: at }));
}

/** The result as text: elements as they were received, but for their names. */
export function listResult(method: string, page: MergedPage, nextCursor: string | null, era: "modern" | "legacy"): string {
  const list = SHAPES.get(method)?.list ?? "";
  const elements = page.elements.map(({ bytes }) => bytes.toString("utf8")).join(",");
  const members = [`"${list}":[${elements}]`];
  if (nextCursor !== null) members.push(`"nextCursor":${JSON.stringify(nextCursor)}`);
  if (era === "modern") members.push('"resultType":"complete"', `"ttlMs":${Math.trunc(page.ttlMs)}`, '"cacheScope":"private"');
  if (page.unavailable.length > 0) members.push(`"_meta":{"io.tollgate/unavailable":${JSON.stringify(page.unavailable)}}`);
  return `{${members.join(",")}}`;
}
