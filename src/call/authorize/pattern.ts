/** Pure. The grammar in which a policy names what it is about: `server/tool`, `resource:server/uri`, `prompt:server/name`, `method:server/method`. */
import type { Target } from "../accept/request.ts";
import { asciiUri } from "./resource-uri.ts";

export type TargetKind = Target["kind"];

/** A server never contains `/`, so the first one ends it; what follows is the name, whatever it contains. */
export type TargetPattern = { readonly kind: TargetKind; readonly server: string; readonly name: string };

/** What is no tool of a server, and reserved for by those who build on the gateway, is named `feature/NAME`. */
export const FEATURES = "feature";

const PREFIXES: readonly TargetKind[] = ["resource", "prompt", "method"];

export function parsePattern(written: string): TargetPattern | { problem: string } {
  const slash = written.indexOf("/");
  if (slash === -1) return { problem: `${JSON.stringify(written)} names no server: ${withServer(written)}` };
  const head = written.slice(0, slash);
  const name = written.slice(slash + 1);
  const colon = head.indexOf(":");
  const kind = colon === -1 ? "tool" : PREFIXES.find((prefix) => prefix === head.slice(0, colon));
  if (kind === undefined) return { problem: `${JSON.stringify(written)}: before a colon stands one of resource, prompt, method` };
  // A tool's name has no colon: this is a pattern of another kind with its parts in the wrong order, and would match nothing.
  const misplaced = colon === -1 ? PREFIXES.find((prefix) => name.startsWith(`${prefix}:`)) : undefined;
  if (misplaced !== undefined) {
    return { problem: `${JSON.stringify(written)} names no tool: write ${misplaced}:${head}/${name.slice(misplaced.length + 1)}` };
  }
  const server = head.slice(colon + 1);
  if (!/^[a-z0-9*-]{1,32}$/.test(server))
    return { problem: `${JSON.stringify(written)}: ${JSON.stringify(server)} is not a server's name` };
  if (name === "") return { problem: `${JSON.stringify(written)} names nothing after the server: write ${head}/* for everything there` };
  return { kind, server, name: kind === "resource" ? asciiUri(name) : name };
}

function withServer(written: string): string {
  const kind = PREFIXES.find((prefix) => written.startsWith(`${prefix}:`));
  if (kind === undefined) return `write server/tool, or */${written} for every server`;
  return `write ${kind}:server/name, or ${kind}:*/${written.slice(kind.length + 1)} for every server`;
}

/** How a target is written in a policy, a budget's scope and a note. */
export function writtenAs(server: string, target: Target): string {
  return target.kind === "tool" ? `${server}/${target.name}` : `${target.kind}:${server}/${target.name}`;
}
