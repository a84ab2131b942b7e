/** `npm run prove:isolation [-- --quick] [--count N] [--seed N]`: a key bound to a customer meets nothing of another's, and cannot tell it from what is not there. */
import { parseArgs } from "node:util";
import type { AgentProfile } from "../../src/call/authenticate/agent.ts";
import { isRecordOf } from "../../src/call/record/record-owner.ts";
import { isTheirs } from "../../src/control/admin/permissions.ts";
import { agentOf } from "../../src/control/admin/registry-answers.ts";
import type { Registry } from "../../src/control/agents/registry.ts";
import { type Random, seededRandom } from "../fixtures/seeded-random.ts";
import { type Plane, startPlane } from "./plane.ts";

export type Report = { readonly seed: number; readonly trials: number; readonly crossed: number; readonly violations: readonly string[] };

const CUSTOMERS = ["acme", "acme.x", "Acme", "default", "globex", "initech"];
const pick = <T>(random: Random, from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;

export type Judges = { readonly isTheirs: typeof isTheirs; readonly agentOf: typeof agentOf; readonly isRecordOf: typeof isRecordOf };

/** Random (customer, agent, object): what the pure functions let through against a model that knows only whose each thing is. */
export function proveVisibility(seed: number, count: number, judges: Judges = { isTheirs, agentOf, isRecordOf }): Report {
  const random = seededRandom(seed);
  const violations: string[] = [];
  let crossed = 0;
  for (let i = 0; i < count; i++) {
    const [mine, whose, before] = [pick(random, CUSTOMERS), pick(random, CUSTOMERS), pick(random, CUSTOMERS)];
    const bound = { name: "key", role: "admin", customer: mine } as const;
    const profile = { id: `agt_${i}`, name: `bot-${i}`, customer: whose } as AgentProfile;
    const registry = { find: (wanted: string) => (wanted === profile.id || wanted === profile.name ? profile : undefined) } as Registry;
    const own = mine === whose;
    const asked = pick(random, ["agent by id", "agent by name", "row", "call", "act", "act by agent", "move", "gateway"] as const);
    const customerOf = (id: string) => (id === profile.id ? whose : undefined);
    const record = (agent: object | null, details: object | null) => judges.isRecordOf({ agent, details } as never, mine, customerOf);
    const seen: Record<typeof asked, () => boolean> = {
      "agent by id": () => judges.agentOf(registry, bound, profile.id) !== null,
      "agent by name": () => judges.agentOf(registry, bound, profile.name) !== null,
      row: () => judges.isTheirs(bound, whose),
      call: () => record({ id: profile.id, customer: whose }, null),
      // The agent works for another customer by now: the record is of the one that it names.
      act: () => record(null, { customer: whose, agent_id: `agt_${i + 1}` }),
      "act by agent": () => record(null, { agent_id: profile.id }),
      move: () => record(null, { customer: whose, was: JSON.stringify({ customer: before }) }),
      gateway: () => record(null, { recovered_calls: 1 }),
    };
    const expected = asked === "gateway" ? false : asked === "move" ? own && before === mine : own;
    if (!own) crossed += 1;
    if (seen[asked]() !== expected && violations.length < 20)
      violations.push(`${asked}: key of ${mine}, thing of ${whose} (before: ${before})`);
  }
  return { seed, trials: count, crossed, violations };
}

type Thing = {
  readonly customer: string;
  readonly id: string;
  readonly name: string;
  readonly secret: string;
  readonly credentialId: string;
};
type World = {
  readonly plane: Plane;
  readonly things: readonly Thing[];
  readonly keys: ReadonlyMap<string, string>;
  readonly adminKeyIds: ReadonlyMap<string, string>;
};

const ROLES = ["admin", "operator", "auditor"] as const;

/** The whole API as it is served: the same question about another's thing and about nothing must be answered with the same bytes. */
export async function proveFrontDoor(seed: number, count: number): Promise<Report> {
  const world = await openWorld();
  const random = seededRandom(seed);
  const violations: string[] = [];
  let crossed = 0;
  try {
    for (let i = 0; i < count; i++) {
      const mine = pick(random, CUSTOMERS);
      const thing = pick(random, world.things);
      const role = pick(random, ROLES);
      const question = pick(random, QUESTIONS);
      const foreign = thing.customer !== mine;
      if (!foreign) continue;
      crossed += 1;
      const key = world.keys.get(`${mine} ${role}`) ?? "";
      const about = await ask(world, key, question(random, thing, world));
      const aboutNothing = await ask(world, key, question(seededRandom(i), nothingLike(random, i), world));
      if (about.shape !== aboutNothing.shape && violations.length < 20)
        violations.push(`${role} of ${mine} on ${about.path}: ${about.shape} is not ${aboutNothing.shape}`);
      const told = [thing.id, thing.credentialId, thing.secret, `"${thing.customer}"`].find((text) => about.text.includes(text));
      if (told !== undefined && violations.length < 20) violations.push(`${role} of ${mine} on ${about.path}: the answer has ${told}`);
    }
    for (const { id, name, customer } of world.things) {
      const profile = world.plane.registry.byId(id);
      if (profile?.state !== "active" || profile.name !== name || profile.customer !== customer) violations.push(`${name} was changed`);
      if (world.plane.registry.credentialsOf(id).length !== 1) violations.push(`the credentials of ${name} were changed`);
    }
    return { seed, trials: count, crossed, violations };
  } finally {
    await world.plane.close();
  }
}

type Question = { readonly method: string; readonly path: string; readonly body?: object };
type Asking = (random: Random, thing: Thing, world: World) => Question;

const QUESTIONS: readonly Asking[] = [
  (random, thing) => ({ method: "GET", path: `/agents/${named(random, thing)}` }),
  (random, thing) => ({ method: "GET", path: `/agents/${named(random, thing)}/credentials` }),
  (random, thing) => ({ method: "GET", path: `/agents/${named(random, thing)}/budgets` }),
  (random, thing) => ({ method: "PATCH", path: `/agents/${named(random, thing)}`, body: { team: "taken" } }),
  (random, thing) => ({ method: "POST", path: `/agents/${named(random, thing)}/suspend`, body: { reason: "x" } }),
  (random, thing) => ({ method: "POST", path: `/agents/${named(random, thing)}/revoke`, body: {} }),
  (random, thing) => ({ method: "POST", path: `/agents/${named(random, thing)}/tokens`, body: { server: "tickets" } }),
  (random, thing) => ({ method: "POST", path: `/agents/${named(random, thing)}/credentials`, body: { overlap: "0" } }),
  (random, thing) => ({ method: "POST", path: `/agents/${named(random, thing)}/credentials/${thing.credentialId}/revoke`, body: {} }),
  (_, thing) => ({ method: "POST", path: "/leaks", body: { text: thing.secret } }),
  (_, thing) => ({ method: "POST", path: "/agents/offboard", body: { owner: `owner-of-${thing.name}` } }),
  (_, thing) => ({ method: "POST", path: "/agents", body: { name: "another", customer: thing.customer } }),
  (_, thing) => ({ method: "POST", path: "/agents/import", body: { agents: [{ name: "another", customer: thing.customer }] } }),
  (_, thing) => ({ method: "GET", path: `/agents?customer=${thing.customer}` }),
  (_, thing) => ({ method: "GET", path: `/agents?owner=owner-of-${thing.name}` }),
  (_, thing) => ({ method: "GET", path: `/agents?team=team-of-${thing.name}&limit=1` }),
  (_, thing) => ({ method: "GET", path: `/customers/${thing.customer}` }),
  (_, thing) => ({ method: "PATCH", path: `/customers/${thing.customer}`, body: { agents_max: 0 } }),
  (_, thing) => ({ method: "POST", path: `/customers/${thing.customer}/end`, body: {} }),
  (_, thing, { adminKeyIds }) => ({
    method: "POST",
    path: `/admin-keys/${adminKeyIds.get(thing.customer) ?? "key_none"}/revoke`,
    body: {},
  }),
  (_, thing) => ({ method: "POST", path: "/admin-keys", body: { name: "k", role: "viewer", customer: thing.customer } }),
  (_, thing) => ({ method: "GET", path: `/audit/records/call_of_${thing.name}` }),
];

const named = (random: Random, thing: Thing): string => (random() < 0.5 ? thing.id : thing.name);

function nothingLike(random: Random, i: number): Thing {
  const number = Math.floor(random() * 1e9);
  return {
    customer: `nobody-${i}`,
    id: `agt_${number}`,
    name: `nothing-${number}`,
    secret: `tgs_${number}${i}`,
    credentialId: `cred_${number}`,
  };
}

async function ask(
  { plane }: World,
  key: string,
  { method, path, body }: Question,
): Promise<{ path: string; shape: string; text: string }> {
  const headers = { authorization: `Bearer ${key}` };
  const answer = await plane.admin(method, `/api/v1${path}`, body, headers);
  const text = await answer.text();
  const kept = [...answer.headers].filter(([name]) => name !== "date" && name !== "keep-alive");
  return { path: `${method} ${path}`, shape: JSON.stringify([answer.status, kept, text]), text };
}

const AGENTS_EACH = 4;

async function openWorld(): Promise<World> {
  const things: Thing[] = [];
  const plane = await startPlane({
    reader: {
      ask: (async (name: string, wanted: string) => {
        const of = things.find((thing) => wanted === `call_of_${thing.name}`);
        if (name !== "record") return [];
        return of === undefined ? null : { record: { agent: { id: of.id, customer: of.customer }, details: null }, proof: {} };
      }) as never,
    },
  });
  const keys = new Map<string, string>();
  const adminKeyIds = new Map<string, string>();
  const post = async (path: string, body: object) =>
    (await plane.admin("POST", `/api/v1${path}`, body)).json() as Promise<Record<string, string>>;
  for (const [c, customer] of CUSTOMERS.entries()) {
    for (const role of ROLES) {
      const made = await post("/admin-keys", { name: `${role}-${c}`, role, customer });
      keys.set(`${customer} ${role}`, made.key ?? "");
      adminKeyIds.set(customer, made.id ?? "");
    }
    for (let i = 0; i < AGENTS_EACH; i++) {
      const name = `bot-${c}-${i}`;
      const made = await post("/agents", { name, customer, owner: `owner-of-${name}`, team: `team-of-${name}` });
      const { id = "", client_secret: secret = "", credential_id: credentialId = "" } = made;
      things.push({ customer, id, name, secret, credentialId });
    }
  }
  return { plane, things, keys, adminKeyIds };
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { quick: { type: "boolean" }, seed: { type: "string" }, count: { type: "string" } } });
  const seed = Number(values.seed ?? Date.now() % 1_000_000_000);
  const count = Number(values.count ?? (values.quick === true ? 20_000 : 100_000));
  const reports = { "pure functions": proveVisibility(seed, count), "front door": await proveFrontDoor(seed, Math.ceil(count / 20)) };
  for (const [where, report] of Object.entries(reports)) {
    process.stdout.write(
      `${where}: ${report.trials} trials, ${report.crossed} across customers, ${report.violations.length} violations, seed ${seed}\n`,
    );
    for (const violation of report.violations) process.stdout.write(`  ${violation}\n`);
  }
  process.exitCode = Object.values(reports).some(({ violations }) => violations.length > 0) ? 1 : 0;
}
