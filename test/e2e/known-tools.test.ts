/** Policies against the tools that a registry knows, where a gateway runs: warnings there, errors at `check`, from SQLite and PostgreSQL. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openControlStore } from "../../src/control/store.ts";
import { startHttpUpstream } from "../fixtures/http-upstream.ts";
import { startPostgres, withoutPostgres } from "../fixtures/postgres.ts";
import { GatewayProcess, sleep } from "./gateway-process.ts";

const rules = (when: string) => `apiVersion: tollgate/v1\nentitlements:\n  - { name: a, permit: [up/echo], when: "${when}" }\n`;
const ECHO = { name: "echo", inputSchema: { type: "object", required: ["text"], properties: { text: { type: "string" } } } };
const SLIP = "entitlements[0].when: up/echo has no argument texd; did you mean text?";

async function pin(dataDir: string, postgres: string | null = null): Promise<void> {
  const store = await openControlStore(dataDir, postgres);
  await store.db
    .insertInto("tool_pin")
    .values({ server: "up", tool: "echo", sha256: "0", definition: JSON.stringify(ECHO) } as never)
    .execute();
  await store.close();
}

test("a gateway starts and reloads with a condition that its tools' schemas do not fit, and warns; check refuses it", async () => {
  const upstream = await startHttpUpstream({});
  const gateway = await GatewayProcess.prepare({ policies: rules("args.texd == 'x'"), servers: `  up: { url: "${upstream.mcpUrl}" }` });
  await pin(join(gateway.folder, "data"));
  try {
    await gateway.serve();
    expect(gateway.output).toContain(SLIP);
    expect(await gateway.command("check")).toMatchObject({ code: 78, stderr: expect.stringContaining(`test.yaml:3:47: ${SLIP}`) });
    writeFileSync(join(gateway.folder, "policies", "test.yaml"), rules("args.text > 5"));
    for (let i = 0; i < 200 && !gateway.output.includes("the policies have changed"); i++) await sleep(50);
    expect(gateway.output).toContain("up/echo: text is a text and cannot be compared by > with a number");
  } finally {
    await gateway.stop();
    await upstream.close();
  }
});

describe.skipIf(withoutPostgres)("a registry in PostgreSQL", () => {
  test("is asked by check, and left as it is; where it does not answer that is a warning", async () => {
    const postgres = await startPostgres();
    try {
      const [used, empty] = [await postgres.database(), await postgres.database()];
      const at = (url: string) =>
        GatewayProcess.prepare({
          policies: rules("args.texd == 'x'"),
          servers: `  up: { url: "http://127.0.0.1:9/mcp" }`,
          more: "shared: { postgres: env:REGISTRY }",
          env: { REGISTRY: url },
        });
      const gateway = await at(used);
      await pin(join(gateway.folder, "data"), used);
      expect(await gateway.command("check")).toMatchObject({ code: 78, stderr: expect.stringContaining(SLIP) });
      const unused = await at(empty);
      expect(await unused.command("check")).toMatchObject({
        code: 0,
        stderr: expect.stringContaining("the tools of up are not known yet"),
      });
      expect(await unused.command("check")).toMatchObject({ code: 0 });
      const away = await at("postgres://127.0.0.1:9/none");
      expect(await away.command("check")).toMatchObject({
        code: 0,
        stderr: expect.stringContaining("warning: the registry could not be asked for tools and agents: the registry's database is away"),
      });
    } finally {
      await postgres.close();
    }
  });
});
