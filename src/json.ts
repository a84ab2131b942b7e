/** Pure. Strict JSON: one meaning for every reader, or a fault. Nodes know where they stand, so bytes can be spliced instead of written anew. */
import { isUtf8 } from "node:buffer";
import { decodeString, Fault, Scanner } from "./json-scan.ts";

export type JsonKind = "object" | "array" | "string" | "number" | "boolean" | "null";

/** `start` and `end` are byte offsets, half-open. Members and elements are built down to `treeDepth` only; below they are validated. */
export type JsonNode = {
  readonly kind: JsonKind;
  readonly start: number;
  readonly end: number;
  readonly members: readonly JsonMember[];
  readonly elements: readonly JsonNode[];
};
export type JsonMember = { readonly name: string; readonly start: number; readonly value: JsonNode };
export type ScanFault = { readonly fault: string; readonly at: number };

export type ScanLimits = {
  readonly treeDepth: number;
  readonly depthMax?: number;
  readonly keysMax?: number;
  /** Also numbers that no double is, and half characters: whoever reads them says where they stand. */
  readonly anyValue?: boolean;
};

/** Refuses what two parsers could read differently: RFC 8259 loosely, RFC 7493 (I-JSON) strictly. */
export function scanJson(bytes: Buffer, limits: ScanLimits): JsonNode | ScanFault {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) return { fault: "a byte order mark", at: 0 };
  // Encoded surrogates and overlong forms are invalid UTF-8 as well.
  if (!isUtf8(bytes)) return { fault: "invalid UTF-8", at: 0 };
  try {
    return new Scanner(bytes, limits).document();
  } catch (thrown) {
    if (thrown instanceof Fault) return { fault: thrown.message, at: thrown.at };
    throw thrown;
  }
}

export function isScanFault(result: JsonNode | ScanFault): result is ScanFault {
  return "fault" in result;
}

export function member(node: JsonNode, name: string): JsonNode | undefined {
  for (const each of node.members) if (each.name === name) return each.value;
  return undefined;
}

/** The decoded text of a string node; undefined for any other kind. */
export function stringValue(bytes: Buffer, node: JsonNode | undefined): string | undefined {
  return node?.kind === "string" ? decodeString(bytes, node.start, node.end) : undefined;
}

export type Edit = { readonly start: number; readonly end: number; readonly replacement: Uint8Array };

/** Replaces byte ranges; edits are in order and do not overlap. Everything else stays as it was received. */
export function splice(bytes: Buffer, edits: readonly Edit[]): Buffer {
  const pieces: Uint8Array[] = [];
  let from = 0;
  for (const { start, end, replacement } of edits) {
    if (start < from || end < start || end > bytes.length) throw new RangeError("edits overlap or are out of order");
    pieces.push(bytes.subarray(from, start), replacement);
    from = end;
  }
  pieces.push(bytes.subarray(from));
  return Buffer.concat(pieces);
}

/** Names that a reader knows, and what each becomes for a reader that ignores case. */
export type KnownNames = { readonly exact: ReadonlySet<string>; readonly folded: ReadonlySet<string> };

export function knownNames(names: readonly string[]): KnownNames {
  return { exact: new Set(names), folded: new Set(names.map(fold)) };
}

/** True for a name that is none of the known ones but is taken for one by a parser that folds case, as Go's does. */
export function foldsOnto(name: string, known: KnownNames): boolean {
  return !known.exact.has(name) && known.folded.has(fold(name));
}

/** Upper case first: it takes the long s to S and the dotless i to I; U+0130 is an i to Java's equalsIgnoreCase only. */
function fold(name: string): string {
  return name.toUpperCase().replaceAll("\u0130", "I").toLowerCase();
}
