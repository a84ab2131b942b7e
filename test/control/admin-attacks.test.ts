import { chmodSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { configText, folderOf, POLICY, tollgate } from "../cli/terminal.ts";
import { GatewayProcess, modernRequest } from "../e2e/gateway-process.ts";
import { createAgent, newFolder, type Plane, startPlane } from "./plane.ts";

let plane: Plane;
let agent: { id: string; secret: string };

beforeAll(async () => {
  plane = await startPlane({
    reader: { ask: (async (name: string) => (name === "record" ? null : [])) as never },
  });
  agent = await createAgent(plane.registry, "bot");
  await plane.registry.createCustomer("acme", {}, "test");
});
afterAll(() => plane?.close());

const routes = () =>
  [...new Set(plane.api.routes.filter(({ method }) => method !== "ALL").map(({ method, path }) => `${method} ${path}`))].map((name) => {
    const [method = "", path = ""] = name.split(" ");
    return { method, path };
  });

async function newKey(body: object): Promise<string> {
  const answer = await plane.admin("POST", "/api/v1/admin-keys", body);
  expect(answer.status).toBe(201);
  return ((await answer.json()) as { key: string }).key;
}

/** Every row of the registry, as text. */
async function everyRow(): Promise<string> {
  const tables = ["agent", "credential", "customer", "admin_key", "issued_token", "revoked_token", "change"] as const;
  const rows = await Promise.all(tables.map((name) => plane.store.db.selectFrom(name).selectAll().execute()));
  return JSON.stringify(rows);
}

describe("A01: no route is open", () => {
  test("to no key, an ended one, a revoked one, an agent's secret, or a key beside another", async () => {
    const ended = await newKey({ name: "ended", role: "admin", expires_in: "1s" });
    const revoked = await newKey({ name: "revoked", role: "admin" });
    await plane.admin("POST", "/api/v1/admin-keys/revoked/revoke", {});
    plane.world.nowMs += 1_001;
    for (const { method, path } of routes()) {
      for (const authorization of [null, `Bearer ${ended}`, `Bearer ${revoked}`, `Bearer ${agent.secret}`, `bearer ${plane.adminKey} x`]) {
        const answer = await plane.admin(method, path.replaceAll(/:[a-z]+/g, "bot"), method === "GET" ? undefined : {}, { authorization });
        expect([method, path, answer.status]).toEqual([method, path, 401]);
        await answer.text();
      }
    }
  });
});

describe("A02: the listener of the admin API", () => {
  test("is another port than the agents', on loopback, and nothing else is accepted", async () => {
    const answer = await fetch(`${plane.publicUrl}/api/v1/agents`, { headers: { authorization: `Bearer ${plane.adminKey}` } });
    expect(answer.status).toBe(404);
    for (const host of ["0.0.0.0", "::", "192.0.2.1", "example.com"]) {
      const folder = folderOf({
        "tollgate.yaml": configText().replace(/admin: .*/, `admin: { host: "${host}" }`),
        "policies/a.yaml": POLICY,
      });
      const { code, out, err } = await tollgate(["check", "-c", join(folder, "tollgate.yaml")]);
      expect([host, code, out + err]).toEqual([host, 78, expect.stringContaining("loopback")]);
    }
  });
});

describe("A03: the first key", () => {
  test("is random, private, and refuses the start when others may read it", async () => {
    const dataDir = newFolder();
    const first = await startPlane({ dataDir });
    expect(first.adminKey).toMatch(/^tga_[A-Za-z0-9_-]{43}$/);
    expect(first.adminKey).not.toBe(plane.adminKey);
    await first.close();
    const file = join(dataDir, "admin.key");
    expect(statSync(file).mode & 0o777).toBe(0o600);
    chmodSync(file, 0o644);
    await expect(startPlane({ dataDir })).rejects.toThrow("chmod 600");
  });
});

describe("A04: a page in a browser", () => {
  test("cannot write: no cookie is taken or set, no form is read, no other origin answered", async () => {
    for (const { method, path } of routes().filter((route) => route.method !== "GET")) {
      const at = path.replaceAll(/:[a-z]+/g, "bot");
      const cookie = { authorization: null, cookie: `key=${plane.adminKey}; authorization=Bearer ${plane.adminKey}` };
      expect((await plane.admin(method, at, {}, cookie)).status).toBe(401);
      expect((await plane.admin(method, at, "{}", { "content-type": "text/plain" })).status).toBe(415);
      const crossed = await plane.admin(method, at, {}, { origin: "https://evil.example", "sec-fetch-site": "cross-site" });
      expect([crossed.status, crossed.headers.get("set-cookie")]).toEqual([403, null]);
    }
  });
});

describe("A05: scripts in names", () => {
  const HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "{{7*7}}",
    "<svg/onload=alert(1)>",
  ];
  test("leave as JSON that no browser takes for a page", async () => {
    for (const owner of HOSTILE) {
      const made = await plane.admin("PATCH", "/api/v1/agents/bot", { owner, purpose: owner });
      expect([made.status, made.headers.get("content-type"), made.headers.get("x-content-type-options")]).toEqual([
        200,
        expect.stringMatching(/^application\/json/),
        "nosniff",
      ]);
      expect(((await made.json()) as { owner: string }).owner).toBe(owner);
      expect((await plane.admin("POST", "/api/v1/agents", { name: owner })).status).toBe(422);
      const missing = await plane.admin("GET", `/api/v1/agents/${encodeURIComponent(owner)}`);
      expect([missing.status, missing.headers.get("content-type")]).toEqual([404, "application/problem+json"]);
    }
  });
});

