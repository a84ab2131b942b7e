/** `npm run scaling [-- --exit]`: two gateways, their registry, their ledger and a balancer from the programs of this machine; a line to try. */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { freePorts, GatewayProcess, modernRequest } from "../test/e2e/gateway-process.ts";
import { startPostgres } from "../test/fixtures/postgres.ts";
import { startRedis } from "../test/fixtures/redis.ts";

const { values } = parseArgs({ options: { exit: { type: "boolean" } } });
const ROOT = join(import.meta.dirname, "..");
const EXAMPLE = join(ROOT, "examples/scaling");
/** As its policy says. */
const LIMIT = 20;

const say = (line: string) => void process.stdout.write(`${line}\n`);
const folder = mkdtempSync(join(tmpdir(), "tollgate-scaling-"));
const closing: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];
async function end(code: number): Promise<never> {
  for (const close of closing.splice(0).toReversed()) await close();
  rmSync(folder, { recursive: true, force: true });
  process.exit(code);
}
process.once("SIGINT", () => void end(0));
process.once("SIGTERM", () => void end(0));

/** The example's own configuration, at other addresses. */
function startBalancer(port: number, gateways: readonly string[]): void {
  const home = join(folder, "nginx");
  mkdirSync(join(home, "temp"), { recursive: true });
  const temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${home}/temp/${name};`).join(" ");
  const servers = gateways.map((url) => `server ${new URL(url).host};`).join(" ");
  const text = readFileSync(join(EXAMPLE, "nginx.conf"), "utf8")
    .replace(/server gateway-1:8420;\s*server gateway-2:8420;/, servers)
    .replace("listen 8420;", `listen 127.0.0.1:${port};`)
    .replace("http {", `http { ${temp}`);
  const user = process.getuid?.() === 0 ? "user root;" : "";
  writeFileSync(join(home, "nginx.conf"), `${user} daemon off; pid ${home}/nginx.pid; error_log ${home}/error.log;\n${text}`);
  const nginx = spawn("nginx", ["-p", home, "-c", join(home, "nginx.conf")], { stdio: "ignore" });
  nginx.once("error", () => {
    say("nginx is missing (apt-get install nginx): nothing balances the calls, and the public URL is not served");
    if (values.exit === true) void end(1);
  });
  closing.push(() => nginx.kill("SIGTERM"));
}

try {
  const [postgres, redis] = [await startPostgres(), await startRedis()];
  closing.push(
    () => postgres.close(),
    () => redis.close(),
  );
  const [publicPort = 0] = await freePorts(1);
  mkdirSync(join(folder, "keys"), { mode: 0o700 });
  const env = { REGISTRY_URL: await postgres.database(), SHARED_REDIS_URL: redis.url };
  const gateways: GatewayProcess[] = [];
  for (const id of ["gw-1", "gw-2"]) {
    const gateway = await GatewayProcess.prepare({
      policies: readFileSync(join(EXAMPLE, "policies/scaling.yaml"), "utf8"),
      servers: `  everything: { command: ["${join(ROOT, "node_modules/.bin/mcp-server-everything")}", stdio] }`,
      more: `gatewayId: ${id}\nkeys: file:${join(folder, "keys")}\nshared: { postgres: env:REGISTRY_URL, redis: env:SHARED_REDIS_URL }`,
      ...{ env, publicPort },
    });
    closing.push(() => rmSync(gateway.folder, { recursive: true, force: true }));
    closing.push(() => gateway.stop());
    await gateway.serve();
    gateways.push(gateway);
    say(`${id} serves at ${gateway.listenUrl}, its configuration is ${gateway.configFile}`);
  }
  const [first] = gateways;
  if (first === undefined) throw new Error("no gateway");
  startBalancer(
    publicPort,
    gateways.map(({ listenUrl }) => listenUrl),
  );
  for (let tries = 0; (await fetch(`${first.publicUrl}/problems/budget_exhausted`).catch(() => null)) === null; tries++) {
    if (tries > 200) throw new Error("the balancer does not answer");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const agent = await first.createAgent("trial-bot", "trial");
  // The other gateway, to which the balancer may send this, hears of a new agent within a second.
  const accessToken = await soon(() => first.accessToken(agent, "everything"));
  const call = async (name = "echo", origin = first.publicUrl): Promise<string> => {
    const asked = { name, arguments: { message: "hello" } };
    const answer = await modernRequest(`${origin}/mcp/everything`, accessToken, "tools/call", asked);
    const body = (await answer.json()) as { error?: { data?: { reason?: string } }; reason?: string };
    return body.error?.data?.reason ?? body.reason ?? "ran";
  };
  // The other one hears of a new agent within a second; what no server has runs nothing.
  for (const { listenUrl } of gateways)
    while ((await call("no_such_tool", listenUrl)) !== "tool_unknown") await new Promise((resolve) => setTimeout(resolve, 50));
  const answers = await Promise.all(Array.from({ length: LIMIT + 10 }, () => call()));
  const ran = answers.filter((answer) => answer === "ran").length;
  const refused = answers.filter((answer) => answer === "budget_exhausted").length;
  say(
    `${answers.length} calls at once through the balancer, with a budget of ${LIMIT} a day: ${ran} ran, ${refused} were refused by the budget`,
  );
  if (values.exit === true) await end(ran === LIMIT && refused === answers.length - LIMIT ? 0 : 1);
  say("");
  say("A call from another shell, for ten minutes (budget_exhausted, unless you raise the limit in both policies folders):");
  say(`  curl -s ${first.publicUrl}/mcp/everything -H 'Authorization: Bearer ${accessToken}' -H 'Content-Type: application/json' \\`);
  say("    -H 'Accept: application/json, text/event-stream' -H 'MCP-Protocol-Version: 2025-11-25' \\");
  say(`    -d '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hello"}}}'`);
  say(
    `  REGISTRY_URL=${env.REGISTRY_URL} SHARED_REDIS_URL=${env.SHARED_REDIS_URL} npm run --silent tollgate -- budget shared status -c ${first.configFile}`,
  );
  say("Ctrl-C ends all of it.");
} catch (fault) {
  process.stderr.write(`${fault instanceof Error ? fault.message : String(fault)}\n`);
  await end(1);
}

async function soon<T>(ask: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await ask();
    } catch (thrown) {
      if (tries >= 100) throw thrown;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
