/** `policy test`: the decisions that `*.cases.yaml` state, asked of the policies as they stand. */
import { resolve } from "node:path";
import { NOTHING_KNOWN } from "../call/authorize/known.ts";
import { askAll, type CaseResult, caseFilesIn, readCases } from "../policy-cases.ts";
import { type CommonOptions, configOf, print, problemLines } from "./command.ts";
import { hintsFor } from "./explain-hints.ts";
import { EXIT, Exit, type Io, paint } from "./io.ts";
import { policiesOf } from "./policy-folder.ts";
import { plain } from "./table.ts";

export type TestOptions = CommonOptions & { readonly policies?: string };

export function testPolicies(files: readonly string[], options: TestOptions, io: Io): void {
  const config = configOf(options, { ...io, env: withoutSecrets(io.env) });
  const folder = options.policies === undefined ? config.policies : resolve(options.policies);
  const { policySet, declared } = policiesOf(folder, config);
  const paths = files.length > 0 ? files.map((file) => resolve(file)) : caseFilesIn(folder);
  if (paths.length === 0) throw new Exit(EXIT.usage, `there is no *.cases.yaml in ${folder}: state there which decisions must hold`);
  const read = readCases(paths, declared);
  if ("problems" in read) throw new Exit(EXIT.config, problemLines(read.problems));
  // A refusal that is expected for want of a name may be expected of a slip.
  const servers = new Set<string>(config.servers.keys());
  const hints = new Set(
    read.questions.flatMap(({ file, line, path }) =>
      hintsFor(path, servers, NOTHING_KNOWN).map((hint) => `${file}:${line}: warning: ${hint}`),
    ),
  );
  if (options.json !== true) for (const hint of hints) io.err(paint(io, "yellow", plain(hint)));
  const results = askAll(policySet, read.questions, Date.now());
  const failed = results.filter(({ ok }) => !ok);
  const json = { ok: failed.length === 0, cases: results.length, failed: failed.map(failureJson) };
  print(io, options, json, () => textOf(io, results.length, failed));
  process.exitCode = failed.length === 0 ? EXIT.done : EXIT.no;
}

/** No secret has a say in what policies decide: where they are tested, those of the config need not be at hand. */
function withoutSecrets(env: Io["env"]): Io["env"] {
  return new Proxy(env, { get: (set, name) => (typeof name === "string" ? (set[name] ?? "not-set") : undefined) });
}

function failureJson({ question, got, explanation }: CaseResult): object {
  const { file, line, name, agent, path, args = null, expect, rule } = question;
  return { file, line, name, agent: agent.name, tool: path, args, expect, expected_rule: rule, got, rule: explanation.rule };
}

function textOf(io: Io, asked: number, failed: readonly CaseResult[]): string {
  const lines = failed.map(({ question, got, explanation }) => {
    const { file, line, name, agent, path, expect, rule } = question;
    const wanted = rule === null ? expect : `${expect} by ${rule}`;
    const by = explanation.rule === null ? "no rule" : `${explanation.rule.name} (${explanation.rule.file}:${explanation.rule.line})`;
    return `${file}:${line}: ${name}: ${agent.name} at ${path}: expected ${wanted}, got ${got} by ${by}`;
  });
  const verdict =
    failed.length === 0
      ? paint(io, "green", `${asked} decisions hold`)
      : paint(io, "red", `${failed.length} of ${asked} decisions do not hold`);
  return [...lines, verdict].join("\n");
}
