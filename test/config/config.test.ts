import { chmodSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { inspect } from "node:util";
import { expect, test } from "vitest";
import { schemaFiles } from "../../scripts/schema.ts";
import { inspectAll } from "../../src/check.ts";
import type { Config } from "../../src/config.ts";
import { loadConfig } from "../../src/config-load.ts";
import type { ServerName } from "../../src/ids.ts";

const ROOT = join(import.meta.dirname, "../..");

type Files = Readonly<Record<string, string>>;

function fileOf(yaml: string, more: Files = {}): string {
  const folder = mkdtempSync(join(tmpdir(), "tollgate-config-"));
  for (const [name, text] of Object.entries(more)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true, mode: 0o700 });
    writeFileSync(join(folder, name), text, { mode: 0o600 });
  }
  writeFileSync(join(folder, "tollgate.yaml"), yaml);
  return join(folder, "tollgate.yaml");
}

function load(yaml: string, env: Record<string, string> = {}, more: Files = {}): Config {
  const loaded = loadConfig(fileOf(yaml, more), env);
  if ("problems" in loaded) throw new Error(loaded.problems.map((problem) => `${problem.line}: ${problem.message}`).join("\n"));
  return loaded.config;
}

function problemsIn(yaml: string, env: Record<string, string> = {}, more: Files = {}): string[] {
  const loaded = loadConfig(fileOf(yaml, more), env);
  return "problems" in loaded ? loaded.problems.map(({ line, column, message }) => `${line}:${column}: ${message}`) : [];
}

const SERVER = "servers: { a: { url: https://a.example/mcp } }\n";
const GOOD = `apiVersion: tollgate/v1\n${SERVER}`;

test("every problem of a config shows at once, each where it stands", () => {
  const yaml = `apiVersion: tollgate/v2
publicURL: http://x
publicUrl: http://example.com/x/
listen: { host: 0.0.0.0, prt: 5 }
admin: { host: 10.0.0.1, port: 8422 }
limits: []
data:
authorizationServer: { accessTokenTtl: 10 }
issuers:
  - { issuer: http://login.example.com, agent: azp }
  - { issuer: https://u:p@login.example.com, algorithms: [HS256] }
servers:
  Everything: { command: [x] }
  nothing: {}
  a: { url: "http://169.254.169.254/mcp", timeot: 3s }
  b: { url: https://x.example/mcp, credential: { bearer: hunter2 } }
  c: { url: https://x.example/mcp, credential: { bearer: env:NOPE } }
  d: { url: https://x.example/mcp, credential: 5 }
  e: { url: https://x.example/mcp, credential: { tokenExchange: { issuer: https://i.example, clientId: env:X } } }
  f: { command: [x], env: { B: file:nope }, timeout: 99d }
  g: { command: x, maxResultBytes: 1_0 }
sync:
  - { type: kafka, url: "https://[fd00:ec2::254]/", batch: 0 }
`;
  const known =
    "apiVersion, publicUrl, listen, admin, probes, data, gatewayId, keys, logKey, checkpoint, witness, shared, policies, mode, refusals, authorizationServer, issuers, clients, views, servers, inspectors, eventTypes, outcomes, meters, prices, metering, receipts, idempotency, retention, anomalies, sync, webhooks";
  expect(problemsIn(yaml)).toEqual([
    "1:13: apiVersion: must be tollgate/v1",
    "2:1: publicURL: unknown key; did you mean publicUrl?",
    "3:12: publicUrl: must be a scheme and a host alone, without path, query or slash at its end: http://example.com",
    "4:17: listen.host: beyond loopback the listener needs a TLS proxy in front: set listen.behindProxy and listen.allowedHosts",
    "4:26: listen.prt: unknown key; did you mean port?",
    "5:16: admin.host: must be a loopback address such as 127.0.0.1: this listener has no TLS",
    `6:1: limits: unknown key; known here: ${known}`,
    "7:1: data: has no value; it must be a text",
    "8:40: authorizationServer.accessTokenTtl: must be a whole number with ms, s, m, h or d: 30s",
    "10:15: issuers[0].issuer: must begin with https:// (http:// only for this machine)",
    "10:48: issuers[0].agent: must name a claim: claims.azp",
    "11:15: issuers[1].issuer: must not hold a user name or password: give the credential by env: or file: instead",
    "11:59: issuers[1].algorithms[0]: must be RS256 or PS256 or ES256 or Ed25519 or EdDSA",
    "13:3: servers.Everything: a server's name is 1 to 32 of a-z, 0-9 and -",
    "14:12: servers.nothing: must have either url (Streamable HTTP) or command (stdio)",
    "15:13: servers.a.url: is a cloud metadata address, which is never called",
    "15:43: servers.a.timeot: unknown key; did you mean timeout?",
    "16:58: servers.b.credential.bearer: a secret never stands here in clear text: write env:NAME or file:PATH",
    "17:58: servers.c.credential.bearer: the environment variable NOPE is not set",
    "18:48: servers.d.credential: must be none, or one of bearer, header, basic, clientCredentials, privateKeyJwt, tokenExchange, mtls",
    "19:104: servers.e.credential.tokenExchange.clientId: is written out here; env: and file: are for secrets",
    "20:32: servers.f.env.B: nope cannot be read: ENOENT",
    "20:54: servers.f.timeout: is longer than 1 h",
    "21:17: servers.g.command: must be a list",
    "21:36: servers.g.maxResultBytes: must be a whole number, such as 2000 or 5_000_000",
    "23:13: sync[0].type: must be cloudevents or postgres",
  ]);
  expect(problemsIn(yaml).join()).not.toContain("hunter2");
});

