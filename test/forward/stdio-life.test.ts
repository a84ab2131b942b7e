import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test, vi } from "vitest";
import { FIXTURE_COMMAND, startUpstream } from "./stdio-client.ts";
import { agentOf, call, NO_CREDENTIAL, send, textOf } from "./stdio-message.ts";

const HOST = fileURLToPath(new URL("./stdio-host.ts", import.meta.url));

/** Gone, or a zombie that nobody has buried yet. */
const ended = (pid: number) => !existsSync(`/proc/${pid}/stat`) || /\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
const allEnd = (pids: readonly number[]) =>
  vi.waitFor(() => expect(pids.filter((pid) => !ended(pid))).toEqual([]), { timeout: 10_000, interval: 50 });
const familyOf = (text: string) => JSON.parse(text) as number[];

test("each principal has a server of its own, and one server serves all where it is shared", async () => {
  const own = startUpstream();
  const shared = startUpstream({ child: "shared" });
  const pid = async ({ upstream }: typeof own, name: string) => textOf(await send(upstream, call("pid"), { agent: agentOf(name) }));
  expect(await pid(own, "alice")).toBe(await pid(own, "alice"));
  expect(await pid(own, "alice")).not.toBe(await pid(own, "bob"));
  expect(await pid(shared, "alice")).toBe(await pid(shared, "bob"));
});

test("beyond maxChildren a call is refused as overloaded, until one has long been idle", async () => {
  let skewMs = 0;
  const { upstream } = startUpstream({ maxChildren: 1, mono: () => performance.now() + skewMs });
  const alice = textOf(await send(upstream, call("pid"), { agent: agentOf("alice") }));
  const { outcome } = await send(upstream, call("pid"), { agent: agentOf("bob") });
  expect(outcome).toMatchObject({ kind: "not_sent", sent: false, refusal: { refused: "overloaded" } });
  skewMs = 61_000;
  expect(textOf(await send(upstream, call("pid"), { agent: agentOf("bob") }))).toMatch(/^[0-9]+$/);
  await allEnd([Number(alice)]);
});

test("a server that ends in the middle of a call leaves its fate unknown, and is started again after a pause that grows", async () => {
  let skewMs = 0;
  const { upstream, warnings } = startUpstream({ mono: () => performance.now() + skewMs });
  const crash = async () => {
    const { outcome } = await send(upstream, call("exit", { code: 7 }));
    expect(outcome).toMatchObject({ kind: "unknown", sent: true, refusal: { refused: "upstream_unreachable" } });
    const down = await send(upstream, call("pid"));
    expect(down.outcome).toMatchObject({ kind: "not_sent", sent: false, refusal: { refused: "upstream_unreachable" } });
    return down.outcome.refusal?.facts.retry_after_ms ?? 0;
  };
  const pauses = [];
  for (let i = 0; i < 3; i++) {
    pauses.push(await crash());
    skewMs += pauses.at(-1) ?? 0;
  }
  expect(pauses.map((ms) => Math.round(ms / 500) * 500)).toEqual([500, 1_000, 2_000]);
  expect(warnings.map(({ facts }) => facts.why)).toContain("it ended (7)");
  expect(textOf(await send(upstream, call("pid")))).toMatch(/^[0-9]+$/);
  // A minute of good life is forgiveness.
  skewMs += 61_000;
  expect(await crash()).toBeLessThanOrEqual(500);
});

test("a server's last word is heard, however large, although it ends at once", async () => {
  const { upstream } = startUpstream();
  expect(textOf(await send(upstream, call("farewell", { bytes: 1_000_000 })))).toHaveLength(1_000_000);
});

test.each([
  ["a program that does not exist", ["/no/such/program"]],
  ["a program that crashes", [...FIXTURE_COMMAND, "--crash"]],
  ["a server of an unknown revision", [...FIXTURE_COMMAND, "--foreign"]],
] as const)("%s is unreachable, for calls and for definitions", async (_, command) => {
  const { upstream } = startUpstream({ command: command as unknown as [string, ...string[]] });
  const { outcome } = await send(upstream, call("pid"));
  expect(outcome).toMatchObject({ kind: "not_sent", sent: false, refusal: { refused: "upstream_unreachable" } });
  expect(await upstream.definition("pid", agentOf("alice"), NO_CREDENTIAL)).toMatchObject({ refused: "upstream_unreachable" });
});

test("a server that does not shake hands costs a call its deadline and no more, and nothing was sent", async () => {
  const { upstream } = startUpstream({ command: [...FIXTURE_COMMAND, "--mute"], timeoutMs: 500 });
  const { outcome } = await send(upstream, call("pid"));
  expect(outcome).toMatchObject({ kind: "not_sent", sent: false, refusal: { refused: "upstream_timeout" } });
});

