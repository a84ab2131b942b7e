/** Whose a resource is, where several servers of a view could have it: who lists it, else whose template it fits. */
import { LRUCache } from "lru-cache";
import type { ServerName } from "../../../ids.ts";
import { isRefusal, type Refusal, refuse } from "../../../refusal.ts";
import type { Target } from "../../accept/request.ts";
import type { ServerView } from "../../authorize/server-view.ts";
import { type Asking, type MemberPage, type Members, readMemberPage, type Unavailable } from "./member-page.ts";

export type ResourceOwners = {
  /** Of two servers that both have it, the first in the order of the configuration. */
  find(view: ServerView, asking: Asking, resource: Target): Promise<ServerName | Refusal>;
};

type Offer = {
  readonly uris: ReadonlySet<string>;
  readonly templates: readonly string[];
  readonly characters: number;
  readonly atMs: number;
};

const FRESH_MS = 300_000;
/** A URI that nobody lists must not become a flood of lists at the servers. */
const MISS_PAUSE_MS = 1_000;
const OFFERS_MAX = 1_000;
/** Of one list, and of all that is kept, in characters: a server decides what it lists, not how much memory that takes. */
const CHARACTERS_PER_LIST_MAX = 1_000_000;
const CHARACTERS_MAX = 20_000_000;
/** 100 pages: a server with more is asked for what its templates cover. */
const PAGES_MAX = 100;

/** A resource is asked for by its URI: there is no element of a list. */
const NO_BYTES = new Uint8Array(0);

export function createResourceOwners(members: Members, mono: () => number): ResourceOwners {
  const offers = new LRUCache<string, Offer>({
    max: OFFERS_MAX,
    maxSize: CHARACTERS_MAX,
    sizeCalculation: ({ characters }) => characters + 1,
  });
  // Whether the agent may read this URI is judged already; a pattern that permits it need not permit the template it fits.
  const all: Members = { ...members, visible: () => () => true };

  /** Null: the server has never been read. */
  async function offerOf(view: ServerView, asking: Asking, server: ServerName, freshMs: number): Promise<Offer | null> {
    const key = JSON.stringify([view.route, server, asking.agent.principal]);
    const known = offers.get(key);
    if (known !== undefined && mono() - known.atMs < freshMs) return known;
    const [uris, templates] = await Promise.all([
      namesIn(view, all, asking, server, "resources/list"),
      namesIn(view, all, asking, server, "resources/templates/list"),
    ]);
    // Who has gone down stays the owner of what it offered: its resources do not become another's.
    if (uris === null || templates === null) return known ?? null;
    const characters = [...uris, ...templates].reduce((sum, { length }) => sum + length, 0);
    const offer = { uris: new Set(uris), templates, characters, atMs: mono() };
    offers.set(key, offer);
    return offer;
  }

  async function ownerAmong(
    servers: readonly ServerName[],
    view: ServerView,
    asking: Asking,
    uri: string,
    freshMs: number,
  ): Promise<ServerName | Refusal> {
    const found = await Promise.all(servers.map((server) => offerOf(view, asking, server, freshMs)));
    const listed = found.findIndex((offer) => offer?.uris.has(uri));
    const owner = servers[listed === -1 ? found.findIndex((offer) => offer?.templates.some((template) => fits(template, uri))) : listed];
    if (owner !== undefined) return owner;
    const why = `${servers.length} servers of ${view.route} could have this resource, and none lists it`;
    return found.includes(null) ? refuse("upstream_unreachable", {}, why) : refuse("tool_unknown", {}, why);
  }

  return {
    async find(view, asking, resource) {
      const { agent } = asking;
      const possible = view.servers.filter(
        (server) =>
          members.mayAsk(agent, server, null) && view.shows(server, resource) && members.visible(agent, server)(resource, NO_BYTES),
      );
      const [only] = possible;
      if (only === undefined) return refuse("tool_unknown", {}, `no server of ${view.route} has this resource for this agent`);
      if (possible.length === 1) return only;
      const owner = await ownerAmong(possible, view, asking, resource.name, FRESH_MS);
      return isRefusal(owner) ? await ownerAmong(possible, view, asking, resource.name, MISS_PAUSE_MS) : owner;
    },
  };
}

/** Null: not all of it could be read. */
async function namesIn(
  view: ServerView,
  members: Members,
  asking: Asking,
  server: ServerName,
  method: string,
): Promise<readonly string[] | null> {
  if (!members.mayAsk(asking.agent, server, method)) return [];
  const names: string[] = [];
  let characters = 0;
  let cursor: string | null = null;
  for (let read = 0; read < PAGES_MAX; read++) {
    const page: MemberPage | Unavailable = await readMemberPage(view, members, asking, server, method, cursor);
    if (!("elements" in page)) return null;
    for (const { name } of page.elements) {
      characters += name.length;
      if (characters > CHARACTERS_PER_LIST_MAX) return names;
      names.push(name);
    }
    cursor = page.nextCursor;
    if (cursor === null) return names;
  }
  return names;
}

/** RFC 6570, as far as routing needs it: each expression may stand for any text, the literals stand in their order; a template is its own name. */
export function fits(template: string, uri: string): boolean {
  const literals = template.split(/\{[^{}]*\}/);
  const first = literals[0] ?? "";
  const last = literals.at(-1) ?? "";
  if (literals.length === 1 || template === uri) return template === uri;
  if (!uri.startsWith(first)) return false;
  let from = first.length;
  for (const literal of literals.slice(1, -1)) {
    const at = uri.indexOf(literal, from);
    if (at === -1) return false;
    from = at + literal.length;
  }
  return uri.length - last.length >= from && uri.endsWith(last);
}
