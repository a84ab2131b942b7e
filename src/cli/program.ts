/** The command line: assembles the commands that are needed and turns every ending into an exit code. */
import { Command, CommanderError } from "commander";
import { EXIT, Exit, type Io, processIo } from "./io.ts";
import { VERSION } from "./version.ts";

/** The first words of each file's commands, in the order of the help. A file, and all that it needs, is loaded when such a word is typed. */
const COMMANDS: readonly (readonly [words: readonly string[], load: () => Promise<(program: Command, io: Io) => void>])[] = [
  [["serve"], async () => (await import("./serve.ts")).registerServe],
  [["init"], async () => (await import("./init.ts")).registerInit],
  [["check", "validate"], async () => (await import("./check.ts")).registerCheck],
  [["demo"], async () => (await import("./demo.ts")).registerDemo],
  [["agent"], async () => (await import("./agent.ts")).registerAgent],
  [["customer"], async () => (await import("./customer.ts")).registerCustomer],
  [["admin-key"], async () => (await import("./admin-key.ts")).registerAdminKey],
  [["leak"], async () => (await import("./leak.ts")).registerLeak],
  [["token"], async () => (await import("./token.ts")).registerToken],
  [["usage"], async () => (await import("./usage.ts")).registerUsage],
  [["budget"], async () => (await import("./budget.ts")).registerBudget],
  [["approval"], async () => (await import("./approval.ts")).registerApproval],
  [["audit"], async () => (await import("./audit.ts")).registerAudit],
  [["backup", "restore"], async () => (await import("./backup.ts")).registerBackup],
  [["sync"], async () => (await import("./sync.ts")).registerSync],
  [["policy"], async () => (await import("./policy.ts")).registerPolicy],
  [["tool"], async () => (await import("./tool.ts")).registerTool],
  [["why"], async () => (await import("./why.ts")).registerWhy],
];

/** With the commands of `word` alone, where it is the first word of any: help, the reference and a slip of the pen need them all. */
export async function createProgram(io: Io = processIo, word?: string): Promise<Command> {
  const program = new Command("tollgate");
  program
    .description("The authorization gateway for the Model Context Protocol.")
    .version(VERSION)
    .showHelpAfterError("(--help tells more)")
    // `usage` has options of its own, and a command below it that has the same ones.
    .enablePositionalOptions();
  const typed = COMMANDS.filter(([words]) => words.includes(word ?? ""));
  const needed = typed.length > 0 || word === "--version" ? typed : COMMANDS;
  for (const register of await Promise.all(needed.map(([, load]) => load()))) register(program, io);
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

/** Runs one command line and returns its exit code. */
export async function run(argv: readonly string[], io: Io = processIo): Promise<number> {
  if (io === processIo) for (const stream of [process.stdout, process.stderr]) outliveReaders(stream);
  try {
    await (await createProgram(io, argv[2])).parseAsync([...argv]);
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
