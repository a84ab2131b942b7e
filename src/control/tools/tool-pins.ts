/** Which definitions of tools count: in memory for every call, in the registry for every gateway. What is not pinned is shown to nobody. */
import { LRUCache } from "lru-cache";
import type { Reading } from "../../call/forward/catalogue.ts";
import type { DefinitionText } from "../../call/forward/definition.ts";
import { type Refusal, refuse } from "../../refusal.ts";
import type { Mirror } from "../agents/directory.ts";
import type { ControlStore } from "../store.ts";
import { type PinAudit, type PinMode, type Waiting, writeReading } from "./write-reading.ts";

export type ToolPins = {
  /** False: no gateway of this registry has read its tools yet. */
  isKnown(server: string): boolean;
  /** `changed`: another definition counts; `new`: none does. */
  verdict(server: string, tool: string, sha256: string): "pinned" | "changed" | "new";
  /** The whole list of a server: pinned where it is the first, compared where it is not. A refusal where a first pin cannot be written. */
  heard(server: string, reading: Reading): Promise<Refusal | null>;
  /** One tool in a list that passes by: written down behind it, where it is not known. */
  noticed(server: string, definition: DefinitionText): void;
  /** Definitions that wait for a yes. */
  waiting(): number;
  /** Ends once what was noticed is written. */
  settled(): Promise<void>;
};

export type ToolPinParts = {
  readonly store: ControlStore;
  readonly registry: { follow(mirror: Mirror): Promise<void>; catchUp(): Promise<void> };
  readonly audit: PinAudit;
  readonly modeOf: (server: string) => PinMode;
  /** True: nothing is refused for want of a pin, nor for want of a place to write it. */
  readonly observe: boolean;
  readonly now: () => number;
  /** A definition that somebody has to look at. */
  readonly onWaiting: (waiting: Waiting) => void;
  readonly fault: (thrown: unknown) => void;
};

type Pinned = { readonly sha256: string | null; readonly seen: string | null };

/** A server that shows something else at every list must not become a flood of writes: each is told once in this time. */
const TOLD_MS = 60_000;
const TOLD_MAX = 10_000;

export async function openToolPins(parts: ToolPinParts): Promise<ToolPins> {
  const { store, registry, modeOf, observe, onWaiting, fault } = parts;
  const servers = new Map<string, ReadonlyMap<string, Pinned>>();
  const told = new LRUCache<string, true>({ max: TOLD_MAX, ttl: TOLD_MS });
  let writing: Promise<unknown> = Promise.resolve();
  const unwritten = new Map<string, DefinitionText[]>();

  async function load(server: string | null): Promise<void> {
    const known = store.db.selectFrom("pinned_server").select("server");
    const pins = store.db.selectFrom("tool_pin").select(["server", "tool", "sha256", "seen_sha256"]);
    const names = await (server === null ? known : known.where("server", "=", server)).execute();
    const rows = Map.groupBy(await (server === null ? pins : pins.where("server", "=", server)).execute(), (row) => row.server);
    if (server === null) servers.clear();
    for (const { server: name } of names) {
      const tools = (rows.get(name) ?? []).map(({ tool, sha256, seen_sha256 }) => [tool, { sha256, seen: seen_sha256 }] as const);
      servers.set(name, new Map(tools));
    }
  }

  async function write(server: string, reading: Reading, whole: boolean): Promise<void> {
    const mode = modeOf(server);
    if (mode === "off") return;
    const waiting = await store.write((transaction) => writeReading({ ...parts, mode, whole }, transaction, server, reading));
    await registry.catchUp();
    waiting.forEach(onWaiting);
  }

  async function writeNoticed(server: string): Promise<void> {
    const definitions = unwritten.get(server) ?? [];
    unwritten.delete(server);
    await write(server, { version: null, definitions }, false);
  }

  const isSettled = (server: string, { name, sha256 }: DefinitionText): boolean => {
    const pin = servers.get(server)?.get(name);
    if (pin === undefined) return false;
    return pin.sha256 === sha256 ? pin.seen === null : pin.seen === sha256;
  };

  await registry.follow({ kind: "tool_pin", loadAll: () => load(null), load });
  return {
    isKnown: (server) => servers.has(server),
    verdict(server, tool, sha256) {
      const pin = servers.get(server)?.get(tool);
      if (pin === undefined || pin.sha256 === null) return "new";
      return pin.sha256 === sha256 ? "pinned" : "changed";
    },
    async heard(server, reading) {
      if (modeOf(server) === "off") return null;
      const known = servers.has(server);
      if (known && reading.definitions.every((definition) => isSettled(server, definition))) return null;
      try {
        await write(server, reading, true);
        return null;
      } catch (thrown) {
        fault(thrown);
        // What differs from a pin is hidden by what is in memory; what was never pinned cannot be told from it.
        return known || observe ? null : refuse("store_unavailable", {}, `the tools of ${server} cannot be pinned now`);
      }
    },
    noticed(server, definition) {
      const key = `${server}/${definition.name} ${definition.sha256}`;
      if (!servers.has(server) || isSettled(server, definition) || told.has(key)) return;
      told.set(key, true);
      const others = unwritten.get(server);
      if (others !== undefined) return void others.push(definition);
      // One transaction for what one list shows.
      unwritten.set(server, [definition]);
      writing = writing.then(() => writeNoticed(server)).catch(fault);
    },
    waiting: () => [...servers.values()].reduce((sum, tools) => sum + [...tools.values()].filter(({ seen }) => seen !== null).length, 0),
    async settled() {
      await writing;
    },
  };
}
