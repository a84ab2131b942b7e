/** `check` beside a registry in which the tools of servers are known: what policies mean, and hardly can mean. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openControlStore } from "../../src/control/store.ts";
import { configText, folderOf, tollgate } from "./terminal.ts";

const SEARCH = {
  type: "object",
  required: ["limit", "filter", "items"],
  properties: {
    limit: { type: "integer" },
    state: { enum: ["open", "closed"] },
    page: { type: "integer" },
    ratio: { type: "number" },
    filter: { type: "object", required: ["status"], properties: { status: { type: "string" } } },
    items: { type: "array", items: { type: "object", required: ["qty"], properties: { qty: { type: "integer" } } } },
  },
};
const READ = { type: "object", required: ["id"], properties: { id: { type: "integer" }, limit: { type: "integer" } } };
const SEND = { type: "object", required: ["to"], properties: { to: { type: "string" }, ratio: { type: "number" } } };
const TOOLS: Readonly<Record<string, unknown>> = {
  "up/search": SEARCH,
  "up/get_one": READ,
  "up/get_all": { type: "object", properties: {} },
  "up/send": SEND,
};

const CONFIG = configText().replace("servers:\n", 'servers:\n  tickets: { url: "http://127.0.0.1:9/other" }\n');
const HEAD = "apiVersion: tollgate/v1\nentitlements:\n";

/** A folder with a config, these policies and a registry that knows the tools. */
async function folder(policies: string, tools: Readonly<Record<string, unknown>> | null = TOOLS): Promise<string> {
  const at = folderOf({ "tollgate.yaml": CONFIG, "policies/a.yaml": policies });
  if (tools === null) return at;
  const store = await openControlStore(join(at, "data"));
  await store.db
    .insertInto("customer")
    .values({ key: "acme", state: "active", owner: "o", created_at: "t", created_by: "t" } as never)
    .execute();
  const someone = {
    kind: "autonomous",
    state: "active",
    owner: "o",
    purpose: "p",
    risk_class: "high",
    declared: 0,
    created_at: "t",
    created_by: "t",
  };
  await store.db
    .insertInto("agent")
    .values({ id: "agt_1", name: "clerk", customer: "acme", team: "billing", ...someone } as never)
    .execute();
  for (const [path, inputSchema] of Object.entries(tools)) {
    const [server = "", tool = ""] = path.split("/");
    const definition = JSON.stringify({ name: tool, description: "d", inputSchema });
    await store.db
      .insertInto("tool_pin")
      .values({ server, tool, sha256: "0", definition } as never)
      .execute();
  }
  await store.close();
  return at;
}

type Entry = { line: number; column: number; message: string; severity?: string };

async function check(rules: string, ...more: string[]): Promise<{ code: number; said: string[] }> {
  const at = await folder(HEAD + rules);
  const { code, out } = await tollgate(["check", "--json", "-c", join(at, "tollgate.yaml"), ...more]);
  const entries = JSON.parse(out) as Entry[];
  return { code, said: entries.map(({ line, column, message, severity = "error" }) => `${line}:${column} ${severity} ${message}`) };
}

const rule = (when: string, about = "permit: [up/search]") => `  - { name: a, ${about}, when: "${when}" }`;