test("a server that is too slow for a call lives on; one that does not answer a ping is replaced", async () => {
  const { upstream } = startUpstream({ timeoutMs: 3_000 });
  const pid = async () => textOf(await send(upstream, call("pid")));
  const first = await pid();
  expect((await send(upstream, call("hang"))).outcome).toMatchObject({ kind: "timeout" });
  expect(await pid()).toBe(first);
  expect((await send(upstream, call("deaf"))).outcome).toMatchObject({ kind: "timeout" });
  await allEnd([Number(first)]);
}, 30_000);

test("a server sees the configured environment and folder, and nothing of the gateway's own", async () => {
  process.env.TOLLGATE_TEST_SECRET = "s3cret-of-the-gateway";
  onTestFinished(() => void delete process.env.TOLLGATE_TEST_SECRET);
  const { upstream } = startUpstream({ env: { API_KEY: "k-123456", NODE_OPTIONS: "--no-warnings" }, cwd: "/" });
  const seen = JSON.parse(textOf(await send(upstream, call("env")))) as { names: string[]; cwd: string };
  expect(seen.cwd).toBe("/");
  expect(seen.names).toEqual(expect.arrayContaining(["API_KEY", "NODE_OPTIONS", "PATH"]));
  expect(seen.names).not.toContain("TOLLGATE_TEST_SECRET");
});

test("neither the command line nor the environment of the supervisor tells a secret, and the server has no way to its pipe", async () => {
  const { upstream } = startUpstream({ env: { API_KEY: "k-123456" } });
  const [pid, supervisor] = familyOf(textOf(await send(upstream, call("grandchild"))));
  for (const file of ["cmdline", "environ"]) expect(readFileSync(`/proc/${supervisor}/${file}`, "utf8")).not.toContain("k-123456");
  const pipes = (of: number | undefined) => readdirSync(`/proc/${of}/fd`).map((fd) => readlinkSync(`/proc/${of}/fd/${fd}`));
  const liveness = readlinkSync(`/proc/${supervisor}/fd/3`);
  expect(pipes(pid)).not.toContain(liveness);
});

test("what a server writes to stderr is told without the values that it was given", async () => {
  const { upstream, warnings } = startUpstream({ env: { API_KEY: "k-123456" } });
  await send(upstream, call("stderr", { text: "my key is k-123456" }));
  await vi.waitFor(() => expect(warnings.map(({ facts }) => facts.line)).toContain("my key is [redacted]"));
});

test("closing ends a server that listens at once, and one that does not by force, with all that it started", async () => {
  const polite = startUpstream();
  const deaf = startUpstream({ command: [...FIXTURE_COMMAND, "--deaf"] });
  const families = await Promise.all(
    [polite, deaf].map(async ({ upstream }) => familyOf(textOf(await send(upstream, call("grandchild"))))),
  );
  await Promise.all([polite.upstream.close(100), deaf.upstream.close(100)]);
  await allEnd(families.flat());
  expect((await send(polite.upstream, call("pid"))).outcome.refusal?.refused).toBe("overloaded");
});

test("an idle server is stopped, which is no failure: the next call starts it at once", async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  onTestFinished(() => void vi.useRealTimers());
  let skewMs = 0;
  const { upstream, warnings } = startUpstream({ mono: () => performance.now() + skewMs });
  const first = textOf(await send(upstream, call("pid")));
  skewMs = 601_000;
  vi.advanceTimersByTime(30_000);
  await allEnd([Number(first)]);
  expect(textOf(await send(upstream, call("pid")))).not.toBe(first);
  expect(warnings).toEqual([]);
});

test.each(["SIGKILL", "SIGTERM"] as const)("no server and no child of it outlives a gateway that ends by %s", async (signal) => {
  const host = spawn(process.execPath, [HOST], { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void host.kill("SIGKILL"));
  const line = await new Promise<string>((resolve) => host.stdout.once("data", (chunk: Buffer) => resolve(chunk.toString())));
  const family = familyOf(line);
  expect(family).toHaveLength(3);
  expect(family.some(ended)).toBe(false);
  host.kill(signal);
  await allEnd(family);
});

test("no server outlives its supervisor either", async () => {
  const { upstream } = startUpstream({ command: [...FIXTURE_COMMAND, "--deaf"] });
  const [pid = 0, supervisor = 0, grandchild = 0] = familyOf(textOf(await send(upstream, call("grandchild"))));
  process.kill(supervisor, "SIGKILL");
  await allEnd([pid, supervisor, grandchild]);
});
