/** A cursor outlives the start at which it was given: what it names is judged by the configuration and the policies of today. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { type ModernUpstream, startModernUpstream } from "../fixtures/modern-upstream.ts";
import { GatewayProcess, modernRequest } from "./gateway-process.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements: [{ name: all, permit: ["stays/*", "goes/*"] }]
`;

const closing: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

type Listed = { result?: { tools: { name: string }[]; nextCursor?: string }; error?: { code: number } };

/** The first page with what `change` does to the gateway's folder before the second one is asked for. */
async function secondPage(change: (gateway: GatewayProcess, goes: ModernUpstream) => void) {
  const [stays, goes] = await Promise.all([startModernUpstream([["a"], ["b"]]), startModernUpstream([["c"], ["d"]])]);
  closing.push(
    () => stays.close(),
    () => goes.close(),
  );
  const servers = `  stays: { url: "${stays.mcpUrl}" }\n  goes: { url: "${goes.mcpUrl}" }`;
  const more = `views: { both: { tools: ["stays/*", "goes/*"] } }`;
  const gateway = await GatewayProcess.start({ policies: POLICIES, servers, more });
  closing.push(() => gateway.stop());
  const accessToken = await gateway.accessToken(await gateway.createAgent("bot"), "both");
  const list = async (params: Record<string, unknown>): Promise<Listed> =>
    (await (await modernRequest(`${gateway.publicUrl}/mcp/both`, accessToken, "tools/list", params)).json()) as Listed;
  const cursor = (await list({})).result?.nextCursor;
  expect(cursor).toBeDefined();
  expect(await gateway.stop()).toBe(0);
  change(gateway, goes);
  await gateway.serve();
  const asked = () => goes.received.filter(({ body }) => body.includes('"tools/list"')).length;
  const before = asked();
  const page = await list({ cursor });
  return { names: page.result?.tools.map(({ name }) => name), asked: asked() - before };
}

function rewrite(file: string, from: string, to: string): void {
  const text = readFileSync(file, "utf8");
  expect(text).toContain(from);
  writeFileSync(file, text.replace(from, to));
}

test("unchanged, the list goes on after a new start", async () => {
  expect(await secondPage(() => {})).toEqual({ names: ["stays__b", "goes__d"], asked: 1 });
});

test("a server that has left the configuration or the view is passed over", async () => {
  const left = await secondPage((gateway, goes) => {
    rewrite(gateway.configFile, `\n  goes: { url: "${goes.mcpUrl}" }`, "");
    rewrite(gateway.configFile, ', "goes/*"', "");
    rewrite(join(gateway.folder, "policies", "test.yaml"), ', "goes/*"', "");
  });
  expect(left).toEqual({ names: ["stays__b"], asked: 0 });
  expect(await secondPage((gateway) => rewrite(gateway.configFile, ', "goes/*"', ""))).toEqual({ names: ["stays__b"], asked: 0 });
});

test("a server that the policies no longer permit hears nothing", async () => {
  const refused = await secondPage((gateway) => rewrite(join(gateway.folder, "policies", "test.yaml"), ', "goes/*"', ""));
  expect(refused).toEqual({ names: ["stays__b"], asked: 0 });
});
