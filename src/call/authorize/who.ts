/** Pure. Whom a rule is about: every key must match, within a key one of its entries. */
import type { Agent, AgentProfile } from "../authenticate/agent.ts";
import { type Glob, globOf, isPattern } from "./glob.ts";
import type { WhoFile } from "./policy-file.ts";

/** All that a rule may ask of a caller. A null or an empty list matches nothing, not even `*`; undefined is not known yet. */
export type Facets = {
  readonly agent: readonly string[];
  readonly team: string | null;
  readonly workflow: string | null;
  readonly customer: string;
  readonly kind: string;
  readonly instance: string | null | undefined;
  readonly subject: string | null | undefined;
  readonly role: readonly string[] | undefined;
  /** The subject with its issuer: a counter of each subject is of one person. */
  readonly person: string | null | undefined;
};

export function facetsOf(agent: Agent): Facets {
  return {
    ...facetsOfProfile(agent.profile),
    instance: agent.instance,
    subject: agent.subject,
    role: agent.roles,
    person: agent.person,
  };
}

/** What is known before there is a token: the rest may turn out either way. */
export function facetsOfProfile(profile: AgentProfile): Facets {
  const { id, name, team, workflow, customer, kind } = profile;
  return { agent: [id, name], team, workflow, customer, kind, instance: undefined, subject: undefined, role: undefined, person: undefined };
}

export type Who = (facets: Facets) => boolean;

export function compileWho(who: WhoFile | undefined): Who {
  const tests: Who[] = [];
  for (const [key, written] of Object.entries(who ?? {})) {
    if (written === undefined) continue;
    const matches = oneOf(typeof written === "string" ? [written] : written);
    const facet = key as keyof Facets;
    tests.push((facets) => {
      const value = facets[facet];
      if (value === undefined) return true;
      if (value === null) return false;
      return typeof value === "string" ? matches(value) : value.some(matches);
    });
  }
  return (facets) => tests.every((test) => test(facets));
}

function oneOf(written: readonly string[]): Glob {
  const literals = new Set(written.filter((entry) => !isPattern(entry)));
  const globs = written.filter(isPattern).map(globOf);
  return (text) => literals.has(text) || globs.some((glob) => glob(text));
}
