/** Pure. The definition of a tool as it is hashed, pinned and judged: in one canonical form, whatever its spelling. */
import { createHash } from "node:crypto";
import canonicalize from "canonicalize";

/** `text` is the RFC 8785 form of the whole definition, `sha256` over it, hex. */
export type DefinitionText = { readonly name: string; readonly sha256: string; readonly text: string };

/** `hidden` and `bidi` keep a definition from being pinned by itself; `oversized` is only said. */
export type Flag = "hidden" | "bidi" | "oversized";

/** Canonical bytes. The tools of real servers take one to four thousand; what is longer hides things by its length. */
export const DEFINITION_BYTES_USUAL = 16_384;

/** Over the whole definition: a pin of the description alone misses most changes. Null: RFC 8785 has no form for 1e400 or a lone surrogate. */
export function definitionOf(tool: unknown): DefinitionText | null {
  try {
    const text = canonicalize(tool);
    const { name } = tool as { name?: unknown };
    if (text === undefined || typeof name !== "string") return null;
    return { name, sha256: createHash("sha256").update(text).digest("hex"), text };
  } catch {
    return null;
  }
}

/** An element of a list as its bytes arrived. */
export function definitionIn(element: Uint8Array): DefinitionText | null {
  try {
    return definitionOf(JSON.parse(Buffer.from(element).toString()));
  } catch {
    return null;
  }
}

/** What a person who reads the definition may not see, or not see as it is. */
export function flagsOf(text: string): readonly Flag[] {
  const read = everyText(JSON.parse(text)).join("\n").replace(JOINED_EMOJI, "").replace(COLOURED_EMOJI, "");
  const flags: Flag[] = [];
  if (HIDDEN.test(read)) flags.push("hidden");
  if (BIDI.test(read)) flags.push("bidi");
  if (Buffer.byteLength(text) > DEFINITION_BYTES_USUAL) flags.push("oversized");
  return flags;
}

/** Shown to a model before a person has looked: never. */
export function needsEyes(flags: readonly Flag[]): boolean {
  return flags.includes("hidden") || flags.includes("bidi");
}

/** UAX #9: what turns the order of reading around. */
const BIDI = /[\u{61c}\u{200e}\u{200f}\u{202a}-\u{202e}\u{2066}-\u{2069}]/u;
/**
 * Controls but for line breaks and tabs (ANSI escapes begin with one), format characters but for those above, and whatever else
 * shows as nothing (Unicode's Default_Ignorable_Code_Point, the empty Braille pattern): any of them carries text unseen.
 */
const HIDDEN =
  /(?![\n\r\t])\p{Cc}|(?![\u{61c}\u{200e}\u{200f}\u{202a}-\u{202e}\u{2066}-\u{2069}])[\p{Cf}\p{Default_Ignorable_Code_Point}]|\u{2800}/u;
/** A family is three people and two zero-width joiners: that is what they are for. */
const JOINED_EMOJI = /(?<=\p{Extended_Pictographic}\u{fe0f}?\p{EMod}?)\u{200d}(?=\p{Extended_Pictographic})/gu;

/** A pictograph or a key cap in colour: one selector behind it. */
const COLOURED_EMOJI = /(?<=(?![0-9#*])\p{Extended_Pictographic})\u{fe0f}|(?<=[0-9#*])\u{fe0f}(?=\u{20e3})/gu;

/** Names of members too: a model reads them as it reads the rest. */
function everyText(value: unknown): string[] {
  if (typeof value === "string") return [value];
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, member]) => [key, ...everyText(member)]);
}
