/** `policy diff`: two folders of policies, and what the one permits beyond the other. */
import { resolve } from "node:path";
import { compareSets, type Difference } from "../policy-diff.ts";
import { type CommonOptions, configOf, print } from "./command.ts";
import { EXIT, type Io, paint } from "./io.ts";
import { policiesOf } from "./policy-folder.ts";
import { table } from "./table.ts";

const WIDENS: ReadonlySet<Difference["change"]> = new Set(["gains", "wider"]);

export function diffPolicies(before: string, after: string, options: CommonOptions, io: Io): void {
  const config = configOf(options, io);
  const [old, next] = [policiesOf(resolve(before), config), policiesOf(resolve(after), config)];
  const declared = new Map([...old.declared, ...next.declared]);
  const differences = compareSets(old.policySet, next.policySet, [...declared.values()], Date.now());
  const widening = differences.some(({ change }) => WIDENS.has(change));
  print(io, options, { widening, differences }, () => textOf(io, differences, widening));
  process.exitCode = widening ? EXIT.no : EXIT.done;
}

function textOf(io: Io, differences: readonly Difference[], widening: boolean): string {
  if (differences.length === 0) return "nobody gains or loses anything";
  const rows = differences.map(({ change, agent, target, before, after }) => [change, agent, target, before.join("; "), after.join("; ")]);
  const last = widening ? paint(io, "red", "some may do more than before") : paint(io, "green", "nobody may do more than before");
  return `${table(["CHANGE", "AGENT", "TARGET", "BEFORE", "AFTER"], rows)}\n${last}`;
}