/** A definition that is in order but for one member. */
function definition(change: string): string {
  const members = new Map(
    ["name: com.x.y", "version: 1", "meter: pages", "unit: page", "use: [policy]", "approvedBy: x", "approved: 2026-01-01", change]
      .filter(Boolean)
      .map((member) => [member.slice(0, member.indexOf(":")), member]),
  );
  return `{ ${[...members.values()].join(", ")} }`;
}

const WRONG: readonly [what: string, yaml: string, problem: RegExp][] = [
  ["an empty file", "", /the key "apiVersion" is missing/],
  ["a list", "- a\n", /must be a map/],
  ["no server", "apiVersion: tollgate/v1\nservers: {}\n", /at least one server/],
  [
    "a bind to the world behind a proxy without names",
    `${GOOD}publicUrl: https://x.example\nlisten: { host: "::", behindProxy: { trusted: [10.0.0.0/8] } }\n`,
    /set listen.allowedHosts/,
  ],
  [
    "a bind to the world without a public URL",
    `${GOOD}listen: { host: 0.0.0.0, behindProxy: { trusted: [10.0.0.1] }, allowedHosts: [x.example] }\n`,
    /publicUrl must be set/,
  ],
  [
    "habits that take longer to learn than they are remembered",
    `${GOOD}anomalies: { learn: 28d }\n`,
    /anomalies: learn must be shorter than remember/,
  ],
  ["habits of hours", `${GOOD}anomalies: { learn: 36h }\n`, /anomalies.learn: must be whole days: 7d/],
  ["habits of years", `${GOOD}anomalies: { remember: 365d }\n`, /anomalies.remember: is longer than 62 d/],
  ["every call as too many", `${GOOD}anomalies: { overactive: { times: 1 } }\n`, /anomalies.overactive.times/],
  ["anomalies that are on", `${GOOD}anomalies: on\n`, /anomalies: must be off, or an object/],
  ["a signal of anomalies", `${GOOD}anomalies: { overactiv: {} }\n`, /anomalies.overactiv: unknown key; did you mean overactive/],
  ["probes beyond loopback", `${GOOD}probes: { host: 0.0.0.0 }\n`, /probes.host: must be a loopback/],
  ["an empty allow-list", `${GOOD}listen: { allowedHosts: [] }\n`, /allowedHosts: must not be empty/],
  ["the whole world as a trusted proxy", `${GOOD}listen: { behindProxy: { trusted: [0.0.0.0/0] } }\n`, /not an address or a network/],
  ["an origin with a path", `${GOOD}listen: { allowedOrigins: ["https://a.example/"] }\n`, /not an origin/],
  ["a public URL with a slash", `${GOOD}publicUrl: https://x.example/\n`, /slash at its end: https:\/\/x.example$/],
  ["a public URL in capitals", `${GOOD}publicUrl: https://X.example\n`, /https:\/\/x.example$/],
  ["a public URL without TLS", `${GOOD}publicUrl: http://x.example\n`, /must begin with https/],
  ["two listeners on one port", `${GOOD}admin: { port: 8420 }\n`, /admin.port: is the port of listen too/],
  ["one issuer twice", `${GOOD}issuers: [{ issuer: "https://i.example" }, { issuer: "https://i.example" }]\n`, /stands here twice/],
  ["a metadata address in decimal", "apiVersion: tollgate/v1\nservers: { a: { url: http://2852039166/ } }\n", /metadata/],
  ["a metadata address inside IPv6", 'apiVersion: tollgate/v1\nservers: { a: { url: "http://[::ffff:169.254.169.254]/" } }\n', /metadata/],
  ["a metadata name with a dot", "apiVersion: tollgate/v1\nservers: { a: { url: http://metadata.google.internal./ } }\n", /metadata/],
  ["a file URL", "apiVersion: tollgate/v1\nservers: { a: { url: file:///etc/passwd } }\n", /http:\/\/ or https/],
  [
    "a header of our own",
    "apiVersion: tollgate/v1\nservers: { a: { url: https://a.example, credential: { header: { name: Host, value: env:X } } } }\n",
    /sets itself/,
  ],
  [
    "a secret in a child's environment",
    "apiVersion: tollgate/v1\nservers: { a: { command: [x], env: { API_KEY: abc } } }\n",
    /env.API_KEY: a secret never/,
  ],
  ["__proto__", `${GOOD}__proto__: { admin: true }\n`, /__proto__ is not allowed/],
  ...(
    [
      ["a type of the gateway's own", "name: io.tollgate.x", /begin with your domain/],
      ["a meter that is counted otherwise", "meter: tool_tokens", /tool_tokens is counted otherwise/],
      ["a meter that is a dimension", "meter: agent", /agent is counted otherwise/],
      ["a definition that is for nothing", "use: []", /use: must not be empty/],
      ["a definition that nobody has approved", "approvedBy:", /approvedBy: has no value/],
      ["a day that there is not", "approved: 2026-02-30", /is not a date/],
      ["metadata that it needs and does not have", "required: [pages]", /pages is not among metadata/],
      ["metadata that every type has", "metadata: { model: string }", /is a text in every type/],
    ] as const
  ).map(([what, change, problem]): [string, string, RegExp] => [what, `${GOOD}eventTypes:\n  - ${definition(change)}\n`, problem]),
  ["one version twice", `${GOOD}eventTypes:\n  - ${definition("")}\n  - ${definition("")}\n`, /has a version 1 already/],
  ["an outcome of a server that is not there", `${GOOD}outcomes: [{ name: x, tool: b/y }]\n`, /there is no server b/],
  ["an outcome that looks at no call", `${GOOD}outcomes: [{ name: x, when: "true" }]\n`, /say of which tool/],
  ["an outcome that is no condition", `${GOOD}outcomes: [{ name: x, tool: a/y, when: result.a + }]\n`, /outcomes\[0\].when/],
  [
    "an outcome that asks who called",
    `${GOOD}outcomes: [{ name: x, tool: a/y, when: agent.name == "b" }]\n`,
    /outcomes\[0\].when: .*agent/,
  ],
  ["a meter of no tool", `${GOOD}meters: [{ name: x, tool: "prompt:a/y", pointer: /a, max: 5 }]\n`, /names no tool/],
  ["a pointer that is none", `${GOOD}meters: [{ name: x, tool: a/y, pointer: a.b, max: 5 }]\n`, /is not a JSON pointer/],
  ["a meter without bound", `${GOOD}meters: [{ name: x, tool: a/y, pointer: /a }]\n`, /"max" is missing/],
  ["lateness of years", `${GOOD}metering: { lateness: 900d }\n`, /is longer than/],
  ["a later part", `${GOOD}shards: []\n`, /shards: unknown key/],
];

