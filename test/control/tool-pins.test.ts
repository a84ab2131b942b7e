/** Pins over one registry: first come, first pinned; all that differs waits; every gateway hears of it; and what cannot be written is not shown. */
import { expect, test } from "vitest";
import type { Reading } from "../../src/call/forward/catalogue.ts";
import { definitionOf } from "../../src/call/forward/definition.ts";
import { approvalOfTools } from "../../src/control/tools/approve.ts";
import { openToolPins, type ToolPins } from "../../src/control/tools/tool-pins.ts";
import { toolRows } from "../../src/control/tools/tool-rows.ts";
import type { PinMode } from "../../src/control/tools/write-reading.ts";
import { type Opened, onBoth } from "./registries.ts";

function reading(tools: Readonly<Record<string, string>>): Reading {
  const definitions = Object.entries(tools).map(([name, description]) => definitionOf({ name, description }));
  return { version: "1", definitions: definitions.filter((each) => each !== null) };
}
const sha256 = (name: string, description: string) => definitionOf({ name, description })?.sha256 ?? "";

type Gateway = Opened & { readonly pins: ToolPins; readonly faults: unknown[]; readonly told: string[] };

async function gatewayOf(opened: Opened, { mode = "firstUse" as PinMode, observe = false } = {}): Promise<Gateway> {
  const faults: unknown[] = [];
  const told: string[] = [];
  // The kinds of a registry's own acts are fewer.
  const audit = async (kind: string, by: string, details: Readonly<Record<string, string | number | null>>) => {
    opened.acts.push({ kind, by, details });
  };
  const pins = await openToolPins({
    ...{ store: opened.store, registry: opened.registry, audit, observe, now: Date.now },
    modeOf: () => mode,
    onWaiting: ({ tool }) => told.push(tool),
    fault: (thrown) => faults.push(thrown),
  });
  return { ...opened, pins, faults, told };
}

const approving = ({ store, registry, acts }: Opened) =>
  approvalOfTools({ store, registry, now: Date.now, audit: async (kind, by, details) => void acts.push({ kind, by, details }) });

