/** `demo`: the main job as a story of a real gateway, real MCP servers and a real client; every line is read from the system. */
import type { Command } from "commander";
import type { Gateway } from "../gateway.ts";
import { type Stage, setStage, stageIsPossible } from "./demo-stage.ts";
import { EXIT, Exit, type Io, paint } from "./io.ts";

export function registerDemo(program: Command, io: Io): void {
  program
    .command("demo")
    .description("a governed call, refusals, usage and evidence, on a gateway of its own in a temporary folder")
    .option("--exit", "end when the story is told, instead of leaving the gateway running")
    .option("--log-level <level>", "debug, info, warn, error or silent", "silent")
    .addHelpText("after", "\nExample:\n  $ tollgate demo --exit")
    .action((options: { exit?: boolean; logLevel: string }) => demo(options, io));
}

async function demo(options: { exit?: boolean; logLevel: string }, io: Io): Promise<void> {
  if (!stageIsPossible()) throw new Exit(EXIT.away, "the demo needs the development dependencies of a clone: npm install && npm run demo");
  const [{ startGateway }, { createLog }, { play }] = await Promise.all([
    import("../gateway.ts"),
    import("../observe.ts"),
    import("./demo-play.ts"),
  ]);
  const stage = await setStage();
  let gateway: Gateway | null = null;
  try {
    const startedAt = performance.now();
    gateway = await startGateway({ configFile: stage.configFile, env: io.env, log: createLog(options.logLevel) });
    const startedMs = Math.round(performance.now() - startedAt);
    let wrong = 0;
    await play(stage, startedMs, (label, text, asTold) => {
      if (!asTold) wrong += 1;
      io.out(`${asTold ? paint(io, "green", "ok") : paint(io, "red", "NO")}  ${label.padEnd(12)} ${text}`);
    });
    io.out(wrong === 0 ? "\nEvery step went as told." : `\n${wrong} steps did not go as told.`);
    if (options.exit !== true) await stay(stage, io);
    if (wrong > 0) throw new Exit(EXIT.no, "the demo did not go as told");
  } finally {
    await gateway?.close();
    await stage.end();
  }
}

async function stay(stage: Stage, io: Io): Promise<void> {
  io.out(`
The gateway keeps running until Ctrl-C. Your own MCP client, with the access token of a second agent:

  claude mcp add --transport http everything ${stage.publicUrl}/mcp/everything \\
    --header "Authorization: Bearer $(npm run --silent tollgate -- token --agent visitor --server everything -c ${stage.configFile})"
`);
  await new Promise<void>((resolve) => {
    process.once("SIGINT", resolve);
    process.once("SIGTERM", resolve);
  });
}
