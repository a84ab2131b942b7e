/** `serve`: the gateway in the foreground; SIGTERM and SIGINT drain it, SIGHUP reads the policies anew. */
import type { Command } from "commander";
import { type CommonOptions, leaf } from "./command.ts";
import { EXIT, Exit, type Io } from "./io.ts";

type ServeOptions = CommonOptions & { readonly logLevel: string; readonly trustClock?: true };

export function registerServe(program: Command, io: Io): void {
  leaf(program, "serve", "start the gateway; SIGTERM drains it, SIGHUP reads the policy files anew", "tollgate serve -c tollgate.yaml")
    .option("--log-level <level>", "debug, info, warn or error", "info")
    .option("--trust-clock", "the machine's clock is right: budget windows that begin after it are left until their time comes")
    .action((options: ServeOptions) => serve(options, io));
}

const LINGER_MS = 2_000;
const LOG_LEVELS = ["debug", "info", "warn", "error", "silent"];

async function serve(options: ServeOptions, io: Io): Promise<void> {
  if (!LOG_LEVELS.includes(options.logLevel))
    throw new Exit(EXIT.usage, `--log-level ${options.logLevel}: there is ${LOG_LEVELS.join(", ")}`);
  // Node.js would open its inspector, which reads all memory, for whoever may send this process a signal.
  process.on("SIGUSR1", () => {});
  // The whole gateway: loaded here, so that the small commands start without it.
  const [{ startGateway }, { StartRefused }, { createLog }] = await Promise.all([
    import("../gateway.ts"),
    import("../load.ts"),
    import("../observe.ts"),
  ]);
  const log = createLog(options.logLevel);
  if (io.env.TOLLGATE_OLD_NODE !== undefined)
    log.warn({ node: io.env.TOLLGATE_OLD_NODE }, "this Node.js has known faults that 24.22.1 mends: update it");
  const told = heardSignal();
  let reload = (): unknown => null;
  process.on("SIGHUP", () => void reload());
  const gateway = await startGateway({ configFile: options.config, env: io.env, log, trustClock: options.trustClock ?? false }).catch(
    (fault: unknown) => {
      throw fault instanceof StartRefused ? new Exit(fault.problems ? EXIT.config : EXIT.away, fault.message) : fault;
    },
  );
  reload = gateway.reload;
  log.info({ signal: await told }, "draining");
  await gateway.close();
  // All is written and answered: a connection whose other end is gone must not keep the process.
  setTimeout(() => process.exit(), LINGER_MS).unref();
}

/** Listens from before the start: a signal that comes meanwhile drains as soon as the start is done. */
function heardSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    process.once("SIGTERM", resolve);
    process.once("SIGINT", resolve);
  });
}
