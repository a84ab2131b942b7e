import { expect, test } from "vitest";
import { sharingGateways } from "../../src/control/sharing-gateways.ts";
import { onBoth } from "./registries.ts";

onBoth("gateways that share a ledger", (openAt) => {
  test("each is written down once, with the last epoch that it was told to", async () => {
    const gateways = sharingGateways((await openAt()).store, Date.now);
    expect(await gateways.all()).toMatchObject({ gateways: [], epoch: 0 });
    for (const id of ["gw-2", "gw-1", "gw-2"]) await gateways.register(id);
    await gateways.told("gw-1", 3);
    await gateways.register("gw-1");
    expect(await gateways.all()).toMatchObject({ gateways: ["gw-1", "gw-2"], epoch: 3 });
  });

  test("what time it is says the registry that all share, and no gateway's clock", async () => {
    const { store } = await openAt();
    const { nowMs } = await sharingGateways(store, () => 0).all();
    if (store.shared) expect(Math.abs(nowMs - Date.now())).toBeLessThan(600_000);
    else expect(nowMs).toBe(0);
  });

  test("one that was forgotten and is alive after all is there again when it tells its share", async () => {
    const gateways = sharingGateways((await openAt()).store, Date.now);
    await gateways.register("gw-1");
    expect([await gateways.remove("gw-1"), await gateways.remove("gw-1")]).toEqual([true, false]);
    expect((await gateways.all()).gateways).toEqual([]);
    await gateways.told("gw-1", 2);
    expect(await gateways.all()).toMatchObject({ gateways: ["gw-1"], epoch: 2 });
  });
});
