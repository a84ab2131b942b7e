/** The policies that count now: replaced as a whole when their files change or somebody asks, and never by a set that does not compile. */
import type { PolicySet } from "./call/authorize/candidates.ts";
import { type Known, NOTHING_KNOWN } from "./call/authorize/known.ts";
import { meterFactsOf } from "./catalogue.ts";
import type { Config } from "./config.ts";
import type { Registry } from "./control/agents/registry.ts";
import { warnOf } from "./load.ts";
import type { Log } from "./observe.ts";
import { appearanceOf, loadPolicies } from "./policy-load.ts";

export type LivePolicies = {
  /** True once what the files say is in force, or was; false where it does not compile, and the old set goes on. */
  reload(): Promise<boolean>;
  /** False while the files do not compile, or could not be put in force. */
  isCurrent(): boolean;
  /** After another set is in force. */
  onChange(heard: () => void): void;
  close(): void;
};

export type LivePoliciesOptions = {
  readonly config: Pick<Config, "policies" | "servers" | "mode" | "inspectors" | "metering">;
  /** What all others read, each call once: its set is exchanged here. */
  readonly inForce: { policySet: PolicySet };
  readonly declare: Registry["declare"];
  readonly known: () => Promise<Known>;
  readonly act: (kind: "policy.loaded", by: string, details: Readonly<Record<string, string | number>>) => Promise<void>;
  readonly log: Log;
  /** With what has to be known of it before it counts. */
  /** What the files looked like before the set in force was read: what changes while a gateway starts is put in force too. */
  readonly seen: string;
  readonly prepare: (policySet: PolicySet) => Promise<PolicySet>;
};

/** Files are looked at this often, and read once they have stood still for as long: an editor writes in several steps. */
const LOOK_MS = 500;

export function followPolicies({ config, inForce, declare, known, act, log, prepare, seen }: LivePoliciesOptions): LivePolicies {
  let current = true;
  let underWay: Promise<boolean> = Promise.resolve(true);
  const listeners: (() => void)[] = [];

  async function replace(): Promise<boolean> {
    // What is known helps to find slips; without it the policies count all the same.
    const beside = { known: await known().catch(() => NOTHING_KNOWN), inspectors: config.inspectors, meters: meterFactsOf(config) };
    const next = loadPolicies(config.policies, config.servers, config.mode, beside);
    if ("problems" in next) {
      const problems = next.problems.map(({ file, line, column, message }) => `${file}:${line}:${column}: ${message}`);
      return keepOld(problems.join("\n"));
    }
    const { policySet } = next;
    const was = inForce.policySet.policyVersion;
    if (policySet.policyVersion === was) return settle();
    let ready: PolicySet;
    try {
      ready = await prepare(policySet);
      await declare(next.agents);
      await act("policy.loaded", "config", {
        ...{ policy_version: policySet.policyVersion, was },
        ...{ entitlements: policySet.rules.length, budgets: policySet.budgets.length },
      });
    } catch (fault) {
      return keepOld(fault instanceof Error ? fault.message : String(fault));
    }
    warnOfMeters(inForce.policySet, policySet, log);
    inForce.policySet = ready;
    warnOf(next, log);
    log.info({ policy_version: policySet.policyVersion, entitlements: policySet.rules.length }, "the policies have changed");
    for (const heard of listeners) heard();
    return settle();
  }

  function settle(): true {
    if (!current) log.info({ policy_version: inForce.policySet.policyVersion }, "the policy files are good again");
    current = true;
    return true;
  }

  function keepOld(why: string): false {
    current = false;
    log.error(
      { why, policy_version: inForce.policySet.policyVersion },
      "the policy files cannot be put in force: the last good ones go on",
    );
    return false;
  }

  // One after the other: of two changes the later one stands.
  const reload = () => {
    underWay = underWay.then(replace).catch((fault: unknown) => keepOld(String(fault)));
    return underWay;
  };
  const watch = watchFolder(config.policies, seen, reload);
  return {
    reload,
    isCurrent: () => current,
    onChange: (heard) => void listeners.push(heard),
    close: () => clearInterval(watch),
  };
}

/** A counter has its budget's name and window, and nothing else: what was counted on another meter stays there as a number. */
function warnOfMeters(was: PolicySet, is: PolicySet, log: Log): void {
  const before = new Map(was.budgets.map(({ draw }) => [draw.budget, draw]));
  for (const { draw: now } of is.budgets) {
    const old = before.get(now.budget);
    const isSameWindow = old?.period === now.period && old.rollingMs === now.rollingMs && old.timeZone === now.timeZone;
    if (old === undefined || !isSameWindow || old.meter === now.meter) continue;
    log.warn(
      { budget: now.budget, meter: now.meter, was: old.meter },
      "the budget counts another meter under the same name: what was counted of the old one stays counted. Give it a new name to begin anew",
    );
  }
}

/** By what the files look like and not by events of the system, which mounted volumes and links that are switched do not give. */
function watchFolder(folder: string, seen: string, changed: () => Promise<unknown>): NodeJS.Timeout {
  let read = seen;
  let before = read;
  return setInterval(() => {
    const now = appearanceOf(folder);
    if (now !== read && now === before) {
      read = now;
      void changed();
    }
    before = now;
  }, LOOK_MS).unref();
}