test.each(WRONG)("%s is refused", (_what, yaml, problem) => {
  expect(problemsIn(yaml, { X: "x" })).toContainEqual(expect.stringMatching(problem));
});

test("the file becomes what the gateway uses", () => {
  const config = load(
    `apiVersion: tollgate/v1
listen: { port: 9000 }
issuers: [{ issuer: "https://i.example", agent: claims.realm.agent }]
servers:
  tickets: { url: https://t.example/mcp, timeout: 30s, maxResultBytes: 1_000_000, credential: { header: { name: X-Key, value: file:key } } }
  local: { command: [./bin/server, -v], env: { API_KEY: env:KEY, LEVEL: debug }, child: shared }
sync: [{ type: cloudevents, url: "https://m.example/events", bearer: env:KEY, every: 2m }]
`,
    { KEY: "from env" },
    { key: "from file\n" },
  );
  const folder = join(config.file, "..");
  expect(config).toMatchObject({
    configVersion: expect.stringMatching(/^sha256:[0-9a-f]{16}$/),
    publicUrl: "http://127.0.0.1:9000",
    data: join(folder, "data"),
    policies: join(folder, "policies"),
    listen: { host: "127.0.0.1", behindProxy: null, allowedHosts: null },
    authorizationServer: { enabled: true, accessTokenTtlMs: 600_000 },
    issuers: [{ agentClaim: ["realm", "agent"], audience: null, jwksUri: null, maxLifetimeMs: 3_600_000 }],
    sync: [{ name: "m.example/events", everyMs: 120_000, batch: 100, dedupeWindowMs: 86_400_000, backlogMax: null, send: ["usage"] }],
  });
  const tickets = config.servers.get("tickets" as ServerName);
  expect(tickets).toMatchObject({
    kind: "http",
    name: "tickets",
    timeoutMs: 30_000,
    maxResultBytes: 1_000_000,
    reserve: { tool_tokens: 2000 },
  });
  expect(tickets?.kind === "http" && tickets.credential.kind === "header" && tickets.credential.value.reveal()).toBe("from file");
  const local = config.servers.get("local" as ServerName);
  expect(local).toMatchObject({
    kind: "stdio",
    command: [join(folder, "bin/server"), "-v"],
    cwd: folder,
    child: "shared",
    maxChildren: 16,
  });
  expect(local?.kind === "stdio" && local.env.API_KEY?.reveal()).toBe("from env");
});

