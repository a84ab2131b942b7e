/** Pure. Whether the guards that policies ask for exist, and can look at what they are asked to look at. */
import { expanded, groupsOf } from "./call/authorize/groups.ts";
import type { InspectFile, InspectorFacts } from "./call/authorize/guards.ts";
import { didYouMean } from "./call/authorize/nearest.ts";
import { parsePattern } from "./call/authorize/pattern.ts";
import type { PolicyFault, PolicySource, Rule } from "./call/authorize/policy-set.ts";

/** `inspectors` null: the config cannot be read, so that nothing is known of them. */
export function guardFaults(sources: readonly PolicySource[], inspectors: InspectorFacts | null): PolicyFault[] {
  const groups = groupsOf(sources);
  const faults: PolicyFault[] = [];
  for (const { file, policy } of sources) {
    for (const [index, entitlement] of policy.entitlements.entries()) {
      const { inspect, permit = [] } = entitlement ?? {};
      if (inspect === undefined) continue;
      const at = ["entitlements", index, "inspect"];
      const say = (step: number | null, message: string) =>
        faults.push({ file, path: step === null ? at : [...at, step], offset: null, message });
      for (const [step, problem] of problemsOf(inspect, inspectors)) say(step, problem);
      const targets = permit.map((text) => expanded(groups.tools, text)).flatMap((entries) => ("problem" in entries ? [] : entries));
      const method = targets.find((text) => isMethod(text));
      if (method !== undefined)
        say(null, `${method} has neither arguments nor a result to look at: inspect tools, resources and prompts in a rule of their own`);
    }
  }
  return faults;
}

function problemsOf(inspect: InspectFile, inspectors: InspectorFacts | null): [step: number, problem: string][] {
  const seen = new Set<string>();
  return inspect.flatMap((each, step): [number, string][] => {
    const { by, of } = typeof each === "string" ? { by: each, of: undefined } : each;
    const twice = seen.has(by);
    seen.add(by);
    if (twice) return [[step, `${by} stands here twice: write it once, with all that it looks at`]];
    const type = inspectors?.get(by)?.type;
    if (inspectors !== null && type === undefined) return [[step, unknown(by, [...inspectors.keys()])]];
    return type === "authzen" && of?.includes("result") === true
      ? [[step, `${by} is of type authzen, which decides on requests and never sees a result`]]
      : [];
  });
}

function unknown(by: string, names: readonly string[]): string {
  const hint = didYouMean(by, names);
  if (hint !== "") return `the config has no inspector ${by}${hint}`;
  return `the config has no inspector ${by}: ${names.length === 0 ? "it has none" : `it has ${names.join(", ")}`}`;
}

function isMethod(text: string): boolean {
  const pattern = parsePattern(text);
  return !("problem" in pattern) && pattern.kind === "method";
}

/** Whoever configures a guard means it to be asked. */
export function unusedInspectors(rules: readonly Rule[], inspectors: InspectorFacts | null): string[] {
  const used = new Set(rules.flatMap(({ guards }) => guards.map(({ inspector }) => inspector)));
  return [...(inspectors ?? new Map()).keys()].filter((name) => !used.has(name));
}
