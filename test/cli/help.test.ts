import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { describe, expect, test } from "vitest";
import { createProgram } from "../../src/cli/program.ts";
import { tollgate } from "./terminal.ts";

const silent = { out: () => {}, err: () => {}, color: false, env: {} };
const whole = await createProgram(silent);

/** One that only has others below it has no options of its own. */
const does = (command: Command, words: readonly string[]) =>
  command.commands.length === 0 || (words.length > 0 && command.options.length > 0);

/** Every command that does something, by its words. */
function leaves(command: Command, words: readonly string[] = []): { words: readonly string[]; command: Command }[] {
  const below = command.commands.flatMap((child) => leaves(child, [...words, child.name()]));
  return does(command, words) ? [{ words, command }, ...below] : below;
}

/** Words as a shell would split them; quotes keep spaces. */
function split(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(([, double, single, bare]) => double ?? single ?? bare ?? "");
}

/** Parses without doing: true when the named command would have run. */
async function reaches(args: readonly string[], words: readonly string[]): Promise<boolean> {
  const program = await createProgram(silent);
  const ran: string[][] = [];
  const replace = (command: Command, path: string[]) => {
    if (does(command, path)) command.action(() => void ran.push(path));
    for (const child of command.commands) replace(child, [...path, child.name()]);
  };
  replace(program, []);
  await program.parseAsync(["node", "tollgate", ...args]);
  return ran.length === 1 && ran[0]?.join(" ") === words.join(" ");
}

const ISSUE_COMMANDS = `serve, init, check, demo, agent create, agent list, agent show, agent suspend, agent reinstate, agent revoke, agent rotate,
  agent offboard, agent import, agent export, customer create, customer list, customer show, customer suspend, customer reinstate, customer end,
  admin-key create, admin-key list, admin-key revoke, approval list, approval approve, approval deny, leak report, token, usage, usage correct, budget list, budget show, budget create, budget change, budget end, budget credit, budget debit,
  budget shared status, budget shared force, budget shared forget,
  policy explain, policy test, policy diff, policy backtest, policy suggest, audit tail, audit show, audit verify, audit key, audit checkpoint, audit prove,
  audit export, backup, restore, audit retention, audit purge, audit hold,
  audit lift, audit erase, why, sync status, sync flush, sync settle, sync reconcile, sync enable, sync audit, sync schema,
  tool list, tool diff, tool approve`;

test("these commands are offered, and no others", () => {
  expect(
    leaves(whole)
      .map(({ words }) => words.join(" "))
      .sort(),
  ).toEqual(ISSUE_COMMANDS.split(/,\s+/).sort());
});

// A file whose words are not those of its commands would be loaded for help alone, and its commands be unknown.
test.each(whole.commands.flatMap((command) => [command.name(), ...command.aliases()]))("%s is found by its name alone", async (name) => {
  const { commands } = await createProgram(silent, name);
  expect(commands.some((command) => command.name() === name || command.aliases().includes(name))).toBe(true);
  expect(commands.length).toBeLessThan(whole.commands.length);
});

describe.each(leaves(whole).map(({ words, command }) => ({ name: words.join(" "), words, command })))("$name", ({ words, command }) => {
  const required = command.options.filter((option) => option.mandatory).flatMap((option) => [option.long ?? "", "x"]);

  test("explains itself with an example that works", async () => {
    const { code, out, err } = await tollgate([...words, "--help"]);
    expect([code, err]).toEqual([0, ""]);
    expect(out).toContain(`Usage: tollgate ${words.join(" ")}`);
    expect(out).toContain(command.description().split(" ").slice(0, 3).join(" "));
    const examples = [...out.matchAll(/^ *\$ tollgate (.+)$/gm)].map(([, line]) => line ?? "");
    expect(examples.length).toBeGreaterThan(0);
    for (const example of examples) expect(await reaches(split(example.split(" < ")[0] ?? ""), words), example).toBe(true);
  });

  test("refuses an option that it does not have, with exit 2", async () => {
    const { code, out, err } = await tollgate([...words, ...command.registeredArguments.map(() => "x"), ...required, "--no-such-option"]);
    expect([code, out]).toEqual([2, ""]);
    expect(err).toContain("--no-such-option");
  });

  test.skipIf(command.registeredArguments.some(({ variadic }) => variadic))("refuses one argument too many, with exit 2", async () => {
    const { code, err } = await tollgate([...words, ...command.registeredArguments.map(() => "x"), "one-too-many", ...required]);
    expect(code).toBe(2);
    expect(err).toContain("too many arguments");
  });
});

describe("wrong usage is exit 2", () => {
  test.each([[["nonsense"]], [["agent", "nonsense"]], [["--nonsense"]], [["agent"]], [["audit"]], [["budget"]], [[]]])(
    "%j",
    async (args) => {
      const { code, err } = await tollgate(args);
      expect(code).toBe(2);
      expect(err).not.toBe("");
    },
  );

  test("a name that is nearly right is told the right one", async () => {
    expect((await tollgate(["chekc"])).err).toContain("Did you mean check?");
    expect((await tollgate(["agent", "lst"])).err).toContain("Did you mean list?");
  });
});

test("help and version are exit 0", async () => {
  for (const args of [["--help"], ["help"], ["agent", "--help"], ["help", "check"], ["--version"]]) {
    const { code, out } = await tollgate(args);
    expect([args, code, out === ""]).toEqual([args, 0, false]);
  }
  expect((await tollgate(["--version"])).out).toMatch(/^\d+\.\d+\.\d+/);
});

test("validate is another name of check", async () => {
  expect(await reaches(["validate"], ["check"])).toBe(true);
});

test("the commands on the administration page are commands", async () => {
  const page = readFileSync(join(import.meta.dirname, "../../docs/administration.md"), "utf8");
  const lines = [...page.matchAll(/^(?:[A-Z_]+=\S+ )?tollgate ([^#<\n]+)/gm)].map(([, line]) => split(line ?? ""));
  expect(lines.length).toBeGreaterThan(12);
  const names = leaves(whole).map(({ words }) => words);
  for (const line of lines) {
    const words = names.find((each) => each.every((word, i) => line[i] === word)) ?? [];
    expect(await reaches(line, words), line.join(" ")).toBe(true);
  }
});
