/** What a server offers, as it lists it itself: one reading serves all who share a credential, and a miss reads once more. */
import { LRUCache } from "lru-cache";
import { isRefusal, type Refusal } from "../../refusal.ts";
import { type DefinitionText, definitionOf } from "./definition.ts";
import { isToolName } from "./list-filter.ts";
import { parameterHeadersOf } from "./parameter-headers.ts";
import type { Definition, Offer } from "./upstream.ts";

export type ToolListing = readonly { readonly name: string; readonly [member: string]: unknown }[];
/** The whole list, and which version the server says that it is; null: it says none. */
export type Listing = { readonly tools: ToolListing; readonly version: string | null };
/** Reads the whole list from the upstream. */
export type ReadListing = () => Promise<Listing | Refusal>;

/** What one reading has found, before anybody is told of it. */
export type Reading = { readonly version: string | null; readonly definitions: readonly DefinitionText[] };
/** Hears of every reading first; a refusal stands in its place. */
export type HearReading = (reading: Reading) => Promise<Refusal | null>;

export type Catalogue = {
  /** `accepts`: a tool that it does not accept is looked for once more, as one that is missing is. */
  find(
    shareKey: string,
    toolName: string,
    read: ReadListing,
    accepts?: (found: Definition) => boolean,
  ): Promise<Definition | null | Refusal>;
  /** All that the server offers, as it was last read. */
  offer(shareKey: string, read: ReadListing): Promise<Offer | Refusal>;
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

type Shelf = Offer & { readonly readAtMs: number };

const UNHEARD: HearReading = () => Promise.resolve(null);

export function createCatalogue(mono: () => number, hear: HearReading = UNHEARD): Catalogue {
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
      .then(async (listing) => {
        if (isRefusal(listing)) return listing;
        const readAtMs = mono();
        const { version, tools } = listing;
        const texts = textsOf(tools);
        const objection = await hear({ version, definitions: [...texts.values()] });
        if (objection !== null) return objection;
        const shelf = { readAtMs, version, definitions: definitionsOf(tools, texts) };
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
  const ageMsOf = (shelf: Shelf | undefined) => (shelf === undefined ? Number.POSITIVE_INFINITY : mono() - shelf.readAtMs);
  return {
    async offer(shareKey, read) {
      const known = shelves.get(shareKey);
      return known !== undefined && ageMsOf(known) < FRESH_MS ? known : await readOnce(shareKey, read);
    },
    async find(shareKey, toolName, read, accepts = () => true) {
      const known = shelves.get(shareKey);
      const ageMs = ageMsOf(known);
      const found = known?.definitions.get(toolName);
      const isGood = found !== undefined && accepts(found);
      if (isGood && ageMs < FRESH_MS) return found;
      if (known !== undefined && !isGood && ageMs < MISS_PAUSE_MS) return found ?? null;
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

/** A tool that cannot be called by its name, or whose definition no two readers would hash alike, is none. Of two of one name the later counts. */
function textsOf(tools: ToolListing): Map<string, DefinitionText> {
  const texts = new Map<string, DefinitionText>();
  for (const tool of tools) {
    const definition = isToolName(tool.name) ? definitionOf(tool) : null;
    if (definition !== null) texts.set(tool.name, definition);
  }
  return texts;
}

function definitionsOf(tools: ToolListing, texts: ReadonlyMap<string, DefinitionText>): Map<string, Definition> {
  const definitions = new Map<string, Definition>();
  for (const { name, inputSchema } of tools) {
    const sha256 = texts.get(name)?.sha256;
    if (sha256 !== undefined) definitions.set(name, { name, sha256, parameterHeaders: parameterHeadersOf(inputSchema), observed: null });
  }
  return definitions;
}
