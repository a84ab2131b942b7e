/** What the registry knows of tools and agents, for whoever judges policies: only read, and never a reason not to go on. */
import type { Kysely } from "kysely";
import { type Known, type KnownTool, NOTHING_KNOWN } from "../call/authorize/known.ts";
import { openPostgresToRead } from "./postgres.ts";
import { openSqliteToRead } from "./store.ts";
import type { Tables } from "./tables.ts";

/** `unasked`: why nothing could be learned; null where nothing is amiss. */
export type KnownOrNot = { readonly known: Known; readonly unasked: string | null };

export type RegistryPlace = { readonly dataDir: string; readonly postgres: string | null };

/** A folder without a registry is one that no gateway has used yet. */
export async function readKnown({ dataDir, postgres }: RegistryPlace): Promise<KnownOrNot> {
  let db: Kysely<Tables> | null = null;
  try {
    db = postgres === null ? openSqliteToRead(dataDir) : await openPostgresToRead(postgres);
    return { known: db === null ? NOTHING_KNOWN : await knownIn(db), unasked: null };
  } catch (fault) {
    const why = fault instanceof Error && fault.message !== "" ? fault.message : String(fault);
    return { known: NOTHING_KNOWN, unasked: `the registry could not be asked for tools and agents: ${why}` };
  } finally {
    await db?.destroy().catch(() => {});
  }
}

export async function knownIn(db: Kysely<Tables>): Promise<Known> {
  const rows = await db.selectFrom("tool_pin").select(["server", "tool", "definition"]).execute();
  const tools = rows.map(({ server, tool, definition }): KnownTool => {
    // Of one that nobody has approved the name alone is known.
    return { server, tool, inputSchema: inputSchemaOf(definition ?? "") };
  });
  const agents = await db.selectFrom("agent").select(["id", "name", "team", "workflow", "customer"]).execute();
  const former = await db.selectFrom("former_name").select("name").execute();
  const customers = await db.selectFrom("customer").select("key").execute();
  return {
    tools: Map.groupBy(tools, ({ server }) => server),
    registered: {
      agent: new Set([...agents.flatMap(({ id, name }) => [id, name]), ...former.map(({ name }) => name)]),
      team: new Set(agents.flatMap(({ team }) => team ?? [])),
      workflow: new Set(agents.flatMap(({ workflow }) => workflow ?? [])),
      customer: new Set([...agents.map(({ customer }) => customer), ...customers.map(({ key }) => key)]),
    },
  };
}

function inputSchemaOf(definition: string): unknown {
  try {
    const tool: unknown = JSON.parse(definition);
    return typeof tool === "object" && tool !== null && "inputSchema" in tool ? tool.inputSchema : undefined;
  } catch {
    return undefined;
  }
}
