/** Pure. What a customer's account allows its agents at most: policies permit within it, and never beyond. */
import type { Target } from "../accept/request.ts";
import { globOf } from "./glob.ts";
import { parsePattern } from "./pattern.ts";
import { asciiUri } from "./resource-uri.ts";

export type Ceiling = {
  covers(server: string, target: Target): boolean;
  /** True where something on the server, of the same kind, may be within it. */
  touches(server: string, kind: Target["kind"]): boolean;
};

/** A pattern that is none covers nothing: a bound that cannot be read is no reason to allow more. */
export function ceilingOf(written: readonly string[] | null): Ceiling | null {
  if (written === null) return null;
  const bounds = written.flatMap((text) => {
    const pattern = parsePattern(text);
    return "problem" in pattern ? [] : [{ kind: pattern.kind, server: globOf(pattern.server), name: globOf(pattern.name) }];
  });
  return {
    covers(server, { kind, name: asked }) {
      const name = kind === "resource" ? asciiUri(asked) : asked;
      return bounds.some((bound) => bound.kind === kind && bound.server(server) && bound.name(name));
    },
    touches: (server, kind) => bounds.some((bound) => bound.kind === kind && bound.server(server)),
  };
}