describe("A06: objects of another customer", () => {
  test("are a 404 on every route that names one, to every role that may take it", async () => {
    for (const role of ["viewer", "auditor", "operator", "approver", "admin"]) {
      const authorization = `Bearer ${await newKey({ name: `a06-${role}`, role, customer: "acme" })}`;
      for (const { method, path } of routes().filter((route) => /:(id|key)/.test(route.path))) {
        const at = path
          .replace(/:key/, "default")
          .replace(/admin-keys\/:id/, "admin-keys/first")
          .replaceAll(/:[a-z]+/g, agent.id);
        const answer = await plane.admin(method, at, method === "GET" ? undefined : path.endsWith("/tokens") ? { server: "tickets" } : {}, {
          authorization,
        });
        const text = await answer.text();
        expect([method, path, text.includes("is for the roles") ? 403 : answer.status]).toEqual([method, path, answer.status]);
        expect([403, 404]).toContain(answer.status);
        if (answer.status === 403) expect(text).toContain("is for the roles");
      }
    }
    expect(plane.registry.find("bot")?.state).toBe("active");
  });
});

describe("A08: secrets are written, never read", () => {
  test("no GET has a secret or its hash", async () => {
    const key = await newKey({ name: "a08", role: "viewer" });
    const hashes = (await plane.store.db.selectFrom("credential").select("hash").execute()).flatMap(({ hash }) => hash ?? []);
    const canaries = [agent.secret, key, plane.adminKey, ...hashes.flatMap((hash) => [hash.toString("hex"), hash.toString("base64")])];
    for (const { method, path } of routes().filter((route) => route.method === "GET")) {
      const text = await (await plane.admin(method, path.replaceAll(/:[a-z]+/g, "bot"))).text();
      for (const canary of canaries) expect(text).not.toContain(canary);
    }
  });
});

describe("A09: guessing", () => {
  test("leads nowhere: a key is 256 random bits, looked up by its hash, and nothing near it is any better", async () => {
    for (let i = 0; i < 100; i++) {
      const near = `${plane.adminKey.slice(0, -1 - (i % 20))}${"A".repeat(1 + (i % 20))}`;
      if (near === plane.adminKey) continue;
      const answer = await plane.admin("GET", "/api/v1/agents", undefined, { authorization: `Bearer ${near}` });
      expect([answer.status, answer.headers.get("www-authenticate")]).toEqual([401, 'Bearer realm="tollgate admin"']);
    }
    expect((await plane.admin("GET", "/api/v1/agents?limit=1")).status).toBe(200);
  });
});

