/** The scenario that the suite asks its client to play, as it tells it: in the environment and as the last argument. */
import type { Scene } from "./scenarios.ts";

export type Played = { readonly scenario: string; readonly url: string; readonly scene: Scene };

export function sceneOf({ argv, env }: Pick<NodeJS.Process, "argv" | "env">): Played {
  const { MCP_CONFORMANCE_SCENARIO: scenario, MCP_CONFORMANCE_PROTOCOL_VERSION: revision, MCP_CONFORMANCE_CONTEXT: context } = env;
  const url = argv.at(-1);
  if (scenario === undefined || revision === undefined || url === undefined) throw new Error("the suite starts this program");
  return { scenario, url, scene: { revision, context: context === undefined ? null : JSON.parse(context) } };
}
