/** What was done with the policies, over the admin API: calls with what was decided of them, uses of permits, scopes of tokens. */
import { instantMs } from "../../call/authorize/written.ts";
import type { Reader } from "../../call/record/reader.ts";
import type { Registry } from "../agents/registry.ts";
import type { ControlStore } from "../store.ts";
import { isTheirs } from "./permissions.ts";
import { type Answer, type Route, route } from "./route.ts";

export type HistoryParts = {
  readonly reader: Reader;
  readonly registry: Registry;
  readonly store: ControlStore;
  readonly now: () => number;
};

/** As the policies of one gateway have them. */
const NAMES_MAX = 1_000;
/** Beyond them a question asks for each moment by itself. */
const BORDERS_MAX = 500;
const THE_BEGINNING = "1970-01-01";
const NO_TIME: Answer = { status: 400, detail: "since and until are RFC 3339 times or dates" };

export function historyRoutes({ reader, registry, store }: HistoryParts): readonly Route[] {
  return [
    route({
      method: "GET",
      path: "/policy/calls",
      permission: "audit:read",
      summary: "Calls that policies have decided since then, equal ones as one; a page at a time, from the record `from`.",
      body: null,
      async answer({ caller, query }) {
        const [sinceMs, untilMs] = [instantMs(query.since ?? THE_BEGINNING), query.until === undefined ? null : instantMs(query.until)];
        if (sinceMs === null || (untilMs === null && query.until !== undefined)) return NO_TIME;
        const from = query.from === undefined ? null : Number(query.from);
        if (from !== null && !Number.isSafeInteger(from)) return { status: 400, detail: "from is the sequence of a record" };
        const borders = query.borders === "each" ? null : (query.borders ?? "").split(",").filter(Boolean).map(Number);
        if (borders !== null && (borders.length > BORDERS_MAX || !borders.every(Number.isSafeInteger)))
          return { status: 400, detail: `borders are at most ${BORDERS_MAX} times in milliseconds, or the word each` };
        const { customer } = caller;
        return { status: 200, json: await reader.ask("calls", { sinceMs, untilMs, from, agent: query.agent ?? null, customer, borders }) };
      },
    }),
    route({
      method: "GET",
      path: "/policy/uses",
      permission: "audit:read",
      summary: "When each agent last made a call that one of the rules let through, since then.",
      body: null,
      async answer({ caller, query }) {
        const sinceMs = instantMs(query.since ?? THE_BEGINNING);
        if (sinceMs === null) return NO_TIME;
        const rules = (query.rules ?? "").split(",").filter(Boolean).slice(0, NAMES_MAX);
        const uses = await reader.ask("lastUses", { rules, since: new Date(sinceMs).toISOString() });
        const items = uses.filter(({ agent }) => isTheirs(caller, registry.byId(agent)?.customer ?? ""));
        return { status: 200, json: { items } };
      },
    }),
    route({
      method: "GET",
      path: "/policy/grants",
      permission: "audit:read",
      summary:
        "The scopes of the tokens that agents were issued since then, as far as they are remembered, and the tools that servers are known to have.",
      body: null,
      async answer({ caller, query }) {
        const sinceMs = instantMs(query.since ?? THE_BEGINNING);
        if (sinceMs === null) return NO_TIME;
        const issued = await store.db
          .selectFrom("issued_token")
          .select(["agent_id", "scope"])
          .distinct()
          .where("issued_ms", ">=", sinceMs)
          .execute();
        const scopes = new Map<string, Set<string>>();
        for (const { agent_id, scope } of issued) {
          if (!isTheirs(caller, registry.byId(agent_id)?.customer ?? "")) continue;
          scopes.set(agent_id, (scopes.get(agent_id) ?? new Set()).union(new Set(scope.split(" ").filter(Boolean))));
        }
        // Which tools there are is nobody's business in particular: a bound key is not told.
        const pins = caller.customer === null ? await store.db.selectFrom("tool_pin").select(["server", "tool"]).execute() : [];
        const items = [...scopes].map(([agent, held]) => ({ agent, scopes: [...held].toSorted() }));
        return { status: 200, json: { items, tools: pins } };
      },
    }),
  ];
}