describe("A10: SQL in parameters", () => {
  const SQL = [
    "'",
    '"',
    "';--",
    "' OR '1'='1",
    "1; DROP TABLE agent",
    "x') UNION SELECT hash FROM admin_key--",
    "%",
    "_",
    "\\",
    "a\u0000b",
    "$1",
  ];
  test("is a literal that matches nothing, or a 400", async () => {
    const before = await everyRow();
    for (const text of SQL.map(encodeURIComponent)) {
      for (const name of ["customer", "team", "owner", "state", "kind", "workflow"]) {
        const answer = await plane.admin("GET", `/api/v1/agents?${name}=${text}`);
        expect([name, text, answer.status, ((await answer.json()) as { items: [] }).items]).toEqual([name, text, 200, []]);
      }
      for (const path of [`agents?after=${text}`, `agents?limit=${text}`, `customers?after=${text}`, `admin-keys?after=${text}`])
        expect((await plane.admin("GET", `/api/v1/${path}`)).status).toBe(200);
      for (const path of [`metering/usage?by=${text}`, `metering/usage?since=${text}`, `audit/records?after=${text}`])
        expect((await plane.admin("GET", `/api/v1/${path}`)).status).toBe(400);
      for (const path of [`agents/${text}`, `agents/${text}/credentials`, `customers/${text}`, `audit/records/${text}`])
        expect((await plane.admin("GET", `/api/v1/${path}`)).status).toBe(404);
      for (const path of [`admin-keys/${text}/revoke`, `agents/${text}/suspend`, `agents/bot/credentials/${text}/revoke`])
        expect((await plane.admin("POST", `/api/v1/${path}`, {})).status).toBe(404);
      await plane.admin("POST", "/api/v1/agents/offboard", { owner: decodeURIComponent(text) });
    }
    expect(await everyRow()).toBe(before);
    expect(plane.faults).toEqual([]);
  });
});

describe("A11: formulas in tables", () => {
  test("cannot come in as a name, so no exported table begins a cell with one", async () => {
    for (const name of ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "a\nb", "a,b"])
      expect((await plane.admin("POST", "/api/v1/agents/import", { agents: [{ name }], dry_run: true })).status).toBe(422);
  });
});

describe("A12: line breaks and escapes", () => {
  test("do not come in, and what has no shape of its own is shown, not obeyed", async () => {
    for (const text of ["a\r\nb", "\u001b[2J", "\u009b31m", "a\u0000", "x".repeat(10_000)])
      expect((await plane.admin("PATCH", "/api/v1/agents/bot", { purpose: text })).status).toBe(422);
    await plane.admin("PATCH", "/api/v1/agents/bot", { purpose: "a\u202eb" });
    const file = join(folderOf({ "tollgate.yaml": configText([1, plane.adminPort, 3], `data: ${plane.dataDir}`) }), "tollgate.yaml");
    expect((await tollgate(["agent", "list", "-c", file])).out).toContain("a\\u202eb");
  });
});