test("a webhook that could never be told anything is refused, with what was meant; kinds that there are are taken", () => {
  const key = { HOOK: `whsec_${Buffer.alloc(32, 7).toString("base64")}` };
  const toldOf = (events: string) => `${GOOD}webhooks: [{ url: "https://ops.example/hook", secret: env:HOOK, events: [${events}] }]\n`;
  expect(problemsIn(toldOf("agnt.created, agent.*, agnt.*, call, nonsense, tool.*x"), key)).toEqual([
    "3:74: webhooks[0].events[0]: fits no kind of record; did you mean agent.created?",
    "3:97: webhooks[0].events[2]: fits no kind of record; did you mean agent.*?",
    "3:105: webhooks[0].events[3]: fits calls alone, of which nobody is told: sync sends them",
    expect.stringMatching(
      /^3:111: webhooks\[0\].events\[4\]: fits no kind of record; there are agent\.\*, credential\.\*, .*budget\.\*, .*$/,
    ),
    expect.stringContaining("webhooks[0].events[5]: fits no kind of record"),
  ]);
  expect(problemsIn(toldOf('budget.*, "*", "*.created", usage.adjusted'), key)).toEqual([]);
});

test("what is secret or tells who did what leaves this machine over TLS alone", () => {
  const key = { HOOK: `whsec_${Buffer.alloc(32, 7).toString("base64")}`, KEY: "k" };
  const sync = (url: string, more = "") => `${GOOD}sync: [{ type: cloudevents, url: "${url}"${more} }]\n`;
  const hook = (url: string) => `${GOOD}webhooks: [{ url: "${url}", secret: env:HOOK, events: ["*"] }]\n`;
  expect(problemsIn(sync("http://m.example/e", ", bearer: env:KEY"), key)).toEqual([
    "3:34: sync[0].url: must begin with https:// (http:// only for this machine) where there is a bearer",
  ]);
  expect(problemsIn(hook("http://o.example/h"), key)).toEqual([
    "3:19: webhooks[0].url: must begin with https:// (http:// only for this machine)",
  ]);
  const fine = [sync("http://m.example/e"), sync("http://127.0.0.1:9/e", ", bearer: env:KEY"), hook("http://localhost:9/h")];
  expect(fine.map((yaml) => problemsIn(yaml, key))).toEqual([[], [], []]);
});

