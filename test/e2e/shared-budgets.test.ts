/** Two gateways count on the same budgets, over HTTP and with the command line: exactly, whatever dies. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { withoutPostgres } from "../fixtures/postgres.ts";
import { type RedisServer, startRedis, withoutRedis } from "../fixtures/redis.ts";
import { type GatewayProcess, modernRequest } from "./gateway-process.ts";
import { administer, type SharedRegistry, startSharedRegistry } from "./shared-registry.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: all, permit: ["*/*"] }
budgets:
  - { name: hundred, who: { team: crowd }, meter: calls, limit: 100, period: total }
  - { name: forty, who: { team: killed }, meter: calls, limit: 40, period: total }
  - { name: sixty, who: { team: emptied }, meter: calls, limit: 60, period: total }
  - { name: counted, who: { team: free }, meter: calls, limit: 10, period: total, hard: false }
  - { name: told, who: { team: told }, meter: calls, limit: 3, period: total, notify: [50%, 100%] }
  - { name: late, who: { team: late }, meter: calls, limit: 4, period: total, notify: [50%, 75%, 100%] }
`;

type Answer = { error?: { data: { reason: string } }; reason?: string };
type BudgetRow = { name: string; committed: number; held: number; remaining: number };
type Notice = { kind: string; details: { budget: string; percent?: number } | null };
type Status = { open: boolean; gateways: string[]; waiting_for: string[] };
type Call = (gateway: GatewayProcess, nonce: string, tool?: string, args?: object) => Promise<string>;

describe.skipIf(withoutPostgres || withoutRedis)("two gateways of one shared ledger", () => {
  let redis: RedisServer;
  let upstream: Upstream;
  let stage: SharedRegistry;
  let first: GatewayProcess;
  let second: GatewayProcess;

  beforeAll(async () => {
    [redis, upstream] = await Promise.all([
      startRedis(),
      startHttpUpstream({ executionFile: join(mkdtempSync(join(tmpdir(), "tollgate-ran-")), "log") }),
    ]);
    const setup = { policies: POLICIES, servers: `  up: { url: "${upstream.mcpUrl}", timeout: 20s }` };
    stage = await startSharedRegistry(setup, `, redis: "${redis.url}", lapse: 90s`);
    ({ first, second } = stage);
    await Promise.all([first, second].map(isOpen));
  }, 120_000);

  afterAll(async () => {
    await stage?.close();
    await Promise.all([redis?.close(), upstream?.close()]);
  });

  const status = async (gateway: GatewayProcess): Promise<Status> => {
    return (await (await administer(gateway, "GET", "/budgets/shared")).json()) as Status;
  };
  const epoch = async (gateway: GatewayProcess) =>
    ((await (await administer(gateway, "GET", "/budgets/shared")).json()) as { epoch: number }).epoch;
  const isOpen = (gateway: GatewayProcess) =>
    vi.waitFor(async () => expect((await status(gateway)).open).toBe(true), { timeout: 30_000, interval: 100 });

  const caller = async (team: string): Promise<Call> => {
    const agent = await first.createAgent(`${team}-bot`, team);
    const accessToken = await first.accessToken(agent, "up");
    const call: Call = async (gateway, nonce, tool = "echo", args = { text: "x" }) => {
      const asked = { name: tool, arguments: { ...args, nonce } };
      const answer = await modernRequest(`${gateway.listenUrl}/mcp/up`, accessToken, "tools/call", asked);
      const body = (await answer.json()) as Answer;
      return body.error?.data.reason ?? body.reason ?? "ran";
    };
    // The second gateway hears of a new agent within a second, and is asked for something that runs nothing.
    await expect.poll(() => call(second, "none", "no_such_tool"), { timeout: 20_000 }).toBe("tool_unknown");
    return call;
  };
  const ran = (prefix: string) => upstream.executions.filter(({ id }) => id?.startsWith(prefix)).length;
  const budget = async (gateway: GatewayProcess, name: string): Promise<BudgetRow | undefined> =>
    ((await (await administer(gateway, "GET", "/budgets")).json()) as { items: BudgetRow[] }).items.find((row) => row.name === name);

  const toldOf = async (name: string) => {
    const all = [];
    for (const gateway of [first, second]) {
      const records = await gateway.json<Notice[]>("audit", "tail", "--limit", "100", "--kind", "budget.*");
      all.push(
        ...records
          .filter(({ kind, details }) => kind !== "budget.adjusted" && details?.budget === name)
          .map(({ kind, details }) => `${kind} ${details?.percent ?? ""}`),
      );
    }
    return all.toSorted();
  };

  test("that half is used, that all is, and the first refusal are told once: by one gateway, also after Redis has lost its memory", async () => {
    const call = await caller("told");
    const ONCE = ["budget.exhausted ", "budget.threshold 100", "budget.threshold 50"];
    for (const [i, gateway] of [first, second, first].entries()) expect(await call(gateway, `t${i}`)).toBe("ran");
    for (const gateway of [first, second]) expect(await call(gateway, "t-more")).toBe("budget_exhausted");
    await expect.poll(() => toldOf("told")).toEqual(ONCE);
    const before = await epoch(first);
    await redis.command("FLUSHALL");
    await expect.poll(async () => Math.min(await epoch(first), await epoch(second)), { timeout: 30_000 }).toBeGreaterThan(before);
    await Promise.all([first, second].map(isOpen));
    for (const gateway of [second, first]) expect(await call(gateway, "t-again")).toBe("budget_exhausted");
    await administer(second, "POST", "/budgets/told/debit", { amount: 1, reason: "told again?" });
    await expect.poll(async () => (await budget(first, "told"))?.remaining).toBe(0);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect(await toldOf("told")).toEqual(ONCE);
  });

  test("what is reached while Redis stands still, or by what a crash leaves, is told although nothing more is posted", async () => {
    const call = await caller("late");
    expect(await call(first, "l0")).toBe("ran");
    const slow = call(first, "l1", "slow", { ms: 1_000 });
    await expect.poll(() => ran("l1")).toBe(1);
    redis.signal("SIGSTOP");
    expect(await slow).toBe("ran");
    // Redis does what it was asked, and its answer comes too late.
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    redis.signal("SIGCONT");
    await expect.poll(() => toldOf("late")).toEqual(["budget.threshold 50"]);
    await Promise.all([first, second].map(isOpen));
    expect(await call(second, "l2")).toBe("ran");
    const last = call(first, "l3", "slow", { ms: 20_000 }).catch(() => "gone");
    await expect.poll(() => ran("l3")).toBe(1);
    await first.signal("SIGKILL");
    await last;
    await first.serve();
    await isOpen(first);
    await expect.poll(() => toldOf("late")).toEqual(["budget.threshold 100", "budget.threshold 50", "budget.threshold 75"]);
  });

  test("of 200 calls at once over both against a limit of 100, exactly 100 run and 100 are refused", async () => {
    const call = await caller("crowd");
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => call(i % 2 === 0 ? first : second, `n${i}`)));
    expect(answers.filter((answer) => answer === "ran")).toHaveLength(100);
    expect(answers.filter((answer) => answer === "budget_exhausted")).toHaveLength(100);
    expect(ran("n")).toBe(100);
    for (const gateway of [first, second])
      expect(await budget(gateway, "hundred")).toMatchObject({ committed: 100, held: 0, remaining: 0 });
  });

  test("one that is killed with calls under way has charged each of them once when it is back, and nothing stays held", async () => {
    const call = await caller("killed");
    for (let i = 0; i < 5; i++) expect(await call(second, `k${i}`)).toBe("ran");
    const open = Array.from({ length: 7 }, (_, i) => call(second, `k-open${i}`, "slow", { ms: 60_000 }).catch(() => "gone"));
    await expect.poll(() => ran("k-open"), { timeout: 20_000 }).toBe(7);
    await second.signal("SIGKILL");
    expect(await Promise.all(open)).toEqual(Array.from({ length: 7 }, () => "gone"));
    expect(await budget(first, "forty")).toMatchObject({ committed: 5, held: 7 });
    await second.serve();
    await isOpen(second);
    expect(await budget(first, "forty")).toMatchObject({ committed: 12, held: 0, remaining: 28 });
    const answers = await Promise.all(Array.from({ length: 60 }, (_, i) => call(i % 2 === 0 ? first : second, `k-more${i}`)));
    expect(answers.filter((answer) => answer === "ran")).toHaveLength(28);
    expect(ran("k")).toBe(40);
  });

  test("without Redis hard budgets refuse and say when to come again, soft ones go on; what comes back empty is filled first", async () => {
    const [call, free] = [await caller("emptied"), await caller("free")];
    const twenty = Array.from({ length: 20 }, (_, i) => i);
    await Promise.all(twenty.map((i) => call(i % 2 === 0 ? first : second, `e${i}`)));
    await redis.kill();
    await expect.poll(() => call(first, "e-away"), { timeout: 20_000 }).toBe("store_unavailable");
    expect(await free(first, "f1")).toBe("ran");
    const problem = async (asked: Promise<Response>) => {
      const answer = await asked;
      return { status: answer.status, detail: ((await answer.json()) as { detail?: string }).detail };
    };
    const correction = { amount: 1, reason: "a dispute" };
    for (const change of ["credit", "debit"]) {
      expect(await problem(administer(first, "POST", `/budgets/counted/${change}`, correction))).toEqual({
        status: 503,
        detail: expect.stringMatching(/^the shared ledger is away, so nothing was changed: tollgate budget shared status/),
      });
    }
    expect(await problem(administer(first, "GET", "/budgets"))).toEqual({
      status: 503,
      detail: expect.stringMatching(/^the shared ledger is away.*: tollgate budget shared status/),
    });
    const ready = await fetch(`${first.probesUrl}/readyz`);
    expect([ready.status, await ready.text()]).toEqual([200, expect.stringContaining("shared_ledger")]);
    expect(await (await fetch(`${first.probesUrl}/metrics`)).text()).toContain("tollgate_shared_ledger_connected 0");
    await redis.start();
    await Promise.all([first, second].map(isOpen));
    const answers = await Promise.all(Array.from({ length: 80 }, (_, i) => call(i % 2 === 0 ? first : second, `e-more${i}`)));
    expect(answers.filter((answer) => answer === "ran")).toHaveLength(40);
    expect(ran("e")).toBe(60);
    expect(await budget(second, "counted")).toMatchObject({ committed: 1 });
  });

  test("it waits for a gateway that is stopped, until an operator says otherwise; that is recorded", async () => {
    const signs = async () => (await first.command("budget", "shared", "status")).stdout;
    expect(await signs()).toMatch(/gw-1 +counts +20.*Z[\s\S]*gw-2 +counts +20.*Z/);
    await second.stop();
    expect(await signs()).toMatch(/gw-2 +has stopped +20.*Z/);
    await redis.kill();
    await redis.start();
    await expect.poll(() => status(first), { timeout: 30_000 }).toMatchObject({ open: false, waiting_for: ["gw-2"] });
    expect((await first.command("budget", "shared", "status")).code).toBe(1);
    const forced = await first.json<{ without: string[] }>("budget", "shared", "force", "--reason", "gw-2 is being moved");
    expect(forced).toEqual({ without: ["gw-2"], was_open: false });
    await isOpen(first);
    expect((await first.command("budget", "shared", "force", "--reason", "once more")).stdout).toContain("it is open");
    await second.serve();
    await isOpen(second);
    expect(await budget(first, "hundred")).toMatchObject({ committed: 100, held: 0 });
    expect((await first.command("budget", "shared", "forget", "gw-2", "--reason", "too soon")).stderr).toContain("signs of life");
    expect((await administer(first, "POST", "/budgets/shared/forget", { gateway: "gw-9", reason: "no such" })).status).toBe(404);
    const records = await first.json<{ kind: string; details: object | null }[]>("audit", "tail");
    expect(records.filter(({ kind }) => kind === "shared_ledger.forced")).toMatchObject([
      { details: { reason: "gw-2 is being moved", without: "gw-2" } },
    ]);
  });
});
