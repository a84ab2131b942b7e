/** A stdio upstream in front of the fixture server, closed when its test is over. */
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { createStdioUpstream, type StdioUpstreamOptions } from "../../src/call/forward/stdio/stdio-upstream.ts";
import type { Upstream } from "../../src/call/forward/upstream.ts";
import type { ServerName } from "../../src/ids.ts";

const FIXTURE = fileURLToPath(new URL("../fixtures/stdio-upstream.ts", import.meta.url));

export const FIXTURE_COMMAND: readonly [string, ...string[]] = [process.execPath, FIXTURE];

export type Warning = { readonly message: string; readonly facts: Readonly<Record<string, string>> };

export type Running = { readonly upstream: Upstream; readonly warnings: Warning[] };

/** An upstream that is closed, by force, when the test is over. */
export function startUpstream(options: Partial<StdioUpstreamOptions> = {}): Running {
  const warnings: Warning[] = [];
  const upstream = createStdioUpstream({
    name: "fixture" as ServerName,
    command: FIXTURE_COMMAND,
    env: {},
    cwd: process.cwd(),
    child: "perAgent",
    maxChildren: 4,
    timeoutMs: 20_000,
    maxResultBytes: 4_194_304,
    mono: () => performance.now(),
    warn: (facts, message) => void warnings.push({ facts, message }),
    ...options,
  });
  onTestFinished(() => upstream.close(0));
  return { upstream, warnings };
}