test("sinks and webhooks have names that hold no credential, and no two of them one", () => {
  const key = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
  const config = load(
    `${GOOD}sync:
  - { type: cloudevents, url: "https://m.example/events?key=x", dedupeWindow: unbounded, errors: /bad }
  - { type: postgres, url: env:LEDGER, name: ledger, backlogMax: 5 }
webhooks: [{ url: "https://ops.example/hook", secret: env:HOOK, events: [agent.*, tool.changed] }]
`,
    { LEDGER: "postgres://u:pa55word@db.example/ledger", HOOK: key },
  );
  expect(config.sync).toMatchObject([
    { name: "m.example/events", dedupeWindowMs: null, errors: { list: "/bad", index: "/index", id: "/id", retry: "/retryable" } },
    { name: "ledger", isNamed: true, batch: 1000, send: ["usage", "records", "checkpoints"], backlogMax: 5 },
  ]);
  expect(config.webhooks).toMatchObject([{ name: "ops.example/hook", events: ["agent.*", "tool.changed"], timeoutMs: 10_000 }]);
  expect(inspect(config, { depth: null })).not.toMatch(/pa55word|whsec_/);
  const twice = `${GOOD}sync:\n${'  - { type: cloudevents, url: "https://m.example/e" }\n'.repeat(2)}webhooks: [{ url: "https://o.example/", secret: env:HOOK, events: ["*"] }]\n`;
  expect(problemsIn(twice, { HOOK: "hunter2" })).toEqual([
    "5:5: sync[1]: has the name of sync[0]: give each its own (name: ...)",
    expect.stringMatching(/^6:\d+: webhooks\[0\].secret: must be whsec_ and 24 to 64 bytes in base64/),
  ]);
  expect(
    problemsIn(`${GOOD}sync: [{ type: postgres, url: "postgres://u:p@h/d" }, { type: cloudevents, url: "http://169.254.169.254/" }]\n`),
  ).toEqual([expect.stringContaining("must not hold a password in clear text"), expect.stringContaining("is a cloud metadata address")]);
});

test("a secret prints as [redacted], however the config is printed", () => {
  const config = load(`apiVersion: tollgate/v1\nservers: { a: { url: https://a.example, credential: { bearer: env:S } } }\n`, {
    S: "canary-5f1c",
  });
  const server = config.servers.get("a" as ServerName);
  const printed = [JSON.stringify([...config.servers]), inspect(config, { depth: null, showHidden: true }), `${JSON.stringify(server)}`];
  expect(printed.join()).not.toContain("canary-5f1c");
  expect(printed[0]).toContain("[redacted]");
});

const SECRET = "apiVersion: tollgate/v1\nservers: { a: { url: https://a.example, credential: { bearer: file:key } } }\n";

test("a secret that others can read, that is empty or that breaks a line is refused", () => {
  const open = fileOf(SECRET, { key: "x" });
  chmodSync(join(open, "../key"), 0o640);
  expect(loadConfig(open, {})).toMatchObject({ problems: [{ message: expect.stringContaining("chmod 600 key") }] });
  expect(problemsIn(SECRET, {}, { key: "\n" })).toEqual([expect.stringContaining("key is empty")]);
  expect(problemsIn(SECRET, {}, { key: "a\r\nX-Admin: 1" })).toEqual([expect.stringContaining("a line break")]);
  expect(problemsIn(SECRET, {}, { key: "x".repeat(16_385) })).toEqual([expect.stringContaining("at most 16384")]);
  expect(problemsIn(SECRET.replace("file:key", "env:E"), { E: "" })).toEqual([expect.stringContaining("E is empty")]);
});

