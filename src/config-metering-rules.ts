/** Pure. How event types, outcomes and meters of the configuration must fit together, and with the servers. */
import { globOf } from "./call/authorize/glob.ts";
import { parsePattern } from "./call/authorize/pattern.ts";
import { compileResultCondition } from "./call/authorize/result-condition.ts";
import { BUILT_IN_METERS, COMMON_METADATA } from "./call/record/event-types.ts";
import { USAGE_DIMENSIONS } from "./call/record/queries.ts";
import type { ConfigFile } from "./config-schema.ts";
import type { Path } from "./document.ts";

type Say = (path: Path, message: string) => void;

/** Names that stand beside meters in an answer, or mean something there. */
const TAKEN = new Set<string>([...BUILT_IN_METERS, ...USAGE_DIMENSIONS, "events", "provisional", "outcomes", "outputs"]);

export function judgeMetering(
  { eventTypes = [], outcomes = [], meters = [] }: Partial<ConfigFile>,
  servers: readonly string[],
  say: Say,
): void {
  judgeEventTypes(eventTypes, say);
  const seen = new Set<string>();
  for (const [index, { name, tool, when }] of outcomes.entries()) {
    const path = ["outcomes", index];
    judgeTool(tool, servers, [...path, "tool"], say);
    if (seen.has(`${name} ${tool}`)) say([...path, "name"], `${name} of the same tools stands here already`);
    seen.add(`${name} ${tool}`);
    if (when === undefined) continue;
    if (tool === undefined) say([...path, "when"], "looks at a call: say of which tool");
    const condition = compileResultCondition(when);
    if ("message" in condition) say([...path, "when"], condition.message);
  }
  for (const [index, { name, tool }] of meters.entries()) {
    judgeTool(tool, servers, ["meters", index, "tool"], say);
    if (TAKEN.has(name)) say(["meters", index, "name"], `${name} is counted otherwise already: choose another name`);
  }
}

function judgeEventTypes(eventTypes: ConfigFile["eventTypes"], say: Say): void {
  const seen = new Set<string>();
  for (const [index, { name, version, meter, metadata, required }] of eventTypes.entries()) {
    const path = ["eventTypes", index];
    if (seen.has(`${name}.v${version}`)) say([...path, "version"], `${name} has a version ${version} already: count on`);
    seen.add(`${name}.v${version}`);
    if (TAKEN.has(meter)) say([...path, "meter"], `${meter} is counted otherwise already: choose another name`);
    for (const member of Object.keys(metadata))
      if (member in COMMON_METADATA) say([...path, "metadata", member], "is a text in every type already: leave it out");
    for (const [i, member] of required.entries())
      if (!(member in metadata || member in COMMON_METADATA)) say([...path, "required", i], `${member} is not among metadata`);
  }
}

function judgeTool(written: string | undefined, servers: readonly string[], path: Path, say: Say): void {
  if (written === undefined) return;
  const pattern = parsePattern(written);
  if ("problem" in pattern) say(path, pattern.problem);
  else if (pattern.kind !== "tool") say(path, "names no tool: write server/tool");
  else if (!servers.some(globOf(pattern.server))) say(path, `there is no server ${pattern.server}`);
}