describe("A15: what cannot be recorded is not done", () => {
  const ACTS: readonly (readonly [string, string, object])[] = [
    ["POST", "/agents", { name: "unrecorded" }],
    ["POST", "/agents/import", { agents: [{ name: "unrecorded" }], secrets: true }],
    ["POST", "/agents/offboard", { owner: "owner@example.com" }],
    ["PATCH", "/agents/a15", { team: "x" }],
    ["POST", "/agents/a15/suspend", {}],
    ["POST", "/agents/a15/revoke", {}],
    ["POST", "/agents/a15-asleep/reinstate", {}],
    ["POST", "/agents/a15/tokens", { server: "tickets" }],
    ["POST", "/agents/a15/credentials", { overlap: "0" }],
    ["POST", "/agents/a15/credentials", { kind: "api_key" }],
    ["POST", "/agents/a15/credentials/CREDENTIAL/revoke", {}],
    ["POST", "/leaks", { text: "SECRET" }],
    ["POST", "/customers", { key: "unrecorded" }],
    ["PATCH", "/customers/acme", { agents_max: 1 }],
    ["POST", "/customers/acme/suspend", {}],
    ["POST", "/customers/acme/end", {}],
    ["POST", "/customers/asleep/reinstate", {}],
    ["POST", "/admin-keys", { name: "unrecorded", role: "viewer" }],
    ["POST", "/admin-keys/a15/revoke", {}],
  ];

  test("on every route that writes: 503, and not a row is different", async () => {
    const made = await createAgent(plane.registry, "a15");
    await createAgent(plane.registry, "a15-asleep");
    await plane.registry.changeState("a15-asleep", "suspend", null, "test");
    await plane.registry.createCustomer("asleep", {}, "test");
    await plane.registry.changeCustomer("asleep", "suspended", null, "test");
    await newKey({ name: "a15", role: "viewer" });
    const credential = plane.registry.credentialsOf(made.id)[0]?.id ?? "";
    const tried = new Set(ACTS.map(([method, path]) => `${method} ${path.replace(/a15-asleep|a15|acme|asleep|CREDENTIAL/g, "*")}`));
    const writing = routes().filter(({ method }) => method !== "GET");
    expect(tried).toEqual(
      new Set(writing.map(({ method, path }) => `${method} ${path.replace("/api/v1", "").replaceAll(/:[a-z]+/g, "*")}`)),
    );
    const before = await everyRow();
    const { StoreUnavailable } = await import("../../src/call/record/journal.ts");
    plane.world.auditFault = new StoreUnavailable("the journal cannot write");
    try {
      for (const [method, path, body] of ACTS) {
        const text = JSON.stringify(body).replace("SECRET", made.secret);
        const answer = await plane.admin(method, `/api/v1${path.replace("CREDENTIAL", credential)}`, text);
        expect([method, path, answer.status, answer.headers.get("retry-after")]).toEqual([method, path, 503, "1"]);
        expect(await everyRow(), `${method} ${path}`).toBe(before);
      }
    } finally {
      plane.world.auditFault = null;
    }
  });

  test("is recorded with the key's name, before it is done", async () => {
    const authorization = `Bearer ${await newKey({ name: "by-name", role: "operator" })}`;
    await plane.admin("POST", "/api/v1/agents/a15/suspend", { reason: "why not" }, { authorization });
    expect(plane.acts.at(-1)).toMatchObject({ kind: "agent.suspended", by: "by-name", details: { agent: "a15", cause: "why not" } });
  });
});

describe("a jwks_uri", () => {
  test("is https, holds no password, and is no cloud metadata address", async () => {
    for (const jwks_uri of [
      "http://a.example/jwks",
      "https://u:p@a.example/jwks",
      "https://169.254.169.254/jwks",
      "file:///etc/passwd",
      "https://[::ffff:a9fe:a9fe]/",
    ])
      expect([jwks_uri, (await plane.admin("POST", "/api/v1/agents", { name: "by-url", credential: { jwks_uri } })).status]).toEqual([
        jwks_uri,
        422,
      ]);
  });
});

describe("A18: __proto__", () => {
  test("is refused in a body and in the configuration, and changes no prototype", async () => {
    for (const body of ['{"__proto__":{"polluted":1},"name":"x"}', '{"name":"x","constructor":{"prototype":{"polluted":1}}}'])
      expect((await plane.admin("POST", "/api/v1/agents", body)).status).toBe(422);
    for (const line of ["__proto__: { polluted: 1 }", "constructor: { prototype: { polluted: 1 } }"]) {
      const folder = folderOf({ "tollgate.yaml": configText([1, 2, 3], line), "policies/a.yaml": POLICY });
      expect((await tollgate(["check", "-c", join(folder, "tollgate.yaml")])).code).toBe(78);
    }
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });
});