describe("a condition and the tool that it is about", () => {
  test.each([
    ["args.limt <= 5", 49, "when: up/search has no argument limt; did you mean limit?"],
    ["args.limit < 5 && args.filter.stauts == 'x'", 74, "when: up/search has no argument filter.stauts; did you mean filter.status?"],
    ["args.items.all(i, i.qyt < 3)", 64, "when: up/search has no argument items[].qyt; did you mean items[].qty?"],
    ["args.limit == '5'", 44, "when: up/search: limit is a number and never equals a text: leave out the quotes"],
    ["args.nothing == 1", 49, "when: up/search has no argument nothing; it has limit, state, page, ratio, filter, items"],
  ])("%s is an error at its place", async (when, column, message) => {
    const { code, said } = await check(rule(when));
    expect(said).toEqual([`3:${column} error entitlements[0].${message}`]);
    expect(code).toBe(78);
  });

  test.each([
    ["has(args.state) && args.state == 'opne'", 'up/search: state is never "opne"; there is "open", "closed"'],
    [
      "args.page < 9",
      "up/search: page may be left out; without it this permit does not apply. If that is not meant, write !has(args.page) || ... to permit it",
    ],
    [
      "has(args.ratio) && args.ratio + 1 > 2",
      'up/search: the condition cannot be evaluated with the arguments {"limit":1,"state":"open","page":1,"ratio":1.5,',
    ],
    [
      "args.items[0].qty == 1",
      'up/search: the condition cannot be evaluated with the arguments {"limit":1,"state":"open","page":1,"ratio":1,"filter":{"status":"a text"},"items":[]}',
    ],
  ])("%s is a warning", async (when, message) => {
    const { code, said } = await check(rule(when));
    expect(said).toEqual([expect.stringContaining(message)]);
    expect(said[0]).toMatch(/^3:\d+ warning entitlements\[0\]\.when: /);
    expect(code).toBe(0);
  });

  test("of a forbid says that it applies", async () => {
    const { said } = await check(rule("args.page > 9", "forbid: [up/search]"));
    expect(said).toEqual([
      expect.stringContaining("without it this forbid applies. If that is not meant, write has(args.page) && ... to let it pass"),
    ]);
  });

  test.each(["args.limit <= 100", "args.limit < 99.5", "has(args.ratio) && args.ratio > 1", "args.items.all(i, i.qty < 3)"])(
    "%s is right",
    async (when) => {
      expect(await check(rule(when))).toEqual({ code: 0, said: [] });
    },
  );
});

describe("a condition of several tools", () => {
  const about = "permit: [up/search, up/get_one, up/send]";
  test.each([
    ["args.lmit < 5", "error", "none of the 3 known tools that this rule is about has an argument lmit; did you mean limit?"],
    [
      "args.to == 'a'",
      "warning",
      "up/search, up/get_one have no argument to: there this permit does not apply. If that is not meant, write !has(args.to) || ... to permit it",
    ],
    ["has(args.tp)", "error", "has an argument tp; did you mean to?"],
    ["has(args.ratio) && args.ratio > 'x'", "error", "up/search, up/send: ratio is a number and cannot be compared by > with a text"],
  ])("%s: %s", async (when, severity, message) => {
    const { said } = await check(rule(when, about));
    expect(said).toEqual([expect.stringContaining(message)]);
    expect(said[0]).toContain(` ${severity} `);
  });

  test("asks with has, or for the tool's name, and is right", async () => {
    expect((await check(rule("!has(args.to) || args.to == 'a'", about))).said).toEqual([]);
    expect((await check(rule("tool != 'send' || args.to == 'a'", about))).said).toEqual([]);
  });

  test("that may be about tools nobody has seen is no error", async () => {
    expect((await check(rule("args.lmit < 5", "permit: ['*/search']"))).said).toEqual([
      expect.stringMatching(/warning .*up\/search has no argument lmit/),
      expect.stringMatching(/note .*the tools of tickets are not known yet, so a rule about it could not be compared/),
    ]);
  });
});

describe("names that nobody has", () => {
  test.each([
    ["permit: [up/serach]", "up/serach matches no tool of up; nearest: up/search"],
    ["forbid: ['up/drop_*']", "up/drop_* matches no tool of up; it has search, get_one, get_all, send"],
    ["permit: ['ups/search']", "the config has no server ups, so ups/search matches nothing; did you mean up?"],
    ["who: { agent: clark }, permit: [up/search]", "no agent clark is declared or registered; nearest: clerk"],
    ["who: { team: [biling] }, permit: [up/search]", "no agent has the team biling; nearest: billing"],
    ["who: { customer: other }, permit: [up/search]", "no agent has the customer other"],
  ])("%s is a warning", async (about, message) => {
    expect((await check(`  - { name: a, ${about} }`)).said).toEqual([expect.stringMatching(/^3:\d+ warning /)]);
    expect((await check(`  - { name: a, ${about} }`)).said[0]).toContain(message);
  });

  test.each([
    "permit: ['up/get_*']",
    "forbid: ['*/delete_*']",
    "permit: ['prompt:up/anything', 'resource:up/file:///a']",
    "who: { agent: [clerk, agt_1, 'new-*'], customer: acme }, permit: [up/search]",
    "permit: ['tickets/*']",
  ])("%s is right", async (about) => {
    expect((await check(`  - { name: a, ${about} }`)).said).toEqual([]);
  });

  test("a server that was never listed is told once, whatever depends on it", async () => {
    const rules = `  - { name: a, permit: [tickets/one, tickets/two] }\n  - { name: b, forbid: [tickets/one], when: args.x == 1 }\n`;
    expect((await check(rules)).said).toEqual([
      "3:25 note entitlements[0].permit[0]: the tools of tickets are not known yet, so 2 rules about it could not be compared with them: the gateway lists them when an agent first asks",
    ]);
  });
});