onBoth("pins", (open, kind) => {
  test("the first reading counts; what differs from it is changed, what is not in it is new", async () => {
    const { pins, acts, told } = await gatewayOf(await open());
    expect([pins.isKnown("up"), pins.verdict("up", "a", sha256("a", "1"))]).toEqual([false, "new"]);
    expect(await pins.heard("up", reading({ a: "1", b: "1" }))).toBeNull();
    expect([pins.isKnown("up"), pins.verdict("up", "a", sha256("a", "1")), pins.waiting()]).toEqual([true, "pinned", 0]);
    await pins.heard("up", reading({ a: "2", b: "1", c: "1" }));
    const verdicts = [
      pins.verdict("up", "a", sha256("a", "2")),
      pins.verdict("up", "a", sha256("a", "1")),
      pins.verdict("up", "c", sha256("c", "1")),
    ];
    expect([verdicts, pins.waiting(), told.toSorted()]).toEqual([["changed", "pinned", "new"], 2, ["a", "c"]]);
    expect(acts.map(({ kind }) => kind)).toEqual(["tool.pinned", "tool.changed", "tool.changed"]);
    // The same again is no news.
    await pins.heard("up", reading({ a: "2", b: "1", c: "1" }));
    expect(acts).toHaveLength(3);
  });

  test("two readings at once pin once, and both know it", async () => {
    const first = await gatewayOf(await open());
    // A SQLite file belongs to one gateway: there it is two agents at once.
    const second = await gatewayOf(kind === "sqlite" ? { ...first, acts: [] } : await open(first));
    await Promise.all([first.pins.heard("up", reading({ a: "1" })), second.pins.heard("up", reading({ a: "2" }))]);
    await Promise.all([first.registry.catchUp(), second.registry.catchUp()]);
    const kinds = [...first.acts, ...second.acts].map(({ kind }) => kind).toSorted();
    expect(kinds).toEqual(["tool.changed", "tool.pinned"]);
    const verdicts = ["1", "2"].map((text) => [first, second].map(({ pins }) => pins.verdict("up", "a", sha256("a", text))));
    expect(verdicts.flat().toSorted()).toEqual(["changed", "changed", "pinned", "pinned"]);
    for (const [one, other] of verdicts) expect(one).toBe(other);
  });

  test("another gateway hears of pins, of a change and of the approval", async () => {
    const first = await gatewayOf(await open());
    const second = await gatewayOf(await open(first));
    await first.pins.heard("up", reading({ a: "1" }));
    await second.registry.catchUp();
    expect(second.pins.verdict("up", "a", sha256("a", "1"))).toBe("pinned");
    await first.pins.heard("up", reading({ a: "2" }));
    await second.registry.catchUp();
    expect(second.pins.waiting()).toBe(1);
    expect(await approving(first)("up", [{ tool: "a", sha256: sha256("a", "2") }], "kim", "read it")).toBeNull();
    await second.registry.catchUp();
    expect([
      second.pins.verdict("up", "a", sha256("a", "2")),
      second.pins.verdict("up", "a", sha256("a", "1")),
      second.pins.waiting(),
    ]).toEqual(["pinned", "changed", 0]);
    expect(first.acts.at(-1)).toMatchObject({
      kind: "tool.approved",
      by: "kim",
      details: { tool: "a", reason: "read it", was: `sha256:${sha256("a", "1")}` },
    });
    const third = await gatewayOf(await open(first));
    expect(third.pins.verdict("up", "a", sha256("a", "2"))).toBe("pinned");
  });

  test("what is approved is what was shown, all of it or none; what has been approved before is so", async () => {
    const gateway = await gatewayOf(await open(), { mode: "strict" });
    const { pins, acts } = gateway;
    await pins.heard("up", reading({ a: "1", b: "1" }));
    expect([pins.verdict("up", "a", sha256("a", "1")), pins.waiting()]).toEqual(["new", 2]);
    const approve = approving(gateway);
    const both = (second: string) => [
      { tool: "a", sha256: sha256("a", "1") },
      { tool: "b", sha256: second },
    ];
    expect(await approve("up", both(sha256("b", "2")), "kim", null)).toMatchObject({ fault: "conflict" });
    expect(pins.verdict("up", "a", sha256("a", "1"))).toBe("new");
    expect(await approve("up", both(sha256("b", "1")), "kim", null)).toBeNull();
    expect(pins.verdict("up", "a", sha256("a", "1"))).toBe("pinned");
    const before = acts.length;
    expect(await approve("up", both(sha256("b", "1")), "kim", null)).toBeNull();
    expect(acts).toHaveLength(before);
    expect(await approve("up", [{ tool: "c", sha256: sha256("c", "1") }], "kim", null)).toMatchObject({ fault: "absent" });
  });

  test("a first pin that cannot be recorded refuses; a change that cannot be is hidden all the same", async () => {
    const opened = await open();
    const faults: unknown[] = [];
    let away = true;
    const pins = await openToolPins({
      ...{ store: opened.store, registry: opened.registry, observe: false, now: Date.now },
      modeOf: () => "firstUse",
      audit: () => (away ? Promise.reject(new Error("away")) : Promise.resolve()),
      onWaiting: () => {},
      fault: (thrown) => faults.push(thrown),
    });
    expect(await pins.heard("up", reading({ a: "1" }))).toMatchObject({ refused: "store_unavailable" });
    expect([pins.isKnown("up"), pins.verdict("up", "a", sha256("a", "1")), faults.length]).toEqual([false, "new", 1]);
    away = false;
    expect(await pins.heard("up", reading({ a: "1" }))).toBeNull();
    away = true;
    expect(await pins.heard("up", reading({ a: "2" }))).toBeNull();
    expect([pins.verdict("up", "a", sha256("a", "2")), pins.waiting()]).toEqual(["changed", 0]);
    away = false;
    await pins.heard("up", reading({ a: "2" }));
    expect(pins.waiting()).toBe(1);
  });

  test("a part of a list is never the first word, and what passes by is written down once", async () => {
    const { pins, acts, told } = await gatewayOf(await open());
    const [passing] = reading({ a: "1" }).definitions;
    if (passing === undefined) throw new Error("no definition");
    pins.noticed("up", passing);
    await pins.settled();
    expect([pins.isKnown("up"), acts]).toEqual([false, []]);
    await pins.heard("up", reading({ a: "0" }));
    for (let i = 0; i < 10; i++) pins.noticed("up", passing);
    await pins.settled();
    expect([pins.waiting(), told, acts.map(({ kind }) => kind)]).toEqual([1, ["a"], ["tool.pinned", "tool.changed"]]);
  });

  test("a thousand tools that nobody approved are kept of one server, and no more; the rest is hidden as they are", async () => {
    const { pins, store } = await gatewayOf(await open());
    await pins.heard("up", reading({ a: "1" }));
    const many = Object.fromEntries(Array.from({ length: 1_200 }, (_, i) => [`t${i}`, "x"]));
    await pins.heard("up", reading({ a: "1", ...many }));
    expect([pins.waiting(), pins.verdict("up", "t1100", sha256("t1100", "x"))]).toEqual([1_000, "new"]);
    const rows = toolRows(store);
    const page = await rows.list({ server: "up", waiting: true, after: null, limit: 600 });
    const last = page.at(-1);
    const rest = await rows.list({ server: null, waiting: true, after: `${last?.server}/${last?.tool}`, limit: 600 });
    expect(new Set([...page, ...rest].map(({ tool }) => tool)).size).toBe(1_000);
  });
});

test("observed, a pin that cannot be written refuses nothing", async () => {
  const pins = await openToolPins({
    store: { write: () => Promise.reject(new Error("away")) } as never,
    registry: { follow: async () => {}, catchUp: async () => {} },
    ...{ observe: true, now: Date.now, modeOf: () => "firstUse" as const, audit: async () => {}, onWaiting: () => {}, fault: () => {} },
  });
  expect(await pins.heard("up", reading({ a: "1" }))).toBeNull();
});
