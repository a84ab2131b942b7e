/** Decisions that must hold, stated in `*.cases.yaml` beside the policies: read, checked against each other, and asked. */
import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { type PolicySet, policySetOf } from "./call/authorize/candidates.ts";
import { casesFileSchema, casesJsonSchema, type PolicyCase } from "./call/authorize/cases-file.ts";
import { type Explanation, explainDecision } from "./call/authorize/explain.ts";
import { instantMs } from "./call/authorize/written.ts";
import { codeOf, type Problem, readDocument, sortProblems } from "./document.ts";
import { type ImaginedAgent, imagine, imagineCall } from "./imagined.ts";
import { problemAtValue, problemsOf } from "./issues.ts";

/** One question of a case: one agent, one target. */
export type Question = {
  readonly file: string;
  readonly line: number;
  readonly name: string;
  readonly agent: ImaginedAgent;
  readonly path: string;
  readonly args: unknown;
  readonly atMs: number | null;
  readonly expect: string;
  readonly rule: string | null;
};

export type CaseResult = {
  readonly question: Question;
  readonly ok: boolean;
  /** `permit`, or the reason. */
  readonly got: string;
  readonly explanation: Explanation;
};

/** Names of the case files of a folder, in order. */
export function caseFilesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => /\.cases\.ya?ml$/.test(name) && !name.startsWith("."))
      .toSorted()
      .map((name) => join(folder, name));
  } catch (fault) {
    throw new Error(`${folder} cannot be read: ${codeOf(fault)}`);
  }
}

export type Declared = ReadonlyMap<string, ImaginedAgent>;

export function readCases(
  files: readonly string[],
  declared: Declared,
): { readonly questions: readonly Question[] } | { readonly problems: readonly Problem[] } {
  const problems: Problem[] = [];
  const questions: Question[] = [];
  const asked = new Map<string, Question>();
  for (const path of files) {
    const document = readDocument(path, "regular");
    problems.push(...document.problems);
    if (document.data === undefined) continue;
    const parsed = casesFileSchema.safeParse(document.data ?? {});
    if (!parsed.success) {
      problems.push(...problemsOf(document, parsed.error.issues, casesJsonSchema()));
      continue;
    }
    const file = join(basename(join(path, "..")), basename(path));
    for (const [index, each] of parsed.data.cases.entries()) {
      const at = ["cases", index] as const;
      const { line } = document.locate(at);
      for (const question of questionsOf(each, declared, file, line)) {
        if ("problem" in question) {
          problems.push(problemAtValue(document, [...at, question.key], question.problem));
          continue;
        }
        const key = JSON.stringify([question.agent, question.path, question.args ?? {}, question.atMs]);
        const before = asked.get(key);
        if (before !== undefined && before.expect !== question.expect)
          problems.push(problemAtValue(document, [...at, "expect"], contradiction(question, before)));
        asked.set(key, question);
        questions.push(question);
      }
    }
  }
  return problems.length > 0 ? { problems: sortProblems(problems) } : { questions };
}

function contradiction({ expect, path }: Question, before: Question): string {
  return `${path} is to be ${expect} here, and ${before.expect} at ${before.file}:${before.line} (${before.name})`;
}

type Unasked = { readonly key: "agent" | "tool"; readonly problem: string };

function questionsOf(each: PolicyCase, declared: Declared, file: string, line: number): (Question | Unasked)[] {
  const { name, args, expect, rule = null, at } = each;
  const agents = [each.agent].flat();
  return agents.flatMap((written) => {
    const known = typeof written === "string" ? declared.get(written) : written;
    if (known === undefined)
      return [{ key: "agent", problem: `no policy file declares ${String(written)}: state its attributes` } as const];
    const { scopes, subject, instance, roles, claims } = each;
    const agent: ImaginedAgent = { ...known, scopes, subject, instance, roles, claims };
    return [each.tool].flat().map((path): Question | Unasked => {
      const call = imagineCall(path, args);
      if ("problem" in call) return { key: "tool", problem: call.problem };
      return { file, line, name, agent, path, args, atMs: at === undefined ? null : instantMs(at), expect, rule };
    });
  });
}

/** What is asked of policies that are only observed is what they would say. */
export function askAll(policySet: PolicySet, questions: readonly Question[], nowMs: number): CaseResult[] {
  const enforced = policySet.mode === "enforce" ? policySet : policySetOf(policySet, "enforce");
  return questions.map((question) => {
    const call = imagineCall(question.path, question.args);
    if ("problem" in call) throw new Error(call.problem);
    const explanation = explainDecision(enforced, imagine(question.agent), call, question.atMs ?? nowMs);
    const got = explanation.reason ?? "permit";
    const isRule = question.rule === null || question.rule === explanation.rule?.name;
    return { question, ok: got === question.expect && isRule, got, explanation };
  });
}
