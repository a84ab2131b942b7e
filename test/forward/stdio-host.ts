/** A process that hosts one stdio upstream, prints the pids behind it, and waits to be killed. */
import { fileURLToPath } from "node:url";
import { createStdioUpstream } from "../../src/call/forward/stdio/stdio-upstream.ts";
import type { ServerName } from "../../src/ids.ts";
import { call, send, textOf } from "./stdio-message.ts";

const upstream = createStdioUpstream({
  name: "fixture" as ServerName,
  command: [process.execPath, fileURLToPath(new URL("../fixtures/stdio-upstream.ts", import.meta.url)), "--deaf"],
  env: {},
  cwd: process.cwd(),
  child: "shared",
  maxChildren: 1,
  timeoutMs: 20_000,
  maxResultBytes: 4_194_304,
  mono: () => performance.now(),
  warn: () => {},
});
process.stdout.write(`${textOf(await send(upstream, call("grandchild")))}\n`);
