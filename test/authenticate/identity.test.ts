/** Who calls: from verified claims and the directory, judged anew at every call, known at once while nothing has changed (J11, J13, R1 to R3). */
import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import type { AgentId, ServerName } from "../../src/ids.ts";
import {
  authenticator,
  BOT,
  directoryOf,
  EXTERNAL,
  expectAgent,
  externalIssuer,
  type Members,
  makeKey,
  NOTHING_ELSE,
  NOW_MS,
  NOW_S,
  noteOf,
  ownIssuer,
  profile,
  SERVER,
  token,
} from "./issuer.ts";

const es = makeKey("ES256", "es-1");
const idpKeys = [es.publicJwk];
const idp = externalIssuer({ jwks: { kind: "local", keys: () => idpKeys }, agentClaim: ["azp"] });
const OTHER = "agt_other" as AgentId;

function setUp() {
  const directory = directoryOf(profile(), profile({ id: OTHER, name: "other-bot" }));
  const authenticate = authenticator({ issuers: [ownIssuer(es), idp], directory });
  const ask = async (accessToken: string, server = SERVER, nowMs = NOW_MS) => authenticate(`Bearer ${accessToken}`, server, nowMs);
  return { directory, authenticate, ask };
}

const external = (claims: Members) =>
  token(es, { iss: EXTERNAL, client_id: undefined, jti: undefined, sub: "ann@example.com", azp: "triage-bot", ...claims });

test("a token of ours names the agent, its rights and its end", async () => {
  const agent = expectAgent(await setUp().ask(token(es, { roles: ["reader"], instance: "pod-7" })));
  expect(agent).toMatchObject({
    subject: null,
    actors: [],
    roles: ["reader"],
    instance: "pod-7",
    clientId: BOT,
    tokenId: "jti-1",
    expiresAtMs: (NOW_S + 600) * 1000,
  });
  expect([...agent.scopes]).toEqual(["mcp", "tickets.read"]);
});

test("a verified token is known at once, without a promise", async () => {
  const { authenticate } = setUp();
  const header = `Bearer ${token(es)}`;
  const agent = expectAgent(await authenticate(header, SERVER, NOW_MS));
  expect(authenticate(header, SERVER, NOW_MS)).toBe(agent);
  expect(authenticate(header.replace("Bearer", "bearer"), SERVER, NOW_MS)).toBe(agent);
});

test("a known token is refused at once on another route, and after its end", async () => {
  const { authenticate } = setUp();
  const header = `Bearer ${token(es)}`;
  expectAgent(await authenticate(header, SERVER, NOW_MS));
  expect(authenticate(header, "billing" as ServerName, NOW_MS)).toMatchObject({
    refused: "credential_invalid",
    note: "aud is not this resource",
  });
  expectAgent(await authenticate(header, SERVER, (NOW_S + 629) * 1000));
  expect(noteOf(await authenticate(header, SERVER, (NOW_S + 630) * 1000))).toBe("credential_invalid: the access token has expired");
});

test.each([
  ["suspended", "agent_suspended"],
  ["revoked", "agent_revoked"],
] as const)("an agent that was %s is refused on its very next call, and comes back when it is active again", async (state, reason) => {
  const { authenticate, directory } = setUp();
  const header = `Bearer ${token(es)}`;
  expectAgent(await authenticate(header, SERVER, NOW_MS));
  directory.setState(BOT, state);
  expect(authenticate(header, SERVER, NOW_MS)).toMatchObject({ refused: reason });
  directory.setState(BOT, "active");
  expectAgent(await authenticate(header, SERVER, NOW_MS));
});

test("what the directory says of an agent is of this moment", async () => {
  let team = "support";
  const directory = { byId: () => profile({ team }), byName: () => undefined, ...NOTHING_ELSE };
  const authenticate = authenticator({ issuers: [ownIssuer(es)], directory });
  const header = `Bearer ${token(es)}`;
  expect(expectAgent(await authenticate(header, SERVER, NOW_MS)).profile.team).toBe("support");
  team = "billing";
  expect(expectAgent(await authenticate(header, SERVER, NOW_MS)).profile.team).toBe("billing");
});

test("an agent that nobody registered is unknown, and a token of ours names it by id only", async () => {
  const { ask } = setUp();
  expect(noteOf(await ask(token(es, { sub: "agt_nobody", client_id: "agt_nobody" })))).toBe("agent_unknown: null");
  expect(noteOf(await ask(token(es, { sub: "triage-bot", client_id: "triage-bot" })))).toBe("agent_unknown: null");
});

