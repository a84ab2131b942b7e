import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Attack, loadCorpus, type Scene } from "./attack.ts";
import { MODES, type Mode } from "./contract.ts";
import { type Course, faultsOf, secretsIn } from "./judge.ts";
import { goodCall, parserRefusals, perform, play } from "./perform.ts";
import { openStage, type Stage, UPSTREAM_AUTHORIZATION } from "./stage.ts";

const corpus = loadCorpus(join(import.meta.dirname, "corpus"));
const stages = new Map<Mode, Stage>();
/** Attacks that wait for a time limit of the gateway are sent at the start and looked at when all others are over. */
const early = new Map<string, Promise<Course[]>>();
const isSlow = ({ scenes }: Attack) => scenes.some(({ slow }) => slow);
const ordered = [...corpus.filter((attack) => !isSlow(attack)), ...corpus.filter(isSlow)];

/** Three gateways and nine servers, on a machine that is busy with other tests. */
const START_MS = 60_000;

beforeAll(async () => {
  await Promise.all(MODES.map(async (mode) => stages.set(mode, await openStage(mode))));
  for (const stage of stages.values()) {
    for (const scene of corpus.flatMap(({ scenes }) => scenes))
      if (scene.slow) early.set(keyOf(scene, stage.mode), play(scene, stage, null));
  }
}, START_MS);

afterAll(async () => {
  await Promise.all([...stages.values()].map((stage) => stage.close()));
}, START_MS);

const keyOf = (scene: Scene, mode: Mode) => `${scene.name} ${mode}`;

function stageOf(mode: Mode): Stage {
  const stage = stages.get(mode);
  if (stage === undefined) throw new Error(mode);
  return stage;
}

/** Once for each mode, in all three at the same time: the gateways know nothing of each other. */
const outcomes = new Map<Attack, ReadonlyMap<Mode, Promise<string[]>>>();

function outcomeOf(attack: Attack, mode: Mode): Promise<string[]> | undefined {
  const known = outcomes.get(attack) ?? new Map(MODES.map((each) => [each, faultsIn(attack, stageOf(each)).catch(saidOf)]));
  outcomes.set(attack, known);
  return known.get(mode);
}

/** In one mode nobody may be waiting yet. */
function saidOf(fault: unknown): string[] {
  return [fault instanceof Error ? (fault.stack ?? fault.message) : String(fault)];
}

async function faultsIn({ scenes }: Attack, stage: Stage): Promise<string[]> {
  const faults: string[] = [];
  const unread = scenes.filter(({ recorded }) => recorded === "counted").reduce((count, { repeat }) => count + repeat, 0);
  const before = unread > 0 && !scenes.some(({ slow }) => slow) ? await parserRefusals(stage) : 0;
  for (const scene of scenes) faults.push(...faultsOf(scene, await perform(scene, stage, early.get(keyOf(scene, stage.mode)) ?? null)));
  if (unread > 0 && (await parserRefusals(stage)) < before + unread) faults.push("what node's parser refused was not counted");
  if (!(await goodCall(stage))) faults.push("the gateway does not serve a good call afterwards");
  return faults;
}

for (const attack of ordered) {
  for (const mode of MODES) {
    test(`${attack.id} ${attack.title} [${mode}]`, { timeout: 60_000 }, async () => {
      expect(await outcomeOf(attack, mode), attack.story).toEqual([]);
    });
  }
}

describe.each(MODES)("after all of them [%s]", (mode) => {
  test("no secret is in the metrics or in a file of the data folder that is not its own", async () => {
    const { gateway, metrics, secrets, policyCanaries } = stageOf(mode);
    const data = join(gateway.folder, "data");
    const files = readdirSync(data).filter((file) => file !== "admin.key" && statSync(join(data, file)).isFile());
    expect(files).toEqual(expect.arrayContaining(["journal.db", "control.db"]));
    const faults = files.flatMap((file) => secretsIn(file, readFileSync(join(data, file)).toString("latin1"), secrets, []));
    expect([...faults, ...secretsIn("/metrics", await metrics(), secrets, policyCanaries)]).toEqual([]);
  });

  test("no server behind was ever shown a secret but its own credential", () => {
    const { heard, secrets } = stageOf(mode);
    const foreign = heard().map((text) => text.replaceAll(UPSTREAM_AUTHORIZATION, ""));
    expect(secretsIn("a request", foreign.join("\n"), secrets, [])).toEqual([]);
  });

  test("no attack left more records than it was answered for, and the evidence still verifies", async () => {
    const stage = stageOf(mode);
    for (const { name, recorded, repeat } of [...outcomes.keys()].flatMap(({ scenes }) => scenes)) {
      const own = stage.records().filter(({ request }) => request?.user_agent?.includes(`(${name})`) === true);
      expect([name, own.length]).toEqual([name, recorded === "counted" ? 0 : recorded * repeat]);
    }
    expect(await stage.gateway.json<{ ok: boolean }>("audit", "verify")).toMatchObject({ ok: true });
  });
});
