/** The command line: assembles the commands and turns every ending into an exit code. */
import { Command, CommanderError } from "commander";
import { registerAdminKey } from "./admin-key.ts";
import { registerAgent } from "./agent.ts";
import { registerApproval } from "./approval.ts";
import { registerAudit } from "./audit.ts";
import { registerBackup } from "./backup.ts";
import { registerBudget } from "./budget.ts";
import { registerCheck } from "./check.ts";
import { registerCustomer } from "./customer.ts";
import { registerDemo } from "./demo.ts";
import { registerInit } from "./init.ts";
import { EXIT, Exit, type Io, processIo } from "./io.ts";
import { registerLeak } from "./leak.ts";
import { registerPolicy } from "./policy.ts";
import { registerServe } from "./serve.ts";
import { registerSync } from "./sync.ts";
import { registerToken } from "./token.ts";
import { registerTool } from "./tool.ts";
import { registerUsage } from "./usage.ts";
import { VERSION } from "./version.ts";
import { registerWhy } from "./why.ts";

export function createProgram(io: Io = processIo): Command {
  const program = new Command("tollgate");
  program
    .description("The authorization gateway for the Model Context Protocol.")
    .version(VERSION)
    .showHelpAfterError("(--help tells more)")
    // `usage` has options of its own, and a command below it that has the same ones.
    .enablePositionalOptions();
  registerServe(program, io);
  registerInit(program, io);
  registerCheck(program, io);
  registerDemo(program, io);
  registerAgent(program, io);
  registerCustomer(program, io);
  registerAdminKey(program, io);
  registerLeak(program, io);
  registerToken(program, io);
  registerUsage(program, io);
  registerBudget(program, io);
  registerApproval(program, io);
  registerAudit(program, io);
  registerBackup(program, io);
  registerSync(program, io);
  registerPolicy(program, io);
  registerTool(program, io);
  registerWhy(program, io);
  const output = { writeOut: (text: string) => io.out(text.trimEnd()), writeErr: (text: string) => io.err(text.trimEnd()) };
  everyCommand(program, (command) => command.exitOverride().configureOutput(output));
  return program;
}

/** A reader that has seen enough, as in `| head`, is no fault. */
function outliveReaders(stream: NodeJS.WriteStream): void {
  stream.on("error", (fault: NodeJS.ErrnoException) => {
    if (fault.code !== "EPIPE") throw fault;
  });
}

/** Runs one command line and returns its exit code; nothing below calls process.exit. */
export async function run(argv: readonly string[], io: Io = processIo): Promise<number> {
  if (io === processIo) for (const stream of [process.stdout, process.stderr]) outliveReaders(stream);
  try {
    await createProgram(io).parseAsync([...argv]);
    return typeof process.exitCode === "number" ? process.exitCode : EXIT.done;
  } catch (fault) {
    if (fault instanceof Exit) {
      io.err(fault.message);
      return fault.code;
    }
    if (fault instanceof CommanderError) return fault.exitCode === 0 ? EXIT.done : EXIT.usage;
    throw fault;
  }
}

function everyCommand(command: Command, change: (command: Command) => void): void {
  change(command);
  for (const child of command.commands) everyCommand(child, change);
}
