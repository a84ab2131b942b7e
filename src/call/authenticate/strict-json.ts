/** Pure. JSON that every parser reads alike, as a value. */
import { isScanFault, scanJson } from "../../json.ts";

/** Undefined: duplicate members, invalid UTF-8, a BOM or a lone surrogate would let two readers see two documents. */
export function parseStrict(bytes: Buffer): unknown {
  return isScanFault(scanJson(bytes, { treeDepth: 1 })) ? undefined : JSON.parse(bytes.toString());
}
