/** What a server offers, as it lists it itself: one reading serves all who share a credential, and a miss reads once more. */
import { createHash } from "node:crypto";
import canonicalize from "canonicalize";
import { LRUCache } from "lru-cache";
import { isRefusal, type Refusal } from "../../refusal.ts";
import type { Definition } from "./upstream.ts";

export type ToolListing = readonly { readonly name: string; readonly [member: string]: unknown }[];
/** Reads the whole list from the upstream. */
export type ReadListing = () => Promise<ToolListing | Refusal>;

export type Catalogue = {
  find(shareKey: string, toolName: string, read: ReadListing): Promise<Definition | null | Refusal>;
  /** The upstream says that its list has changed. */
  forget(): void;
};

/** How long a listing counts without word of a change. */
const FRESH_MS = 300_000;
/** Unknown names must not become a flood of tools/list at the upstream. */
const MISS_PAUSE_MS = 1_000;
const KEYS_MAX = 10_000;

type Shelf = { readonly readAtMs: number; readonly definitions: ReadonlyMap<string, Definition> };

export function createCatalogue(mono: () => number): Catalogue {
  const shelves = new LRUCache<string, Shelf>({ max: KEYS_MAX });
  const reading = new Map<string, Promise<Shelf | Refusal>>();
  const readOnce = (shareKey: string, read: ReadListing): Promise<Shelf | Refusal> => {
    const running = reading.get(shareKey);
    if (running !== undefined) return running;
    const started = read()
      .then((listing) => {
        if (isRefusal(listing)) return listing;
        const shelf = { readAtMs: mono(), definitions: definitionsOf(listing) };
        shelves.set(shareKey, shelf);
        return shelf;
      })
      .finally(() => reading.delete(shareKey));
    reading.set(shareKey, started);
    return started;
  };
  return {
    async find(shareKey, toolName, read) {
      const known = shelves.get(shareKey);
      const ageMs = known === undefined ? Number.POSITIVE_INFINITY : mono() - known.readAtMs;
      const found = known?.definitions.get(toolName);
      if (found !== undefined && ageMs < FRESH_MS) return found;
      if (known !== undefined && found === undefined && ageMs < MISS_PAUSE_MS) return null;
      const shelf = await readOnce(shareKey, read);
      if (isRefusal(shelf)) return shelf;
      return shelf.definitions.get(toolName) ?? null;
    },
    forget: () => shelves.clear(),
  };
}

function definitionsOf(listing: ToolListing): Map<string, Definition> {
  const definitions = new Map<string, Definition>();
  for (const tool of listing) definitions.set(tool.name, { name: tool.name, sha256: sha256Of(tool) });
  return definitions;
}

/** Over the whole definition: a pin of the description alone misses most changes. */
function sha256Of(tool: unknown): string {
  return createHash("sha256")
    .update(canonicalize(tool) ?? "")
    .digest("hex");
}