test("keys are in the data folder, or in a folder beside the config file that is there and its owner's alone", () => {
  expect(load(GOOD).keys).toMatch(/\/data$/);
  expect(load(`${GOOD}keys: data\ndata: ./d\n`).keys).toMatch(/\/d$/);
  const shared = `${GOOD}keys: file:./shared\n`;
  expect(load(shared, {}, { "shared/other": "" }).keys).toMatch(/\/shared$/);
  expect(problemsIn(shared)).toEqual(["3:7: keys: ./shared does not exist: make the folder (mode 0700), or mount it"]);
  expect(problemsIn(shared, {}, { shared: "" })).toEqual([expect.stringContaining("./shared is not a folder")]);
  expect(problemsIn(`${GOOD}keys: file:shared/x\n`, {}, { shared: "" })).toEqual([expect.stringContaining("ENOTDIR")]);
  const open = fileOf(shared, { "shared/other": "" });
  chmodSync(join(open, "../shared"), 0o770);
  expect(loadConfig(open, {})).toMatchObject({ problems: [{ message: expect.stringContaining("chmod 700 ./shared") }] });
  for (const wrong of ["env:KEYS", "./shared", "file:", "Data"]) {
    expect(problemsIn(`${GOOD}keys: "${wrong}"\n`)).toEqual([expect.stringContaining("must be data, or file: and a folder")]);
  }
});

test("budgets are shared in Redis by gateways that share a registry, under names and limits that make sense", () => {
  const postgres = "postgres: 'postgres://tollgate@db/tollgate'";
  const plain = load(`${GOOD}shared: { ${postgres}, redis: "redis://cache:6379/2" }\n`).shared;
  expect([plain.redis?.reveal(), plain.namespace, plain.timeoutMs, plain.lapseMs]).toEqual([
    "redis://cache:6379/2",
    "tollgate",
    1_000,
    300_000,
  ]);
  expect(load(`${GOOD}shared: { ${postgres}, redis: env:R }\n`, { R: "rediss://:pw@cache" }).shared.redis?.reveal()).toBe(
    "rediss://:pw@cache",
  );
  expect(load(GOOD).shared.redis).toBeNull();
  expect(problemsIn(`${GOOD}shared: { redis: "redis://cache" }\n`)).toEqual([expect.stringContaining("needs shared.postgres")]);
  expect(problemsIn(`${GOOD}shared: { ${postgres}, redis: "redis://:pw@cache" }\n`)).toEqual([
    expect.stringContaining("must not hold a password in clear text"),
  ]);
  expect(problemsIn(`${GOOD}shared: { ${postgres}, redis: "http://cache" }\n`)).toEqual([expect.stringContaining("must be a redis://")]);
  expect(problemsIn(`${GOOD}shared: { ${postgres}, redis: "redis://cache", lapse: 119s }\n`)).toEqual([
    expect.stringContaining("shared.lapse: must be at least 2 min"),
  ]);
  expect(problemsIn(`${GOOD}shared: { ${postgres}, redis: "redis://cache", namespace: "a{b}" }\n`)).toEqual([
    expect.stringContaining("is not a name"),
  ]);
});

