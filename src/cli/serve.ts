/** `serve`: the gateway in the foreground; SIGTERM and SIGINT drain it. */
import type { Command } from "commander";
import { type CommonOptions, leaf } from "./command.ts";
import { EXIT, Exit, type Io } from "./io.ts";

type ServeOptions = CommonOptions & { readonly logLevel: string };

export function registerServe(program: Command, io: Io): void {
  leaf(program, "serve", "start the gateway; SIGTERM drains it", "tollgate serve -c tollgate.yaml")
    .option("--log-level <level>", "debug, info, warn or error", "info")
    .action((options: ServeOptions) => serve(options, io));
}

async function serve(options: ServeOptions, io: Io): Promise<void> {
  // The whole gateway: loaded here, so that the small commands start without it.
  const [{ StartRefused, startGateway }, { createLog }] = await Promise.all([import("../gateway.ts"), import("../observe.ts")]);
  const log = createLog(options.logLevel);
  const gateway = await startGateway({ configFile: options.config, env: io.env, log }).catch((fault: unknown) => {
    throw fault instanceof StartRefused ? new Exit(fault.problems ? EXIT.config : EXIT.away, fault.message) : fault;
  });
  await new Promise<void>((resolve) => {
    const drain = (signal: NodeJS.Signals) => {
      log.info({ signal }, "draining");
      resolve();
    };
    process.once("SIGTERM", drain);
    process.once("SIGINT", drain);
  });
  await gateway.close();
}