describe("a gateway as a process", () => {
  let gateway: GatewayProcess;
  beforeAll(async () => {
    const policies = "apiVersion: tollgate/v1\nentitlements:\n  - { name: all, permit: [canary-server/*] }\n";
    gateway = await GatewayProcess.start({ servers: '  canary-server: { url: "http://127.0.0.1:9/mcp" }', policies });
  });
  afterAll(() => gateway?.stop());

  test("A13: leaves no secret in its output, its files, its metrics or its problems", async () => {
    const made = await gateway.createAgent("canary");
    const rotated = await gateway.json<{ client_secret: string }>("agent", "rotate", "canary", "--overlap", "10m");
    const keyed = await gateway.json<{ api_key: string }>("agent", "create", "keyed", "--api-key", "live");
    const admin = await gateway.json<{ key: string }>("admin-key", "create", "someone", "--role", "admin");
    const accessToken = await gateway.accessToken(made, "canary-server");
    const problems: string[] = [];
    const key = readFileSync(join(gateway.folder, "data", "admin.key"), "utf8").trim();
    const post = async (path: string, body: string, authorization = `Bearer ${key}`) => {
      const headers = { authorization, "content-type": "application/json", "user-agent": "canary-agent" };
      const answer = await fetch(`${gateway.adminUrl}/api/v1${path}`, { method: "POST", headers, body });
      problems.push(await answer.text());
      return answer.status;
    };
    const unknown = "tgs_canary-unknown-secret-of-somebody-else";
    expect(await post("/leaks", JSON.stringify({ text: unknown }))).toBe(404);
    expect(await post("/leaks", JSON.stringify({ text: rotated.client_secret }))).toBe(200);
    expect(await post("/leaks", JSON.stringify({ text: keyed.api_key }))).toBe(200);
    expect(await post("/agents", JSON.stringify({ name: "x", client_secret: "canary-in-a-body" }))).toBe(422);
    expect(await post("/agents", "{}", "Bearer canary-wrong-admin-key")).toBe(401);
    await fetch(`${gateway.publicUrl}/mcp/canary-server`, {
      method: "POST",
      headers: { authorization: `Bearer ${keyed.api_key}` },
      body: "{}",
    });
    const metrics = await (await fetch(`${gateway.probesUrl}/metrics`)).text();
    const data = join(gateway.folder, "data");
    const files = readdirSync(data).filter((name) => name !== "admin.key");
    const texts = [gateway.output, metrics, ...problems, ...files.map((name) => readFileSync(join(data, name)).toString("latin1"))];
    const canaries = [
      made.client_secret,
      rotated.client_secret,
      keyed.api_key,
      admin.key,
      accessToken,
      key,
      unknown,
      "canary-wrong-admin-key",
      "canary-in-a-body",
    ];
    for (const canary of canaries)
      for (const text of texts) expect(text.includes(canary), `${canary.slice(0, 8)} in ${text.slice(0, 80)}`).toBe(false);
  });

  test("A16: opens no inspector on SIGUSR1", async () => {
    gateway.child?.kill("SIGUSR1");
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(gateway.output).not.toContain("Debugger listening");
    expect((await fetch(`${gateway.probesUrl}/healthz`)).status).toBe(200);
    await expect(fetch("http://127.0.0.1:9229/json")).rejects.toThrow();
  });

  test("A17: tells a stranger nothing of itself at its probes", async () => {
    for (const path of ["/healthz", "/readyz", "/metrics", "/nothing"]) {
      const text = await (await fetch(`${gateway.probesUrl}${path}`)).text();
      for (const word of ["canary-server", "canary", gateway.folder, process.version.slice(1)]) expect(text, path).not.toContain(word);
    }
    for (const path of ["/debug", "/heapdump", "/config", "/json", "/api/v1/agents"])
      expect((await fetch(`${gateway.probesUrl}${path}`)).status).toBe(404);
  });
});

test("nothing of all this was a fault of the server", () => {
  expect(plane.faults).toEqual([]);
});

