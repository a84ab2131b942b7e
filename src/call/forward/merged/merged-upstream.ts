/** Several servers as one upstream: it shakes hands and lists for them all. What names one of them never comes here. */
import { isScanFault, member, scanJson, stringValue } from "../../../json.ts";
import { isRefusal, type Refusal, refuse } from "../../../refusal.ts";
import type { Seal } from "../../../seal.ts";
import type { McpRequest } from "../../accept/request.ts";
import type { ServerView } from "../../authorize/server-view.ts";
import type { Outcome } from "../outcome.ts";
import { accepted, notSent } from "../outcomes.ts";
import { ownResult, ownResultText, requestedRevision } from "../own-result.ts";
import { discoverResult, type Initialized, initializeResult } from "../stdio/bridge.ts";
import type { ForwardJob, Upstream } from "../upstream.ts";
import type { Members } from "./member-page.ts";
import { firstPlaces, listResult, openPlaces, readMergedPage, sealPlaces } from "./merged-list.ts";
import type { ShownTools } from "./shown-tools.ts";

export type MergedOptions = {
  readonly view: ServerView;
  readonly members: Members;
  readonly seal: Seal;
  readonly shownTools: ShownTools;
};

export function createMergedUpstream(options: MergedOptions): Upstream {
  return {
    async forward(job) {
      const { request } = job;
      if (request.httpMethod !== "POST") return notSent(refuse("http_method", { allow: "POST" }));
      if (request.course === "notification") return await passNotification(job, options);
      if (request.course === "response") return accepted(202);
      // Every other task is asked for by its id, at the server that has it.
      if (request.course === "list" && request.method !== "tasks/list") return await list(job, options);
      return ownAnswer(job, options) ?? notSent(refuse("method_unknown", {}, `${request.method} does not cross a view`));
    },
    // A tool is looked up at the server that it belongs to.
    definition: () => Promise.resolve(null),
    offer: () => Promise.resolve({ version: null, definitions: new Map() }),
    forget: () => {},
    close: () => Promise.resolve(),
  };
}

/** Whose call is cancelled is known by who has it under way. */
async function passNotification(job: ForwardJob, { view, members }: MergedOptions): Promise<Outcome> {
  const { request, agent } = job;
  if (request.method !== "notifications/cancelled") return accepted(202);
  const asked = firstPlaces(view, members, agent, null);
  await Promise.all(asked.map(({ server }) => members.get(server).forward({ ...job, request: { ...request, server } })));
  return accepted(202);
}

function ownAnswer({ request, agent }: ForwardJob, { view, members }: MergedOptions): Outcome | null {
  switch (request.method) {
    case "initialize":
      return ownResult(request, initializeResult(introduction(), requestedRevision(request)));
    case "server/discover":
      return ownResult(request, discoverResult(introduction()));
    case "ping":
      return ownResult(request, {});
    default:
      return null;
  }
  function introduction(): Initialized {
    const servers = view.servers.filter((server) => members.mayAsk(agent, server, null));
    return {
      capabilities: { tools: {}, prompts: {}, resources: {}, completions: {} },
      serverInfo: { name: "tollgate", title: `Tollgate ${view.route}`, version: "1" },
      instructions: `Several MCP servers as one: ${servers.join(", ")}. Their tools and prompts are named server__name unless the operator named them otherwise.`,
    };
  }
}

async function list(job: ForwardJob, options: MergedOptions): Promise<Outcome> {
  const { view, members, seal, shownTools } = options;
  const { request, agent, answer, stopped } = job;
  const method = request.method ?? "";
  const asking = { agent, request, gone: answer.gone, stopped };
  if (method === "tools/list" && view.toolsMax !== null) {
    const page = await shownTools.read(view, asking);
    return ownResultText(request, listResult(method, page, null, request.era));
  }
  const cursor = cursorOf(request);
  const places: ReturnType<typeof firstPlaces> | Refusal =
    cursor === null ? firstPlaces(view, members, agent, method) : openPlaces(seal, view, members, agent, method, cursor);
  if (isRefusal(places)) return notSent(places);
  const page = await readMergedPage(view, members, asking, method, places);
  const next = page.next.length === 0 ? null : sealPlaces(seal, view, agent, method, page.next);
  return ownResultText(request, listResult(method, page, next, request.era));
}

function cursorOf({ body }: McpRequest): string | null {
  const root = scanJson(body, { treeDepth: 2 });
  const params = isScanFault(root) ? undefined : member(root, "params");
  return (params === undefined ? undefined : stringValue(body, member(params, "cursor"))) ?? null;
}
