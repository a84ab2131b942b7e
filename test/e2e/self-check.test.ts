import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { expect, test } from "vitest";
import { GatewayProcess, legacyRequest, sleep } from "./gateway-process.ts";

const POLICIES = "apiVersion: tollgate/v1\nentitlements: [{ name: all, permit: [up/*] }]\n";

async function verified(gateway: GatewayProcess): Promise<string | undefined> {
  const text = await (await fetch(`${gateway.probesUrl}/metrics`)).text();
  return /^tollgate_journal_verified (\d)$/m.exec(text)?.[1];
}

async function until(gateway: GatewayProcess, value: string): Promise<void> {
  for (let i = 0; i < 400 && (await verified(gateway)) !== value; i++) await sleep(50);
  expect(await verified(gateway)).toBe(value);
}

test("a record that was changed long ago is found behind the start: the gateway says so and is no longer ready", async () => {
  const gateway = await GatewayProcess.start({ policies: POLICIES, servers: '  up: { url: "http://127.0.0.1:9/mcp" }' });
  const many = Array.from({ length: 530 }, (_, i) => legacyRequest(`${gateway.publicUrl}/mcp/up`, null, "ping", {}, i));
  for (const answer of await Promise.all(many)) expect(answer.status).toBe(401);
  await until(gateway, "1");
  expect(await gateway.stop()).toBe(0);

  // By somebody who can write to the file: one byte of an old record, past SQLite.
  const file = join(gateway.folder, "data", "journal.db");
  const raw = new Database(file, { readonly: true });
  const body = String(raw.prepare("SELECT body FROM audit_record WHERE sequence = 20").pluck().get());
  raw.close();
  const at = readFileSync(file).indexOf(body);
  expect(at).toBeGreaterThan(0);
  const handle = openSync(file, "r+");
  writeSync(handle, Buffer.from("refusE"), 0, 6, at + body.indexOf("refuse"));
  closeSync(handle);

  await gateway.serve();
  await until(gateway, "2");
  const ready = await fetch(`${gateway.probesUrl}/readyz`);
  expect([ready.status, await ready.json()]).toMatchObject([503, { checks: { journal: false } }]);
  expect(gateway.output).toContain("the journal is damaged");
  await gateway.signal("SIGKILL");
});