describe("a leak, at a whole gateway", () => {
  let gateway: GatewayProcess;
  beforeAll(async () => {
    const policies = "apiVersion: tollgate/v1\nentitlements:\n  - { name: all, permit: [up/*] }\n";
    gateway = await GatewayProcess.start({ servers: '  up: { url: "http://127.0.0.1:9/mcp" }', policies });
  });
  afterAll(() => gateway?.stop());
  type Report = { kind: string; id: string; agent: string | null; uses: { kind: string; call_id: string | null; certain: boolean }[] };
  const report = async (text: string): Promise<[number, Report]> => {
    const key = readFileSync(join(gateway.folder, "data", "admin.key"), "utf8").trim();
    const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
    const answer = await fetch(`${gateway.adminUrl}/api/v1/leaks`, { method: "POST", headers, body: JSON.stringify({ text }) });
    return [answer.status, (await answer.json()) as Report];
  };

  test("of a secret lists the calls of its agent and no other's, also when it is reported again", async () => {
    const [leaky, other] = [await gateway.createAgent("leaky"), await gateway.createAgent("other")];
    for (const each of [leaky, other]) {
      const answer = await modernRequest(`${gateway.publicUrl}/mcp/up`, await gateway.accessToken(each, "up"), "tools/list");
      await answer.text();
    }
    const records = await gateway.json<{ call_id: string | null; agent: { name: string } | null }[]>("audit", "tail", "--limit", "50");
    const calls = records.filter(({ call_id, agent }) => call_id !== null && agent?.name === "leaky").map(({ call_id }) => call_id);
    expect(calls.length).toBeGreaterThan(0);
    for (let i = 0; i < 2; i++) {
      const [status, { kind, agent, uses }] = await report(leaky.client_secret);
      expect([status, kind, agent, uses.map(({ call_id }) => call_id)]).toEqual([200, "credential", "leaky", calls.toReversed()]);
    }
    await expect(gateway.accessToken(leaky, "up")).rejects.toThrow("401");
    expect(await gateway.accessToken(other, "up")).toMatch(/^ey/);
  });

  test("of an opaque key lists its own calls, each certain, and those of another key of the agent not", async () => {
    const first = await gateway.json<{ id: string; api_key: string }>("agent", "create", "keyed", "--api-key", "live");
    const key = readFileSync(join(gateway.folder, "data", "admin.key"), "utf8").trim();
    const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
    const made = await fetch(`${gateway.adminUrl}/api/v1/agents/keyed/credentials`, {
      method: "POST",
      headers,
      body: '{"kind":"api_key"}',
    });
    const { api_key: second } = (await made.json()) as { api_key: string };
    for (const each of [first.api_key, second, first.api_key])
      await (await modernRequest(`${gateway.publicUrl}/mcp/up`, each, "tools/list")).text();
    const [status, { kind, agent, uses }] = await report(first.api_key);
    expect([status, kind, agent, uses.map(({ certain }) => certain)]).toEqual([200, "credential", "keyed", [true, true]]);
    expect((await modernRequest(`${gateway.publicUrl}/mcp/up`, first.api_key, "tools/list")).status).toBe(401);
    expect((await modernRequest(`${gateway.publicUrl}/mcp/up`, second, "tools/list")).status).not.toBe(401);
  });

  test("of an admin key lists what was done with it, and the last one stays", async () => {
    const { key, name } = await gateway.json<{ key: string; name: string }>("admin-key", "create", "careless", "--role", "operator");
    const body = JSON.stringify({ name: "made-by-careless" });
    const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
    expect((await fetch(`${gateway.adminUrl}/api/v1/agents`, { method: "POST", headers, body })).status).toBe(201);
    const [status, { kind, uses }] = await report(key);
    expect([status, kind, uses.map((use) => use.kind)]).toEqual([200, "admin_key", ["credential.issued", "agent.created"]]);
    expect((await fetch(`${gateway.adminUrl}/api/v1/agents`, { headers })).status).toBe(401);
    expect(name).toBe("careless");
    expect((await report(readFileSync(join(gateway.folder, "data", "admin.key"), "utf8")))[0]).toBe(409);
  });
});
