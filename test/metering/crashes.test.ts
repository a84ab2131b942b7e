import { once } from "node:events";
import { renameSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { verifyLog } from "../../src/call/record/verify.ts";
import { sleep } from "../e2e/gateway-process.ts";
import { query } from "../record/journal-fixture.ts";
import { type Desk, openDesk, type Taken, tokens } from "./desk.ts";

let desk: Desk;
beforeAll(async () => {
  desk = await openDesk();
  await desk.agent("bot");
});
afterAll(async () => {
  await desk?.gateway.stop();
});

const written = () => Number((query(desk.journal, "SELECT count(*) AS n FROM reported_event") as [{ n: number }])[0].n);

test("a gateway that is killed in the middle of a batch has some of it; sent again, each event is there once", async () => {
  let expected = 0;
  for (const fraction of [0.1, 0.4, 0.7]) {
    const before = written();
    const items = Array.from({ length: 4_000 }, () => tokens());
    const sending = desk.report(items).catch(() => null);
    while (written() < before + items.length * fraction) await sleep(2);
    const { child } = desk.gateway;
    if (child === null) throw new Error("no gateway runs");
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(await sending).toBeNull();
    await desk.gateway.serve();
    const left = written() - before;
    expect(left).toBeLessThan(items.length);
    const again = (await desk.report(items)).json as never as Taken;
    expect(again).toMatchObject({ accepted: items.length - left, duplicates: left, rejected: [] });
    expected += items.length;
    expect(written()).toBe(expected);
  }
  expect(await verifyLog(desk.journal)).toMatchObject({ ok: true, problems: [] });
});

test("while the journal is away nothing is taken, and that is said; afterwards each event is taken once", async () => {
  const items = [tokens(), tokens()];
  renameSync(desk.journal, `${desk.journal}.away`);
  try {
    // The file is looked at every two seconds.
    await expect.poll(async () => (await desk.report(tokens())).status, { timeout: 20_000 }).toBe(503);
    expect((await desk.report(items)).status).toBe(503);
  } finally {
    renameSync(`${desk.journal}.away`, desk.journal);
  }
  await expect.poll(async () => (await desk.report(items)).status, { timeout: 20_000 }).not.toBe(503);
  expect((await desk.report(items)).json).toMatchObject({ accepted: 0, duplicates: 2 });
});
