/** The upstreams as a call meets them: a tool whose definition does not count is neither listed nor found. */
import type { McpRequest } from "./call/accept/request.ts";
import type { Agent } from "./call/authenticate/agent.ts";
import { candidatesOf, type PolicySet, viewOf } from "./call/authorize/candidates.ts";
import { globOf } from "./call/authorize/glob.ts";
import { meets, type Offered } from "./call/authorize/pins.ts";
import type { Exchange } from "./call/exchange/exchange.ts";
import type { IssuedToken } from "./call/exchange/issued-token.ts";
import type { Reading } from "./call/forward/catalogue.ts";
import { type DefinitionText, definitionIn } from "./call/forward/definition.ts";
import { createHiddenTools } from "./call/forward/hidden-tools.ts";
import { notSent } from "./call/forward/outcomes.ts";
import type { Definition, IsVisible, Upstream } from "./call/forward/upstream.ts";
import type { PinMode } from "./config.ts";
import type { ToolPins } from "./control/tools/tool-pins.ts";
import type { ServerName } from "./ids.ts";
import { isRefusal, type Refusal, refuse } from "./refusal.ts";
import type { Upstreams } from "./upstreams.ts";

export type PinRules = {
  readonly pins: Pick<ToolPins, "isKnown" | "verdict" | "noticed">;
  readonly offers: Pick<Offers, "at">;
  readonly modeOf: (server: string) => PinMode;
  /** Asked at each use: the one that counts now. */
  readonly policies: { readonly policySet: PolicySet };
  /** True: what differs is written down, and nothing is refused or hidden for it. */
  readonly observe: boolean;
};

export type PinnedUpstreams = Upstreams & {
  /** True: nothing is refused for a pin. */
  readonly observe: boolean;
  /** What the agent sees of a list: what it may use, as far as what is shown is what counts. */
  visible(agent: Agent, server: ServerName, isPermitted: IsPermittedElement): IsVisible;
  /** Before a call is decided on by rules with pins: reads the server, where that has not been done. */
  know(agent: Agent, request: McpRequest, exchange: Exchange["exchange"]): Promise<Refusal | null>;
  /** The rule that permits the call, held against the very list that this agent's server shows. */
  keepsTo(rule: object | null, agent: Agent, server: ServerName, issued: IssuedToken, definition: Definition): Promise<Refusal | null>;
};

type IsPermittedElement = (element: Parameters<IsVisible>[0], definition?: string) => boolean;

