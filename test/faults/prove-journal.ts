/** `npm run prove:journal [-- --quick] [--seed N] [--count N]`: kills a gateway under load and cuts its power, and prints what was lost: nothing. */
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";
import { killLoop } from "../e2e/kill-loop.ts";
import { seededRandom } from "../fixtures/seeded-random.ts";
import { buildRecorder, losePower } from "./power-loss.ts";

const { values } = parseArgs({
  options: { seed: { type: "string" }, count: { type: "string" }, quick: { type: "boolean" }, only: { type: "string" } },
});
const seed = Number(values.seed ?? 1);
const trials = Number(values.count ?? (values.quick ? 10 : 1_000));
const only = values.only ?? "kills,power";
const say = (text: string) => process.stderr.write(`${text}\n`);
const mayTrace = spawnSync("strace", ["-f", "-e", "trace=fdatasync", "true"]).status === 0;
const report: Record<string, unknown> = { seed };
const violations: string[] = [];

if (only.includes("kills")) {
  if (!mayTrace) say("strace cannot be used here: every kill falls at a random moment");
  const progress = (done: number) => done % 25 === 0 && say(`${done} of ${trials} kills`);
  const { violations: found, ...kills } = await killLoop({ kills: trials, seed, trace: mayTrace, progress });
  report.kills = kills;
  violations.push(...found);
  if (kills.recovered === 0) violations.push("no kill cut off a call: the kills prove nothing");
}
if (only.includes("power")) {
  const recorder = buildRecorder();
  if (recorder === null) {
    violations.push("there is no gcc to build the recorder: the power was not cut");
  } else {
    let done = 0;
    const progress = () => {
      done += 1;
      if (done % 100 === 0) say(`${done} crash images`);
    };
    const full = await losePower({ recorder, synchronous: "FULL", images: trials, random: seededRandom(seed), progress });
    const normal = await losePower({
      recorder,
      synchronous: "NORMAL",
      images: Math.ceil(trials / 10),
      random: seededRandom(seed),
      progress,
    });
    report.power_loss = full;
    report.negative_control = normal;
    if (full.imagesWithLoss > 0) violations.push(`${full.imagesWithLoss} crash images lack what was acknowledged`);
    if (full.damaged > 0) violations.push(`${full.damaged} crash images do not start or do not verify`);
    if (normal.imagesWithLoss === 0) violations.push("the negative control lost nothing: the images prove nothing");
  }
}
process.stdout.write(`${JSON.stringify({ ...report, violations }, null, 2)}\n`);
process.exitCode = violations.length === 0 ? 0 : 1;