test("config.example.yaml starts as it stands, and with every comment uncommented", async () => {
  expect((await inspectAll(join(ROOT, "config.example.yaml"), {})).problems).toEqual([]);
  const text = readFileSync(join(ROOT, "config.example.yaml"), "utf8");
  const commented = /^( *)# ((?: *)(?:- \{?[a-z ]*|[A-Za-z]+):(?: .*)?)$/;
  const lines = text.split("\n").map((line) => (line.includes("yaml-language-server") ? line : line.replace(commented, "$1$2")));
  expect(lines.join("\n")).not.toMatch(/^ *# +(- |[a-z]+: [a-z{[])/m);
  const env = {
    TICKETS_SECRET: "t",
    WEATHER_TOKEN: "w",
    SEARCH_KEY: "s",
    BILLING_SECRET: "b",
    METER_TOKEN: "m",
    LEDGER_URL: "postgres://tollgate:l@127.0.0.1/ledger",
    HOOK_SECRET: `whsec_${Buffer.alloc(32).toString("base64")}`,
    PII_TOKEN: "p",
    EVERYTHING_API_KEY: "e",
    SHARED_REDIS_URL: "rediss://tollgate:r@127.0.0.1/0",
    REGISTRY_URL: "postgres://tollgate:r@127.0.0.1/tollgate",
  };
  const config = load(lines.join("\n"), env, { "shared-keys/keys.json": "" });
  expect(config.keys).toMatch(/\/shared-keys$/);
  expect([...config.servers.keys()]).toEqual(["everything", "tickets", "weather", "search", "billing"]);
  expect(config.listen).toMatchObject({ behindProxy: { trusted: ["10.0.0.0/8"] }, allowedHosts: ["mcp.example.com"] });
  expect(config.sync.map(({ name }) => name)).toEqual(["meter", "ledger"]);
  expect(config.webhooks.map(({ name }) => name)).toEqual(["ops"]);
  expect([...config.inspectors.keys()]).toEqual(["pii", "pdp"]);
});

test("check looks on into the policies where the config is wrong", async () => {
  const file = fileOf(`${GOOD}oops: 1\npolicies: ./rules\n`);
  mkdirSync(join(file, "../rules"));
  writeFileSync(join(file, "../rules/p.yaml"), "apiVersion: tollgate/v1\nwidgets: []\n");
  const { problems } = await inspectAll(file, {});
  expect(problems.map(({ file: at, message }) => `${basename(at)} ${message}`)).toEqual([
    expect.stringContaining("p.yaml widgets: unknown key"),
    expect.stringContaining("tollgate.yaml oops: unknown key"),
  ]);
});

test("the published schemas are those of the source: node scripts/schema.ts", () => {
  for (const [name, text] of schemaFiles()) expect(readFileSync(join(ROOT, "schema", name), "utf8"), name).toBe(text);
});

test("every problem of the inspectors shows at once; what becomes of a call without a verdict has to be written", () => {
  const inspectors = (each: string) => `${GOOD}inspectors:\n${each}`;
  expect(
    problemsIn(
      inspectors(`  none: { url: https://g.example/v1 }
  plain: { url: http://g.example/v1, onFailure: refuse }
  meta: { url: "https://169.254.169.254/", onFailure: refuse }
  clear: { url: https://g.example/v1, bearer: hunter2, onFailure: refuse }
  unset: { url: https://g.example/v1, bearer: env:NOPE, onFailure: refuse }
  slow: { url: https://g.example/v1, timeout: 31s, concurrent: 0, onFailure: allow }
  grpc: { type: grpc, url: https://g.example/v1, onFailure: refuse, of: [result] }
  "a b": { url: https://g.example/v1, onFailure: refuse }
`),
    ),
  ).toEqual([
    '4:9: inspectors.none: the key "onFailure" is missing',
    "5:17: inspectors.plain.url: must begin with https:// (http:// only for this machine)",
    "6:16: inspectors.meta.url: is a cloud metadata address, which is never called",
    "7:47: inspectors.clear.bearer: a secret never stands here in clear text: write env:NAME or file:PATH",
    "8:47: inspectors.unset.bearer: the environment variable NOPE is not set",
    "9:47: inspectors.slow.timeout: is longer than 30 s",
    "9:64: inspectors.slow.concurrent: must be at least 1",
    "9:78: inspectors.slow.onFailure: must be refuse or unsafeAllow",
    "10:17: inspectors.grpc.type: must be http or authzen",
    "10:69: inspectors.grpc.of: unknown key; known here: type, url, bearer, timeout, concurrent, onFailure",
    "11:3: inspectors.a b: an inspector's name is 1 to 64 letters, digits, dots, dashes and underscores",
  ]);
});

test("an inspector is asked over http, for two seconds and 64 questions at once, unless it says otherwise", () => {
  const written = `${GOOD}inspectors:
  pii: { url: http://127.0.0.1:9/v1, bearer: env:PII, onFailure: unsafeAllow }
  pdp: { type: authzen, url: https://pdp.example/access/v1/evaluation, timeout: 500ms, concurrent: 2, onFailure: refuse }
`;
  const { inspectors } = load(written, { PII: "canary-bearer" });
  const pii = inspectors.get("pii");
  expect(pii).toMatchObject({ type: "http", url: "http://127.0.0.1:9/v1", timeoutMs: 2_000, concurrent: 64, onFailure: "unsafeAllow" });
  expect([pii?.bearer?.reveal(), JSON.stringify(pii)]).toEqual(["canary-bearer", expect.not.stringContaining("canary-bearer")]);
  expect(inspectors.get("pdp")).toMatchObject({ type: "authzen", bearer: null, timeoutMs: 500, concurrent: 2, onFailure: "refuse" });
});
