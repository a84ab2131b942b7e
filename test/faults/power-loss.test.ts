import { expect, test } from "vitest";
import { seededRandom } from "../fixtures/seeded-random.ts";
import { buildRecorder, losePower } from "./power-loss.ts";

const recorder = buildRecorder();
const cut = (synchronous: "FULL" | "NORMAL", images: number) =>
  losePower({ recorder: recorder ?? "", synchronous, images, random: seededRandom(11), workloads: 3 });

// `npm run prove:journal` does it at length.
test.skipIf(recorder === null)(
  "a power loss at any moment takes nothing that was acknowledged (needs gcc)",
  async () => {
    const report = await cut("FULL", 20);
    expect(report).toMatchObject({ imagesWithLoss: 0, damaged: 0 });
    expect(report.acknowledged).toBeGreaterThan(0);
  },
  120_000,
);

test.skipIf(recorder === null)(
  "the same images show the losses of a journal that does not wait for the disk (needs gcc)",
  async () => {
    expect((await cut("NORMAL", 10)).imagesWithLoss).toBeGreaterThan(0);
  },
  120_000,
);