test("J11 tokens that are alike in their first 64 characters are two identities", async () => {
  const { ask } = setUp();
  const [one, two] = [token(es), token(es, { sub: OTHER, client_id: OTHER })];
  expect(one.slice(0, 64)).toBe(two.slice(0, 64));
  expect(expectAgent(await ask(one)).profile.id).toBe(BOT);
  expect(expectAgent(await ask(two)).profile.id).toBe(OTHER);
});

test("L8 the ECDSA twin of a token is the same identity, token id and principal", async () => {
  const { ask } = setUp();
  const accessToken = token(es);
  const [head, body, signature = ""] = accessToken.split(".");
  const raw = Buffer.from(signature, "base64url");
  const order = BigInt("0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
  const s = order - BigInt(`0x${raw.subarray(32).toString("hex")}`);
  const twin = `${head}.${body}.${Buffer.concat([raw.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, "0"), "hex")]).toString("base64url")}`;
  expect(twin).not.toBe(accessToken);
  const agents = [expectAgent(await ask(accessToken)), expectAgent(await ask(twin))];
  expect(new Set(agents.map((agent) => agent.principal)).size).toBe(1);
  expect(new Set(agents.map((agent) => agent.tokenId)).size).toBe(1);
});

test("keys that change in this process end the tokens of those that left", async () => {
  const next = makeKey("ES256", "es-2");
  let keys = [es.publicJwk];
  const authenticate = authenticator({ issuers: [{ ...ownIssuer(), jwks: { kind: "local", keys: () => keys } }] });
  const header = `Bearer ${token(es)}`;
  expectAgent(await authenticate(header, SERVER, NOW_MS));
  keys = [{ ...es.publicJwk }];
  expect(authenticate(header, SERVER, NOW_MS)).not.toBeInstanceOf(Promise);
  keys = [next.publicJwk];
  expect(noteOf(await authenticate(header, SERVER, NOW_MS))).toBe("credential_invalid: kid is not a key of the issuer");
  expectAgent(await authenticate(`Bearer ${token(next)}`, SERVER, NOW_MS));
});

test("the access token is never printed with the agent", async () => {
  const accessToken = token(es);
  const agent = expectAgent(await setUp().ask(accessToken));
  expect(`${JSON.stringify(agent)} ${inspect(agent, { depth: 9 })} ${agent.accessToken}`).not.toContain(accessToken.slice(-20));
  expect(agent.accessToken.reveal()).toBe(accessToken);
});

describe("delegation", () => {
  test("in a token of ours with act the outermost actor is the agent, for the subject", async () => {
    const act = { sub: BOT, act: { sub: "agt_before" } };
    const agent = expectAgent(await setUp().ask(token(es, { sub: "ann@example.com", act })));
    expect(agent).toMatchObject({ profile: { id: BOT }, subject: "ann@example.com", actors: [BOT, "agt_before"] });
  });

  test("O31 four actors are the most", async () => {
    const act = { sub: BOT, act: { sub: "a", act: { sub: "b", act: { sub: "c" } } } };
    expect(expectAgent(await setUp().ask(token(es, { sub: "ann", act }))).actors).toEqual([BOT, "a", "b", "c"]);
    expect(noteOf(await setUp().ask(token(es, { sub: "ann", act: { sub: BOT, act } })))).toBe(
      "credential_invalid: act is not a chain of at most 4 actors",
    );
  });

  test("a nested actor has no rights of its own", async () => {
    const { directory, ask } = setUp();
    directory.setState(OTHER, "revoked");
    const agent = expectAgent(await ask(token(es, { sub: "ann", act: { sub: BOT, act: { sub: OTHER } } })));
    expect(agent.profile.id).toBe(BOT);
  });

  test("a client that is not the outermost actor is refused", async () => {
    const answer = await setUp().ask(token(es, { sub: "ann", act: { sub: OTHER } }));
    expect(noteOf(answer)).toBe("credential_invalid: client_id is not the agent");
  });
});

describe("a token of an external issuer", () => {
  test.each(["triage-bot", BOT])("names the agent by its claim, as %s, and the subject beside it", async (azp) => {
    const agent = expectAgent(await setUp().ask(external({ azp })));
    expect(agent).toMatchObject({ profile: { id: BOT }, subject: "ann@example.com", issuer: EXTERNAL, clientId: null, tokenId: null });
  });

  test("has no subject where sub is the agent itself", async () => {
    expect(expectAgent(await setUp().ask(external({ sub: "triage-bot" }))).subject).toBeNull();
  });

  test.each([
    ["missing", undefined],
    ["a list", ["triage-bot"]],
    ["empty", ""],
    ["a text with a newline", "triage-bot\n"],
  ])("is refused where the claim that names the agent is %s", async (_name, azp) => {
    expect(noteOf(await setUp().ask(external({ azp })))).toMatch(
      /^credential_invalid: the claim that names the agent is (missing|not a clean string)$/,
    );
  });

  test("of an agent that nobody registered is refused", async () => {
    expect(noteOf(await setUp().ask(external({ azp: "stranger" })))).toBe("agent_unknown: null");
  });

  test("names the agent by a nested claim, never by a member that every object inherits", async () => {
    const asking = (agentClaim: string[]) => authenticator({ issuers: [{ ...idp, agentClaim }] });
    const header = `Bearer ${external({ realm: { agent: "triage-bot" } })}`;
    expectAgent(await asking(["realm", "agent"])(header, SERVER, NOW_MS));
    expect(noteOf(await asking(["constructor", "name"])(header, SERVER, NOW_MS))).toMatch(
      /^credential_invalid: the claim that names the agent/,
    );
  });

  test("counts on every route where an audience is configured, and only with that audience", async () => {
    const authenticate = authenticator({ issuers: [{ ...idp, audience: "api://tollgate" }] });
    const ask = async (aud: string, server: string) =>
      noteOf(await authenticate(`Bearer ${external({ aud })}`, server as ServerName, NOW_MS));
    expect(await ask("api://tollgate", "tickets")).toBe("an agent");
    expect(await ask("api://tollgate", "billing")).toBe("an agent");
    expect(await ask("https://gw.example/mcp/tickets", "tickets")).toBe("credential_invalid: aud is not this resource");
  });

  test("may live as long as its issuer is allowed, and no longer", async () => {
    const authenticate = authenticator({ issuers: [{ ...idp, maxLifetimeMs: 60_000 }] });
    const ask = async (exp: number) => noteOf(await authenticate(`Bearer ${external({ iat: NOW_S, exp })}`, SERVER, NOW_MS));
    expect(await ask(NOW_S + 60)).toBe("an agent");
    expect(await ask(NOW_S + 61)).toBe("credential_invalid: the lifetime is too long");
  });
});

test("R3 the principal differs wherever issuer, subject, client, agent or instance does", async () => {
  const { ask } = setUp();
  const tokens = [
    token(es),
    token(es, { instance: "pod-1" }),
    token(es, { instance: "pod-2" }),
    token(es, { sub: OTHER, client_id: OTHER }),
    token(es, { sub: "ann", act: { sub: BOT } }),
    token(es, { sub: "bob", act: { sub: BOT } }),
    external({}),
    external({ sub: "bob" }),
    external({ client_id: "app" }),
    external({ sub: BOT, azp: BOT, client_id: BOT }),
  ];
  const principals = await Promise.all(tokens.map(async (accessToken) => expectAgent(await ask(accessToken)).principal));
  expect(new Set(principals).size).toBe(tokens.length);
  expect(expectAgent(await ask(token(es, { jti: "jti-2", scope: "mcp" }))).principal).toBe(principals[0]);
});

test("a workflow in the token fills a gap in the registry and never overrides it", async () => {
  const directory = directoryOf(profile(), profile({ id: OTHER, name: "other-bot", workflow: "registered" }));
  const authenticate = authenticator({ issuers: [ownIssuer(es)], directory });
  const ask = async (id: string) =>
    expectAgent(await authenticate(`Bearer ${token(es, { sub: id, client_id: id, workflow: "claimed" })}`, SERVER, NOW_MS));
  expect((await ask(BOT)).profile.workflow).toBe("claimed");
  expect((await ask(OTHER)).profile.workflow).toBe("registered");
});

test("memory is bounded: a token that was pushed out is verified again", async () => {
  const authenticate = authenticator({ issuers: [ownIssuer(es)], limits: { verifiedMax: 2 } });
  const headers = [1, 2, 3].map((i) => `Bearer ${token(es, { jti: `j${i}` })}`);
  for (const header of headers) expectAgent(await authenticate(header, SERVER, NOW_MS));
  expect(authenticate(headers[2] ?? "", SERVER, NOW_MS)).not.toBeInstanceOf(Promise);
  expect(authenticate(headers[0] ?? "", SERVER, NOW_MS)).toBeInstanceOf(Promise);
});
