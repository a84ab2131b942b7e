import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { person } from "../e2e/approver.ts";
import { type Credentials, GatewayProcess, modernRequest, sleep } from "../e2e/gateway-process.ts";
import { startHttpUpstream, type Upstream } from "../fixtures/http-upstream.ts";
import { tollgate } from "./terminal.ts";

const POLICIES = `apiVersion: tollgate/v1
entitlements:
  - { name: asks, who: { team: support }, permit: ["up/echo"], approval: { by: [role:approver] } }
`;

let upstream: Upstream;
let gateway: GatewayProcess;
let agent: Credentials;
let annsKey: string;

beforeAll(async () => {
  upstream = await startHttpUpstream();
  gateway = await GatewayProcess.start({ policies: POLICIES, servers: `  up: { url: "${upstream.mcpUrl}" }` });
  agent = await gateway.createAgent("bot");
  annsKey = (await person(gateway, "ann", "approver")).key;
});
afterAll(async () => {
  expect(await gateway?.stop()).toBe(0);
  await upstream?.close();
});

const asAnn = (...args: string[]) => tollgate([...args, "-c", gateway.configFile], { TOLLGATE_ADMIN_KEY: annsKey });
const asRoot = (...args: string[]) => tollgate([...args, "-c", gateway.configFile]);
const policies = () => join(gateway.folder, "policies");

async function call(tool: string, args: object): Promise<string> {
  const accessToken = await gateway.accessToken(agent, "up");
  return await (await modernRequest(`${gateway.publicUrl}/mcp/up`, accessToken, "tools/call", { name: tool, arguments: args })).text();
}

async function wish(tool: string, duration?: string): Promise<string> {
  const answer = await fetch(`${gateway.publicUrl}/v1/me/access-requests`, {
    method: "POST",
    headers: { authorization: `Bearer ${await gateway.accessToken(agent, "")}`, "content-type": "application/json" },
    body: JSON.stringify({ tool, reason: "the monthly report", duration }),
  });
  return ((await answer.json()) as { id: string }).id;
}

test("what waits is listed with what is asked, and with a link for whom may decide it; decided with a reason, the call goes through", async () => {
  const asked = await call("echo", { text: "\u001b[31mred" });
  const id = /apr_[0-9a-z]{26}/.exec(asked)?.[0] ?? "none";
  const { out } = await asAnn("approval", "list");
  expect(out).toContain(
    `${id}  pending  up/echo\n  agent      bot, owner owner@example.com: testing\n  arguments  {"text":"\\u001b[31mred"}`,
  );
  expect(out).toMatch(/ {2}rule {7}asks \(policies\/test\.yaml:3\), decided by role:approver\n/);
  expect(out).toContain(`  link       ${gateway.adminUrl}/api/v1/approvals/decide/`);
  expect((await asRoot("approval", "list")).out).not.toContain("link");
  expect(await asRoot("approval", "approve", id, "--reason", "x")).toMatchObject({
    code: 1,
    err: expect.stringContaining("role:approver"),
  });
  expect(await asAnn("approval", "approve", id, "--reason", "x", "--write")).toMatchObject({ code: 2 });
  expect(await asAnn("approval", "approve", id)).toMatchObject({ code: 2 });
  expect(await asAnn("approval", "approve", id, "--reason", "fine")).toEqual({ code: 0, out: `${id} is approved`, err: "" });
  expect(await asAnn("approval", "deny", id, "--reason", "late")).toMatchObject({
    code: 1,
    err: expect.stringContaining("approved before"),
  });
  expect(await call("echo", { text: "\u001b[31mred" })).toContain("red");
  expect((await asAnn("approval", "list", "--state", "approved")).out).toMatch(/decided {4}approved by ann at .*: fine/);
  expect((await asAnn("approval", "list")).out).toBe("nothing is pending");
  const { approvals } = JSON.parse((await asAnn("approval", "list", "--state", "approved", "--json")).out);
  expect(approvals).toMatchObject([{ id, decided_by: "ann", used_by: expect.stringMatching(/^call_/) }]);
});

test("a right that an agent asks for is listed, and approved into a policy file that the gateway takes", async () => {
  const id = await wish("up/search", "1h");
  expect((await asAnn("approval", "list")).out).toContain(`${id}  pending  the right to up/search`);
  expect(await call("search", { query: "x", limit: 1 })).toContain("tool_unknown");
  const approved = await asAnn("approval", "approve", id, "--reason", "for the report", "--write");
  const file = join(policies(), `approved-${id}.yaml`);
  expect(approved).toMatchObject({ code: 0, out: expect.stringContaining(`wrote ${file}`), err: "" });
  expect(readFileSync(file, "utf8")).toMatch(
    new RegExp(
      `^apiVersion: tollgate/v1\\nentitlements:\\n  - name: ${id}\\n    who: \\{ agent: ${agent.id} \\}\\n    permit: \\["up/search"\\]\\n    from: ".*"\\n    until: ".*"\\n$`,
    ),
  );
  expect(readdirSync(policies()).toSorted()).toEqual([`approved-${id}.yaml`, "test.yaml"]);
  let answer = "";
  for (let i = 0; i < 400 && !answer.includes("1. x"); i++) {
    answer = await call("search", { query: "x", limit: 1 });
    if (!answer.includes("1. x")) await sleep(25);
  }
  expect(answer).toContain("1. x");
  // Written a second time it would be there twice.
  expect(await asAnn("approval", "approve", id, "--reason", "again", "--write")).toMatchObject({
    code: 1,
    err: expect.stringContaining("is there already"),
  });
});

test("nothing is decided or written where the set would be bad with it, or the name is none of a policy file", async () => {
  const id = await wish("up/add");
  const listed = (await asAnn("approval", "list")).out;
  expect(listed).toContain("no duration was asked for: 7 days from its approval");
  for (const name of ["../elsewhere.yaml", "notes.txt", "x.cases.yaml", ".hidden.yaml"])
    expect(await asAnn("approval", "approve", id, "--reason", "x", "--write", name)).toMatchObject({ code: 2 });
  writeFileSync(join(policies(), "mine.yaml"), `apiVersion: tollgate/v1\nentitlements:\n  - { name: ${id}, permit: [up/add] }\n`);
  const bad = await asAnn("approval", "approve", id, "--reason", "x", "--write");
  expect(bad).toMatchObject({
    code: 78,
    err: expect.stringMatching(/^\S+\/policies\/mine\.yaml:3:13: .*the entitlement req_\S+ is already at/),
  });
  expect(bad.err).toContain(policies());
  expect(await asAnn("approval", "approve", id, "--reason", "x", "--write", "mine.yaml")).toMatchObject({ code: 1 });
  expect(JSON.parse((await asAnn("approval", "list", "--json")).out).access_requests).toMatchObject([{ id, state: "pending" }]);
  expect(existsSync(join(policies(), `approved-${id}.yaml`))).toBe(false);
  const without = await asAnn("approval", "approve", id, "--reason", "fine");
  expect(without.out).toMatch(
    /is approved\nit counts until \S+ \(no duration was asked for: 7 days from its approval\)\nThe rule to write:\n- name: req_/,
  );
  expect(await asAnn("approval", "deny", await wish("up/big"), "--reason", "no")).toMatchObject({
    code: 0,
    out: expect.stringContaining("is denied"),
  });
});
