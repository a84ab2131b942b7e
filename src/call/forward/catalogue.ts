/** What a server offers, as it lists it itself: one reading serves all who share a credential, and a miss reads once more. */
import { createHash } from "node:crypto";
import canonicalize from "canonicalize";
import { LRUCache } from "lru-cache";
import { isRefusal, type Refusal } from "../../refusal.ts";
import { isToolName } from "./list-filter.ts";
import { parameterHeadersOf } from "./parameter-headers.ts";
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
/** About 50 MB of names and hashes, of all that share nothing together. */
const DEFINITIONS_MAX = 200_000;

type Shelf = { readonly readAtMs: number; readonly definitions: ReadonlyMap<string, Definition> };

export function createCatalogue(mono: () => number): Catalogue {
  const shelves = new LRUCache<string, Shelf>({
    max: KEYS_MAX,
    maxSize: DEFINITIONS_MAX,
    sizeCalculation: ({ definitions }) => definitions.size + 1,
  });
  const reading = new Map<string, Promise<Shelf | Refusal>>();
  const readOnce = (shareKey: string, read: ReadListing): Promise<Shelf | Refusal> => {
    const running = reading.get(shareKey);
    if (running !== undefined) return running;
    const started: Promise<Shelf | Refusal> = read()
      .then((listing) => {
        if (isRefusal(listing)) return listing;
        const shelf = { readAtMs: mono(), definitions: definitionsOf(listing) };
        // Forgotten meanwhile: the list may be from before the change, and serves only who waits for it.
        if (reading.get(shareKey) === started) shelves.set(shareKey, shelf);
        return shelf;
      })
      .finally(() => {
        if (reading.get(shareKey) === started) reading.delete(shareKey);
      });
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
    forget() {
      shelves.clear();
      reading.clear();
    },
  };
}

/** A tool that cannot be called by its name, or whose definition no two readers would hash alike, is none. */
function definitionsOf(listing: ToolListing): Map<string, Definition> {
  const definitions = new Map<string, Definition>();
  for (const tool of listing) {
    const sha256 = isToolName(tool.name) ? sha256Of(tool) : null;
    if (sha256 !== null) definitions.set(tool.name, { name: tool.name, sha256, parameterHeaders: parameterHeadersOf(tool.inputSchema) });
  }
  return definitions;
}

/** Over the whole definition: a pin of the description alone misses most changes. RFC 8785 has no form for 1e400 or a lone surrogate. */
function sha256Of(tool: unknown): string | null {
  try {
    return createHash("sha256")
      .update(canonicalize(tool) ?? "")
      .digest("hex");
  } catch {
    return null;
  }
}
