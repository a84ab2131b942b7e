/** The example of several gateways: its configuration is good, its parts name each other, and the script that runs it counts exactly. */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { load } from "js-yaml";
import { expect, test } from "vitest";
import { loadConfig } from "../../src/config-load.ts";
import { loadPolicies } from "../../src/policy-load.ts";
import { withoutPostgres } from "../fixtures/postgres.ts";
import { withoutRedis } from "../fixtures/redis.ts";

const ROOT = join(import.meta.dirname, "../..");
const EXAMPLE = join(ROOT, "examples/scaling");
const withoutNginx = spawnSync("nginx", ["-v"]).error !== undefined && process.env.REQUIRE_SERVICES !== "1";

type Service = { environment?: Record<string, string>; volumes?: string[]; command?: string[]; depends_on?: Record<string, object> };
const compose = load(readFileSync(join(EXAMPLE, "compose.yaml"), "utf8")) as {
  "x-gateway": Service;
  services: Record<string, Service>;
  volumes: object;
  networks: object;
};

test("the configuration of the example starts, with the variables that compose.yaml sets", () => {
  const folder = mkdtempSync(join(tmpdir(), "tollgate-example-"));
  cpSync(EXAMPLE, folder, { recursive: true });
  mkdirSync(join(folder, "keys"), { mode: 0o700 });
  const file = join(folder, "tollgate.yaml");
  writeFileSync(file, readFileSync(file, "utf8").replace("file:/keys", "file:./keys"));
  const loaded = loadConfig(file, compose["x-gateway"].environment ?? {});
  if (!("config" in loaded)) throw new Error(loaded.problems.map(({ message }) => message).join("\n"));
  const { config } = loaded;
  expect([config.shared.redis?.reveal(), config.shared.postgres?.reveal()]).toEqual([
    "redis://redis:6379",
    "postgres://tollgate@postgres/tollgate",
  ]);
  expect("problems" in loadPolicies(config.policies, config.servers)).toBe(false);
});

test("the parts of compose.yaml name each other, and files that are there", () => {
  const { services } = compose;
  const nginx = readFileSync(join(EXAMPLE, "nginx.conf"), "utf8");
  const config = readFileSync(join(EXAMPLE, "tollgate.yaml"), "utf8");
  for (const name of ["gateway-1", "gateway-2"]) {
    expect(nginx).toContain(`server ${name}:8420;`);
    expect(services.balancer?.depends_on).toHaveProperty(name);
    const mounted = (services[name]?.volumes ?? []).map((volume) => volume.split(":")[0] ?? "");
    for (const source of mounted)
      expect(source.startsWith("./") ? existsSync(join(EXAMPLE, source)) : source in compose.volumes).toBe(true);
    expect(mounted).toContain(`data-${name.slice(-1)}`);
  }
  expect(config).toContain("http://upstream:3001/mcp");
  expect(services.upstream?.environment).toEqual({ PORT: "3001" });
  expect(services.redis?.command?.join(" ")).toContain("--maxmemory-policy noeviction");
  expect(JSON.stringify(compose.networks)).toContain(/trusted: \[(.*?)\]/.exec(config)?.[1]);
  const installed = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { devDependencies: Record<string, string> };
  const server = "@modelcontextprotocol/server-everything";
  expect(services.upstream?.command).toContain(`${server}@${installed.devDependencies[server]}`);
});

test.skipIf(withoutPostgres || withoutRedis || withoutNginx)(
  "npm run scaling -- --exit runs exactly what the budget allows, and leaves nothing running",
  () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ["scripts/scaling.ts", "--exit"], { cwd: ROOT, encoding: "utf8" });
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toContain("30 calls at once through the balancer, with a budget of 20 a day: 20 ran, 10 were refused by the budget");
  },
);
