/** The views of the configuration: several servers as one, and which of them a request means. */
import type { McpRequest } from "./call/accept/request.ts";
import type { Agent } from "./call/authenticate/agent.ts";
import type { Asked } from "./call/authorize/circumstances.ts";
import { decide } from "./call/authorize/decide.ts";
import type { Judged } from "./call/authorize/permit.ts";
import { type ServerView, serverViewOf } from "./call/authorize/server-view.ts";
import { judgeWithTasks, type TaskRules } from "./call/authorize/task-access.ts";
import { reaches, visible } from "./call/authorize/visible.ts";
import type { IssuedToken } from "./call/exchange/issued-token.ts";
import { addressIn, addressTo } from "./call/forward/merged/address.ts";
import { createAway } from "./call/forward/merged/away.ts";
import type { Members } from "./call/forward/merged/member-page.ts";
import { createMergedUpstream } from "./call/forward/merged/merged-upstream.ts";
import { createResourceOwners } from "./call/forward/merged/resource-owners.ts";
import { createShownTools } from "./call/forward/merged/shown-tools.ts";
import type { Upstream } from "./call/forward/upstream.ts";
import type { Config } from "./config.ts";
import type { ServerName } from "./ids.ts";
import type { PinnedUpstreams } from "./pinned-upstreams.ts";
import { isRefusal, type Reason, type Refusal, refuse, WIRE } from "./refusal.ts";
import type { Seal } from "./seal.ts";

export type Views = {
  /** The request as one to the server that it means; one to a view as a whole stays what it is. */
  address(agent: Agent, request: McpRequest): McpRequest | Refusal | Promise<McpRequest | Refusal>;
  authorize(agent: Agent, request: McpRequest): Judged;
  exchange: Members["exchange"];
  get(name: ServerName): Upstream;
};

export type ViewOptions = {
  readonly config: Config;
  readonly taskRules: TaskRules;
  readonly upstreams: PinnedUpstreams;
  readonly exchange: Members["exchange"];
  readonly seal: Seal;
  readonly now: () => number;
  readonly mono: () => number;
};

/** A view shows no credential: each of its servers is shown its own. */
const NO_TOKEN: IssuedToken = { kind: "none", headers: {}, expiresAtMs: null, shareKey: "view" };
const NEVER = new AbortController().signal;
/** To find out whose a thing is, before the call itself has its own time. */
const LOOK_UP_MS = 15_000;

export function createViews({ config, taskRules, upstreams, exchange, seal, now, mono }: ViewOptions): Views {
  const servers = [...config.servers.keys()];
  const views = new Map<string, ServerView>([["", serverViewOf("/mcp", servers, { tools: null, max: null, rename: new Map() })]]);
  for (const [name, rules] of config.views) views.set(name, serverViewOf(`/mcp/${name}`, servers, rules));

  // Read anew each time: a reload puts another set in its place.
  const policySet = () => taskRules.policySet;
  const judge = (agent: Agent, request: McpRequest) => judgeWithTasks(taskRules, agent, request, now());
  const members: Members = {
    get: (server) => upstreams.get(server),
    exchange,
    mayAsk: (agent, server, method) => !isRefusal(decide(policySet(), agent, askingFor(server, method), now())),
    visible(agent, server) {
      const isVisible = visible(policySet(), agent, server, now());
      return upstreams.visible(agent, server, (element, definition) => element.kind !== "task" && isVisible(element, definition));
    },
    away: createAway(mono),
  };
  const owners = createResourceOwners(members, mono);
  const shownTools = createShownTools(members, mono);
  const merged = new Map<string, Upstream>();
  for (const [name, view] of views) merged.set(name, createMergedUpstream({ view, members, seal, shownTools }));

  async function ownedBy(view: ServerView, agent: Agent, request: McpRequest): Promise<McpRequest | Refusal> {
    const asking = { agent, request: { ...request, view: view.route }, gone: NEVER, stopped: AbortSignal.timeout(LOOK_UP_MS) };
    if (request.target === null) throw new Error("a resource is looked up by its URI");
    const owner = await owners.find(view, asking, request.target);
    return isRefusal(owner) ? owner : addressTo(view, request, owner);
  }

  async function withinLimit(view: ServerView, agent: Agent, addressed: McpRequest): Promise<McpRequest | Refusal> {
    const asking = { agent, request: addressed, gone: NEVER, stopped: AbortSignal.timeout(LOOK_UP_MS) };
    const shown = await shownTools.has(view, asking, addressed.server, addressed.target?.name ?? "");
    if (shown === true) return addressed;
    if (shown === false) return refuse("tool_unknown", {}, `beyond the ${view.toolsMax} tools that ${view.route} shows`);
    const reason = shown.missing in WIRE ? (shown.missing as Reason) : "upstream_unreachable";
    return refuse(reason, {}, `the list of ${addressed.server} cannot be read, so that ${view.route} cannot tell what it shows of it`);
  }

  /** Where nobody has such a task, the first server that the agent may see is as good as any: it is refused before it is asked. */
  function ownerOfTask(view: ServerView, agent: Agent, request: McpRequest): ServerName | Refusal {
    const owners = view.servers.filter((server) => taskRules.tasks.of(agent.principal, { ...request, server }) !== null);
    // Of two that have minted one id nobody can tell which is meant: on its own route each is found.
    if (owners.length > 1) return refuse("task_unknown", {}, `${owners.join(" and ")} both have a task of that id`);
    return owners[0] ?? reached(view, agent)[0] ?? request.server;
  }

  function reached(view: ServerView, agent: Agent): readonly ServerName[] {
    return view.servers.filter((server) => reaches(policySet(), agent, server, now()));
  }

  return {
    address(agent, request) {
      const view = views.get(request.server);
      if (view === undefined) return request;
      if (reached(view, agent).length === 0) {
        return refuse("server_unknown", {}, `no rule permits ${agent.profile.name} anything on ${view.route}`);
      }
      if (request.course === "task") {
        const owner = ownerOfTask(view, agent, request);
        return isRefusal(owner) ? owner : addressTo(view, request, owner);
      }
      const addressed = addressIn(view, request);
      if (isRefusal(addressed)) return addressed;
      if ("resource" in addressed) return ownedBy(view, agent, request);
      // Told as a name of no server is: which servers there are is nobody's business.
      if (!views.has(addressed.server) && !reaches(policySet(), agent, addressed.server, now())) {
        return refuse("tool_unknown", {}, `no rule permits ${agent.profile.name} anything on ${addressed.server}`);
      }
      return view.toolsMax !== null && addressed.target?.kind === "tool" ? withinLimit(view, agent, addressed) : addressed;
    },
    authorize(agent, request) {
      const view = views.get(request.server);
      if (view === undefined) return judge(agent, request);
      const judged = reached(view, agent).map((server) => judge(agent, { ...request, server }));
      const best = judged.find(({ verdict }) => !isRefusal(verdict)) ?? judged[0];
      return best ?? { verdict: refuse("server_unknown"), policyVersion: policySet().policyVersion, shadow: null };
    },
    exchange: (agent, server, toolName) => (views.has(server) ? NO_TOKEN : exchange(agent, server, toolName)),
    get: (name) => merged.get(name) ?? upstreams.get(name),
  };
}

const NO_BODY = Buffer.alloc(0);

function askingFor(server: ServerName, method: string | null): Asked {
  const target = method === null ? null : ({ kind: "method", name: method } as const);
  return { server, course: method === null ? "handshake" : "list", method, target, body: NO_BODY, argumentsSpan: null };
}