export function pinUpstreams(upstreams: Upstreams, rules: PinRules): PinnedUpstreams {
  const { pins, offers, modeOf, policies, observe } = rules;
  const hiddenTools = createHiddenTools();
  const wrapped = new Map<ServerName, Upstream>();

  function objectionTo(server: ServerName, { name, sha256 }: Pick<DefinitionText, "name" | "sha256">): Refusal | null {
    if (modeOf(server) === "off") return null;
    const verdict = pins.verdict(server, name, sha256);
    if (verdict === "pinned") return null;
    const why = verdict === "new" ? "no definition of it is approved" : "its definition is not the one that is approved";
    return refuse("tool_changed", {}, `${server}/${name}: ${why}; this one is sha256:${sha256}`);
  }

  /** Also where the server shows the gateway what counts, and has shown this agent something else. */
  function objectionToCall(agent: Agent, server: ServerName, { name, sha256 }: Definition): Refusal | null {
    const hidden = hiddenTools.hidden(agent, server, name);
    return objectionTo(server, { name, sha256 }) ?? (hidden === null ? null : objectionTo(server, { name, sha256: hidden }));
  }

  /** What is listed is compared with what is pinned: something has to be, and rules with pins need to know what is there. */
  async function prepare(server: ServerName, upstream: Upstream, agent: Agent, issued: IssuedToken): Promise<Refusal | null> {
    const isPinned = modeOf(server) === "off" || pins.isKnown(server);
    if (isPinned && !policies.policySet.pinned.some(({ targets }) => targets.some((target) => globOf(target.server)(server)))) return null;
    const offer = await upstream.offer(agent, issued);
    return isRefusal(offer) && !observe ? offer : null;
  }

  function wrap(server: ServerName, upstream: Upstream): Upstream {
    return {
      ...upstream,
      async forward(job) {
        const { course, method } = job.request;
        const objection = course === "list" && method === "tools/list" ? await prepare(server, upstream, job.agent, job.issued) : null;
        return objection === null ? await upstream.forward(job) : notSent(objection);
      },
      async definition(toolName, agent, issued) {
        const found = await upstream.definition(toolName, agent, issued, (each) => objectionTo(server, each) === null);
        const objection = found === null || isRefusal(found) ? null : objectionToCall(agent, server, found);
        if (found === null || isRefusal(found) || objection === null) return found;
        return observe ? { ...found, observed: objection } : objection;
      },
    };
  }

  return {
    ...upstreams,
    observe,
    get(server) {
      const known = wrapped.get(server) ?? wrap(server, upstreams.get(server));
      wrapped.set(server, known);
      return known;
    },
    visible: (agent, server, isPermitted) => (element, bytes) => {
      if (element.kind !== "tool") return isPermitted(element);
      const byPins = policies.policySet.pinned.length > 0;
      if (modeOf(server) === "off" && !byPins) return isPermitted(element);
      // Most of a long list is not for this agent: what it never sees need not be hashed.
      if (!byPins && !isPermitted(element)) return false;
      const definition = definitionIn(bytes);
      if (byPins && !isPermitted(element, definition?.sha256 ?? "")) return false;
      if (definition === null) return observe || modeOf(server) === "off";
      if (objectionTo(server, definition) === null) {
        hiddenTools.show(agent, server, definition.name);
        return true;
      }
      hiddenTools.hide(agent, server, definition.name, definition.sha256);
      pins.noticed(server, definition);
      // A call must not be let through by what was read before the change.
      if (offers.at(server, definition.name)?.definition !== definition.sha256) upstreams.get(server).forget();
      return observe;
    },
    async know(agent, { server, target, course }, exchange) {
      const { policySet } = policies;
      if (policySet.pinned.length === 0 || target === null || course !== "metered" || !policySet.servers.has(server)) return null;
      if (!candidatesOf(policySet, viewOf(policySet, agent), server, target).permits.some((rule) => rule.pins !== null)) return null;
      const issued = await exchange(agent, server);
      const offer = isRefusal(issued) ? issued : await upstreams.get(server).offer(agent, issued);
      return isRefusal(offer) && !observe ? offer : null;
    },
    async keepsTo(rule, agent, server, issued, { sha256 }) {
      const pinned = policies.policySet.pinned.find(({ ref }) => ref === rule);
      if (pinned === undefined) return null;
      const offer = await upstreams.get(server).offer(agent, issued);
      if (isRefusal(offer)) return offer;
      if (meets(pinned.pins, { version: offer.version, definition: sha256 })) return null;
      return refuse("tool_changed", {}, `the pins of ${pinned.ref.name} are not met`, pinned.ref);
    },
  };
}

export type Offers = {
  keep(server: string, reading: Reading): void;
  /** Null: nobody has read the server since the gateway started. */
  at(server: string, tool: string | null): Offered | null;
};

/** What the servers were last read to offer, for rules with pins: names and hashes, of one reading each. */
export function createOffers(): Offers {
  const offers = new Map<string, { readonly version: string | null; readonly definitions: ReadonlyMap<string, string> }>();
  return {
    keep(server, { version, definitions }) {
      offers.set(server, { version, definitions: new Map(definitions.map(({ name, sha256 }) => [name, sha256])) });
    },
    at(server, tool) {
      const offer = offers.get(server);
      if (offer === undefined) return null;
      return { version: offer.version, definition: tool === null ? null : (offer.definitions.get(tool) ?? null) };
    },
  };
}
