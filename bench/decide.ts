/** `npm run bench:decide [-- --quick | --json]`: what a decision and a load of policies cost as the rules grow, in this process on one core. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Agent } from "../src/call/authenticate/agent.ts";
import type { PolicySet } from "../src/call/authorize/candidates.ts";
import type { Asked } from "../src/call/authorize/circumstances.ts";
import { decide } from "../src/call/authorize/decide.ts";
import type { AgentId } from "../src/ids.ts";
import { loadPolicies } from "../src/policy-load.ts";
import { isRefusal } from "../src/refusal.ts";
import { agentOf, asked } from "../test/authorize/fixture.ts";
import { percentile } from "./percentile.ts";

const { values } = parseArgs({ options: { quick: { type: "boolean" }, json: { type: "boolean" } } });
const SIZES = values.quick === true ? [10, 1_000, 10_000] : [10, 100, 1_000, 10_000, 100_000];
const SAMPLES = values.quick === true ? 500 : 2_000;
/** A clock's tick is longer than a decision: this many are timed together. */
const BATCH = 200;
const AGENTS = 1_000;
const SERVERS = 20;
const TOOLS = 50;
/** Of the rules, so many ask a condition of the arguments, and so many are for a whole team. */
const CONDITION_EVERY = 2;
const TEAM_EVERY = 5;
/** A file holds at most 4 MiB. */
const RULES_A_FILE = 20_000;

const SERVER_FACTS = new Map(Array.from({ length: SERVERS }, (_, index) => [`s${index}`, { reserve: { tool_tokens: 0 } }]));

type Question = { readonly agent: Agent; readonly asked: Asked };

/** Which tool rule `i` is about: another one each time its agent comes round again. */
function toolOf(i: number): readonly [server: string, tool: string] {
  const tool = (i + Math.floor(i / AGENTS) * 37) % (SERVERS * TOOLS);
  return [`s${tool % SERVERS}`, `tool_${Math.floor(tool / SERVERS)}`];
}

/** Rule `i`: one tool for one agent (every fifth for a team, with a pattern), with a condition or without. */
function ruleText(i: number): string {
  const [server, tool] = toolOf(i);
  const isTeams = i % TEAM_EVERY === 0;
  const who = isTeams ? `{ team: team-${i % 100} }` : `{ agent: bot-${i % AGENTS} }`;
  const permit = isTeams ? `[${server}/${tool}, "${server}/get_${i}_*"]` : `[${server}/${tool}]`;
  const when = i % CONDITION_EVERY === 0 ? "" : "\n    when: args.limit <= 100";
  return `  - name: r${i}\n    who: ${who}\n    permit: ${permit}${when}\n`;
}

function folderWith(rules: number): string {
  const folder = join(mkdtempSync(join(tmpdir(), "tollgate-bench-")), "policies");
  mkdirSync(folder);
  for (let from = 0; from < rules; from += RULES_A_FILE) {
    const texts = Array.from({ length: Math.min(RULES_A_FILE, rules - from) }, (_, index) => ruleText(from + index));
    writeFileSync(join(folder, `${from}.yaml`), `apiVersion: tollgate/v1\nentitlements:\n${texts.join("")}`);
  }
  return folder;
}

/** Of each agent one call that a rule permits. */
function questionsOf(rules: number, agents: readonly Agent[], conditional: boolean): Question[] {
  const questions: Question[] = [];
  for (let i = conditional ? 1 : 0; i < Math.min(rules, 2 * AGENTS); i += CONDITION_EVERY) {
    const agent = i % TEAM_EVERY === 0 ? agents[i % 100] : agents[i % AGENTS];
    if (agent === undefined) continue;
    questions.push({ agent, asked: asked(toolOf(i).join("/"), '{"query":"refund","limit":20}') });
  }
  return questions;
}

/** Microseconds a decision: p50 and p99 over batches. Every answer is a permit, or the figures are of something else. */
function timed(set: PolicySet, questions: readonly Question[]): { readonly p50: number; readonly p99: number } {
  const nowMs = Date.now();
  const samples: number[] = [];
  let at = 0;
  for (const { agent, asked } of questions) if (isRefusal(decide(set, agent, asked, nowMs))) throw new Error("a question that is refused");
  for (let sample = -SAMPLES / 4; sample < SAMPLES; sample++) {
    const start = performance.now();
    for (let i = 0; i < BATCH; i++) {
      const question = questions[at++ % questions.length];
      if (question !== undefined) decide(set, question.agent, question.asked, nowMs);
    }
    if (sample >= 0) samples.push(((performance.now() - start) * 1_000) / BATCH);
  }
  samples.sort((a, b) => a - b);
  return { p50: percentile(samples, 50), p99: percentile(samples, 99) };
}

/** Microseconds of the first question of each agent, when nothing of it is known yet. */
function timedFirst(set: PolicySet, questions: readonly Question[]): number {
  const seen = new Set<Agent>();
  const samples: number[] = [];
  for (const { agent, asked } of questions) {
    if (seen.has(agent)) continue;
    seen.add(agent);
    const start = performance.now();
    decide(set, agent, asked, Date.now());
    samples.push((performance.now() - start) * 1_000);
  }
  return percentile(
    samples.sort((a, b) => a - b),
    50,
  );
}

const agents = Array.from({ length: AGENTS }, (_, index) =>
  agentOf({ id: `agt_${index}` as AgentId, name: `bot-${index}`, team: `team-${index % 100}` }),
);
const rows = SIZES.map((rules) => {
  const folder = folderWith(rules);
  const start = performance.now();
  const loaded = loadPolicies(folder, SERVER_FACTS);
  const loadMs = performance.now() - start;
  rmSync(join(folder, ".."), { recursive: true });
  if ("problems" in loaded) throw new Error(loaded.problems[0]?.message);
  const set = loaded.policySet;
  const [plain, conditional] = [questionsOf(rules, agents, false), questionsOf(rules, agents, true)];
  const firstUs = timedFirst(set, plain);
  return { rules, loadMs, firstUs, plain: timed(set, plain), conditional: timed(set, conditional) };
});

if (values.json === true) console.log(JSON.stringify({ agents: AGENTS, tools: SERVERS * TOOLS, rows }));
else {
  console.log(`${AGENTS} agents, ${SERVERS * TOOLS} tools; microseconds a decision, p50 (p99) of ${SAMPLES} batches of ${BATCH}`);
  console.log("  rules     load     first question   without condition   with a CEL condition");
  for (const { rules, loadMs, firstUs, plain, conditional } of rows) {
    const [us, ms] = [(value: number) => value.toFixed(2), `${loadMs.toFixed(0)} ms`];
    console.log(
      `${String(rules).padStart(7)} ${ms.padStart(8)} ${us(firstUs).padStart(18)} ${`${us(plain.p50)} (${us(plain.p99)})`.padStart(19)} ${`${us(conditional.p50)} (${us(conditional.p99)})`.padStart(22)}`,
    );
  }
}
