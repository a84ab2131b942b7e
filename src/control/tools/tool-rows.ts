/** The pinned tools as people read them: what counts, what waits for a yes, and what in it cannot be seen with the eye. */
import { type Flag, flagsOf } from "../../call/forward/definition.ts";
import type { ControlStore } from "../store.ts";
import type { ToolPinRow } from "../tables.ts";
import { type Difference, differencesOf } from "./definition-diff.ts";

export type ToolRow = {
  readonly server: string;
  readonly tool: string;
  /** `changed`: another definition was seen than the one that counts; `new`: none counts yet. */
  readonly state: "pinned" | "changed" | "new";
  readonly sha256: string | null;
  readonly pinned_at: string | null;
  readonly pinned_by: string | null;
  /** Of the definition that waits; null: none does. */
  readonly seen_sha256: string | null;
  readonly seen_at: string | null;
  /** Of the definition that waits, or else of the one that counts. */
  readonly flags: readonly Flag[];
};

export type ToolDetail = ToolRow & {
  readonly definition: unknown;
  readonly seen_definition: unknown;
  readonly differences: readonly Difference[];
};

export type ToolQuery = {
  readonly server: string | null;
  readonly waiting: boolean;
  /** `server/tool` of the last one before. */
  readonly after: string | null;
  readonly limit: number;
};

export type ToolRows = {
  list(query: ToolQuery): Promise<readonly ToolRow[]>;
  find(server: string, tool: string): Promise<ToolDetail | null>;
};

export function toolRows({ db }: Pick<ControlStore, "db">): ToolRows {
  return {
    async list({ server, waiting, after, limit }) {
      let query = db.selectFrom("tool_pin").selectAll().orderBy("server").orderBy("tool").limit(limit);
      if (server !== null) query = query.where("server", "=", server);
      if (waiting) query = query.where("seen_sha256", "is not", null);
      if (after !== null) {
        const at = after.indexOf("/");
        const [last, tool] = [after.slice(0, at), after.slice(at + 1)];
        query = query.where(({ eb, or, and }) => or([eb("server", ">", last), and([eb("server", "=", last), eb("tool", ">", tool)])]));
      }
      return (await query.execute()).map(rowOf);
    },
    async find(server, tool) {
      const row = await db.selectFrom("tool_pin").selectAll().where("server", "=", server).where("tool", "=", tool).executeTakeFirst();
      return row === undefined ? null : detailOf(row);
    },
  };
}

function rowOf(row: ToolPinRow): ToolRow {
  const { server, tool, sha256, pinned_at, pinned_by, seen_sha256, seen_at } = row;
  const state = sha256 === null ? "new" : seen_sha256 === null ? "pinned" : "changed";
  return {
    server,
    tool,
    state,
    sha256,
    pinned_at,
    pinned_by,
    seen_sha256,
    seen_at,
    flags: flagsOf(row.seen_definition ?? row.definition ?? "{}"),
  };
}

function detailOf(row: ToolPinRow): ToolDetail {
  return {
    ...rowOf(row),
    definition: jsonOf(row.definition),
    seen_definition: jsonOf(row.seen_definition),
    differences: row.seen_definition === null ? [] : differencesOf(row.definition, row.seen_definition),
  };
}

function jsonOf(text: string | null): unknown {
  return text === null ? null : JSON.parse(text);
}