describe("rules beside each other", () => {
  test("written twice, over, and taken away are warnings", async () => {
    const { code, said } =
      await check(`  - { name: a, who: { team: billing, agent: clerk }, permit: [up/search, up/send], when: "args.x == 1 || true" }
  - { name: over, permit: [up/get_one], from: 2020-01-01, until: 2020-02-01 }
  - { name: dead, who: { team: billing }, permit: [up/get_one] }
  - { name: not, forbid: ["up/get_*"] }
  - { name: z, permit: [up/send, up/search], who: { agent: clerk, team: [billing] }, when: "args.x == 1 || true" }
`);
    expect(code).toBe(78);
    expect(said.filter((each) => each.includes(".name: "))).toEqual([
      "4:13 warning entitlements[1].name: ended at 2020-02-01T00:00:00.000Z and never counts again: remove it",
      "5:13 warning entitlements[2].name: permits nothing: the forbid not (policies/a.yaml:6) takes all of it away",
      "7:13 warning entitlements[4].name: says the same as a (policies/a.yaml:3): one of them is enough",
    ]);
  });

  test("a forbid for others, for some of it, or under a condition takes nothing away", async () => {
    const { said } = await check(`  - { name: a, who: { team: billing }, permit: [up/get_one] }
  - { name: b, who: { agent: clerk }, forbid: ["up/get_*"] }
  - { name: c, permit: [up/search, up/send] }
  - { name: d, forbid: [up/search] }
  - { name: e, forbid: [up/send], when: args.to == 'x' }
  - { name: f, shadow: true, forbid: ["up/*"] }
`);
    expect(said).toEqual([]);
  });
});

describe("what check says of it", () => {
  const WARNED = `${HEAD}  - { name: a, permit: [up/serach] }\n`;

  test("warnings stand on their own lines, and only --strict fails for them", async () => {
    const file = join(await folder(WARNED), "tollgate.yaml");
    const plain = await tollgate(["check", "-c", file]);
    expect(plain).toMatchObject({ code: 0, out: `${file}: 0 problems, 1 warning` });
    expect(plain.err).toMatch(/policies\/a\.yaml:3:25: warning: entitlements\[0\]\.permit\[0\]: up\/serach matches no tool/);
    expect(await tollgate(["check", "--strict", "-c", file])).toMatchObject({
      code: 78,
      err: expect.stringContaining("0 problems, 1 warning"),
    });
  });

  test("a fresh folder knows no tools: nothing is compared, and --strict passes", async () => {
    const at = await folder(`${HEAD}  - { name: a, permit: [up/serach], when: args.limt == 1 }\n`, null);
    const { code, err } = await tollgate(["check", "--strict", "-c", join(at, "tollgate.yaml")]);
    expect([code, err]).toEqual([0, expect.stringMatching(/: note: .*the tools of up are not known yet/)]);
  });

  test("a registry that cannot be read is a warning", async () => {
    const at = await folder(WARNED);
    for (const end of ["", "-wal", "-shm"]) rmSync(join(at, `data/control.db${end}`), { force: true });
    writeFileSync(join(at, "data/control.db"), "this is no database at all".repeat(100));
    const { code, err } = await tollgate(["check", "-c", join(at, "tollgate.yaml")]);
    expect([code, err]).toEqual([
      0,
      expect.stringContaining("warning: the registry could not be asked for tools and agents: file is not a database"),
    ]);
  });

  test("names of tools cannot steer the terminal", async () => {
    const at = await folder(`${HEAD}  - { name: a, permit: [up/x] }\n`, { "up/\u001b[2Jevil": {} });
    const { err } = await tollgate(["check", "-c", join(at, "tollgate.yaml")]);
    expect(err).toContain("it has \\u001b[2Jevil");
  });
});
