/** Keys that live in this process: read at each look, imported when they change. */
import { type Refusal, refuse } from "../../refusal.ts";
import { importKeySet, type KeySet, type KeySource } from "./key-set.ts";
import type { Algorithm, LocalKeys } from "./trusted-issuer.ts";

const UNUSABLE = refuse("store_unavailable", {}, "issuer keys unavailable: the local key set is unusable");

export function localKeySource(local: LocalKeys, trusted: readonly Algorithm[], keysMax: number): KeySource {
  let seen: {
    readonly keys: unknown;
    readonly text: string;
    readonly set: KeySet | null;
    readonly importing: Promise<KeySet | Refusal>;
  } | null = null;

  function current(): KeySet | Refusal | Promise<KeySet | Refusal> {
    const keys = local.keys();
    if (seen !== null && isSame(keys)) return seen.set ?? seen.importing;
    const started = {
      keys,
      text: JSON.stringify(keys),
      set: null as KeySet | null,
      importing: importKeySet({ keys }, trusted, keysMax).then((set) => {
        if (typeof set === "string") return UNUSABLE;
        started.set = set;
        return set;
      }),
    };
    seen = started;
    return started.importing;
  }

  /** The same array, or another with the same text. */
  const isSame = (keys: unknown) => seen !== null && (seen.keys === keys || seen.text === JSON.stringify(keys));

  return { current, afterUnknownKid: current, holds: (set) => seen?.set === set && isSame(local.keys()) };
}
