import { randomUUID } from "node:crypto";
import { decodeJwt, exportJWK, generateKeyPair } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { StoreUnavailable } from "../../src/call/record/journal.ts";
import { hashSecret } from "../../src/control/agents/secrets.ts";
import { type Plane, startPlane } from "./plane.ts";

type Made = { id: string; name: string; client_id: string; client_secret?: string };
type Page = { items: { id: string; name: string }[]; next_cursor: string | null };

let plane: Plane;
const asked: unknown[][] = [];

beforeAll(async () => {
  plane = await startPlane({
    scopes: ["tickets.read"],
    reader: {
      ask: (async (...question: unknown[]) => {
        asked.push(question);
        if (question[0] === "tail") return [{ sequence: 7 }, { sequence: 8 }];
        return question[1] === "call_none" ? null : { record: { agent: null, details: null } };
      }) as never,
    },
  });
});
afterAll(() => plane?.close());

const agent = (name: string, more: object = {}) => ({ name, owner: "owner@example.com", purpose: "testing", ...more });

async function json<T>(answer: Response | Promise<Response>, status: number): Promise<T> {
  const got = await answer;
  const text = await got.text();
  expect(got.status, text).toBe(status);
  expect(got.headers.get("content-type")).toMatch(status < 400 ? /^application\/json/ : /^application\/problem\+json$/);
  expect(got.headers.get("cache-control")).toBe("no-store");
  return JSON.parse(text) as T;
}

describe("agents", () => {
  test("keep the bounds of a credential that has expired when it is rotated", async () => {
    const { id } = await json<Made>(plane.admin("POST", "/api/v1/agents", agent("late-bot")), 201);
    const path = `/api/v1/agents/${id}/credentials`;
    const bounds = { scopes: ["tickets.read"], servers: ["up"], environment: "test" };
    await json(plane.admin("POST", path, { kind: "api_key", ...bounds, expires_in: "1m" }), 201);
    plane.world.nowMs += 120_000;
    await json(plane.admin("POST", path, { kind: "api_key", overlap: "1m" }), 201);
    const { items } = await json<{ items: { kind: string }[] }>(plane.admin("GET", path), 200);
    expect(items.filter(({ kind }) => kind === "api_key")).toEqual([expect.objectContaining(bounds)]);
  });

  test("are made with a secret that is shown once", async () => {
    const made = await json<Made>(
      plane.admin("POST", "/api/v1/agents", agent("triage-bot", { team: "support", risk_class: "limited" })),
      201,
    );
    expect(made).toEqual({
      id: expect.stringMatching(/^agt_/),
      name: "triage-bot",
      client_id: made.id,
      credential_id: expect.stringMatching(/^cred_/),
      client_secret: expect.stringMatching(/^tgs_/),
    });
    for (const path of ["triage-bot", made.id]) {
      const shown = await json<object>(plane.admin("GET", `/api/v1/agents/${path}`), 200);
      expect(shown).toMatchObject({
        id: made.id,
        name: "triage-bot",
        state: "active",
        team: "support",
        risk_class: "limited",
        declared: false,
      });
      expect(JSON.stringify(shown)).not.toContain("tgs_");
    }
    expect(plane.acts.at(-1)).toMatchObject({ kind: "credential.issued", by: "first" });
    expect(JSON.stringify(plane.acts)).not.toContain(made.client_secret);
  });

  test("are listed in pages, each once, in the order of their ids", async () => {
    for (let i = 0; i < 5; i++) await json(plane.admin("POST", "/api/v1/agents", agent(`page-${i}`)), 201);
    const ids: string[] = [];
    for (let after: string | null = ""; after !== null; ) {
      const page: Page = await json<Page>(plane.admin("GET", `/api/v1/agents?limit=2${after === "" ? "" : `&after=${after}`}`), 200);
      expect(page.items.length).toBeLessThanOrEqual(2);
      ids.push(...page.items.map(({ id }) => id));
      after = page.next_cursor;
    }
    expect(ids).toEqual(
      plane.registry
        .all()
        .map(({ id }) => id)
        .toSorted(),
    );
  });

  test("are listed with a limit that makes sense, whatever is asked", async () => {
    for (const limit of ["0", "-1", "x", "1.5", "", "99999999999"])
      await json<Page>(plane.admin("GET", `/api/v1/agents?limit=${limit}`), 200);
  });

  test.each<[string, object, number]>([
    ["a reserved name", { name: "agt_x" }, 422],
    ["no name", { name: undefined }, 422],
    ["a blank owner", { owner: " " }, 422],
    ["an attribute that does not exist", { rate: 1 }, 422],
    ["an owner of 600 characters", { owner: "o".repeat(600) }, 422],
    ["a kind that does not exist", { kind: "robot" }, 422],
    ["a name that is taken", { name: "triage-bot" }, 409],
  ])("are not made with %s", async (_, changes, status) => {
    const before = plane.registry.all().length;
    await json(plane.admin("POST", "/api/v1/agents", agent("another-bot", changes)), status);
    expect(plane.registry.all()).toHaveLength(before);
  });

  test("that do not exist are a 404 that names them", async () => {
    expect(await json(plane.admin("GET", "/api/v1/agents/nobody"), 404)).toMatchObject({ detail: expect.stringContaining("nobody") });
    await json(plane.admin("POST", "/api/v1/agents/nobody/credentials", {}), 404);
    await json(plane.admin("POST", "/api/v1/agents/nobody/tokens", { server: "tickets" }), 404);
  });

  test("with a credential do not get another", async () => {
    await json(plane.admin("POST", "/api/v1/agents/triage-bot/credentials", {}), 409);
  });

  test("are not made while nothing can be recorded: 503, and nothing is left behind", async () => {
    plane.world.auditFault = new StoreUnavailable("the journal cannot write");
    const answer = await plane.admin("POST", "/api/v1/agents", agent("unrecorded"));
    const minted = await plane.admin("POST", "/api/v1/agents/triage-bot/tokens", { server: "tickets" });
    plane.world.auditFault = null;
    expect(answer.headers.get("retry-after")).toBe("1");
    await json(answer, 503);
    await json(minted, 503);
    expect(plane.registry.find("unrecorded")).toBeUndefined();
  });
});

describe("an agent's own keys", () => {
  test("stand in for a secret, and none is made", async () => {
    const { publicKey } = await generateKeyPair("ES256", { extractable: true });
    const made = await json<Made>(
      plane.admin("POST", "/api/v1/agents", agent("keyed", { jwks: { keys: [await exportJWK(publicKey)] } })),
      201,
    );
    expect(made.client_secret).toBeUndefined();
  });

  const ec = { kty: "EC", crv: "P-256", x: "A".repeat(43), y: "A".repeat(43) };
  test.each<[string, object]>([
    ["a private key", { keys: [{ ...ec, d: "CANARY" }] }],
    ["a private RSA key without d", { keys: [{ kty: "RSA", n: "A".repeat(342), e: "AQAB", p: "CANARY", q: "CANARY" }] }],
    ["a symmetric key", { keys: [{ kty: "oct", k: "CANARY" }] }],
    ["a key of an unknown kind", { keys: [{ kty: "banana" }] }],
    ["no key", { keys: [] }],
    ["eleven keys", { keys: Array.from({ length: 11 }, () => ec) }],
    ["no set", []],
  ])("are refused as %s, without a word of it", async (_, jwks) => {
    const problem = await json(plane.admin("POST", "/api/v1/agents", agent("bad-keys", { jwks })), 422);
    expect(JSON.stringify(problem)).not.toContain("CANARY");
    expect(plane.registry.find("bad-keys")).toBeUndefined();
  });
});

describe("a token for an administrator's use", () => {
  test("is for one server, short, and recorded under the key's name", async () => {
    const answer = await json<{ access_token: string; expires_in: number }>(
      plane.admin("POST", "/api/v1/agents/triage-bot/tokens", { server: "tickets", scope: "tickets.read" }),
      201,
    );
    const claims = decodeJwt(answer.access_token);
    const id = plane.registry.find("triage-bot")?.id;
    expect(claims).toMatchObject({
      iss: plane.publicUrl,
      aud: `${plane.publicUrl}/mcp/tickets`,
      sub: id,
      client_id: id,
      scope: "mcp tickets.read",
    });
    expect((claims.exp ?? 0) - (claims.iat ?? 0)).toBe(answer.expires_in);
    expect(plane.acts.at(-1)).toMatchObject({
      kind: "token.issued",
      by: "first",
      details: { tokenId: claims.jti, grant: "administrator" },
    });
  });

  test("is refused for a server that does not exist, and for a scope that no permit requires", async () => {
    await json(plane.admin("POST", "/api/v1/agents/triage-bot/tokens", { server: "nothing" }), 404);
    await json(plane.admin("POST", "/api/v1/agents/triage-bot/tokens", { server: "tickets", scope: "admin" }), 422);
    const everywhere = await json<{ access_token: string }>(plane.admin("POST", "/api/v1/agents/triage-bot/tokens", { scope: "mcp" }), 201);
    expect(decodeJwt(everywhere.access_token).aud).toBe(`${plane.publicUrl}/mcp`);
  });

  test("is refused where there is no authorization server of our own, and for an agent that is suspended", async () => {
    const without = await startPlane({ authorizationServer: false });
    await without.registry.declare(new Map([["gone", agent("gone")]]));
    await json(without.admin("POST", "/api/v1/agents/gone/tokens", { server: "tickets" }), 409);
    await without.registry.declare(new Map());
    expect(await json(without.admin("POST", "/api/v1/agents/gone/tokens", { server: "tickets" }), 409)).toMatchObject({
      detail: expect.stringContaining("suspended"),
    });
    await without.close();
  });
});

describe("an Idempotency-Key", () => {
  const post = (path: string, body: object, key: string) => plane.admin("POST", path, body, { "idempotency-key": key });

  test("makes an agent once; the second time it is told which, without the secret", async () => {
    const key = randomUUID();
    const made = await json<Made>(post("/api/v1/agents", agent("once"), key), 201);
    const again = await json<{ detail: string }>(post("/api/v1/agents", agent("once"), key), 409);
    expect(again.detail).toContain(made.id);
    expect(again.detail).not.toContain("tgs_");
    expect(plane.registry.all().filter(({ name }) => name === "once")).toHaveLength(1);
  });

  test("is good for one body and one route", async () => {
    const key = randomUUID();
    await json(post("/api/v1/agents", agent("once-more"), key), 201);
    await json(post("/api/v1/agents", agent("something-else"), key), 422);
    await json(post("/api/v1/agents/once-more/tokens", { server: "tickets" }, key), 422);
    expect(plane.registry.find("something-else")).toBeUndefined();
  });

  test("mints one token, on every route that posts", async () => {
    const key = randomUUID();
    await json(post("/api/v1/agents/triage-bot/tokens", { server: "tickets" }, key), 201);
    await json(post("/api/v1/agents/triage-bot/tokens", { server: "tickets" }, key), 409);
    const issuedTokens = plane.acts.filter(({ kind }) => kind === "token.issued").length;
    await Promise.all([1, 2, 3].map(() => post("/api/v1/agents/triage-bot/tokens", { server: "crm" }, `${key}-many`)));
    expect(plane.acts.filter(({ kind }) => kind === "token.issued").length).toBe(issuedTokens + 1);
  });

  test("of a request that was refused may be used again", async () => {
    const key = randomUUID();
    await json(post("/api/v1/agents", agent("triage-bot"), key), 409);
    await json(post("/api/v1/agents", agent("free-name"), key), 201);
  });

  test("is forgotten after a day", async () => {
    const key = randomUUID();
    await json(post("/api/v1/agents/triage-bot/tokens", { server: "tickets" }, key), 201);
    plane.world.nowMs += 86_400_001;
    await json(post("/api/v1/agents/triage-bot/tokens", { server: "tickets" }, key), 201);
    plane.world.nowMs = Date.now();
  });

  test.each(["", " ", "with space", "x".repeat(256), "é"])("%j is none", async (key) => {
    const header = Buffer.from(key).toString("latin1");
    await json(plane.admin("POST", "/api/v1/agents", agent("never"), { "idempotency-key": header }), 400);
    expect(plane.registry.find("never")).toBeUndefined();
  });

  test("never keeps a secret", async () => {
    const kept = JSON.stringify(await plane.store.db.selectFrom("idempotent_post").selectAll().execute());
    expect(kept).not.toMatch(/tgs_|eyJ/);
    expect(kept).not.toContain(hashSecret("x").toString("hex"));
  });
});

describe("what is read from the journal", () => {
  test("usage is asked by known dimensions and times alone", async () => {
    asked.length = 0;
    await json(plane.admin("GET", "/api/v1/metering/usage?by=agent,tool&since=2026-11-01&until=2026-12-01T00:00:00Z"), 200);
    expect(asked).toEqual([
      ["usage", { by: ["agent", "tool"], since: "2026-11-01T00:00:00.000Z", until: "2026-12-01T00:00:00.000Z", customer: null, only: {} }],
    ]);
    asked.length = 0;
    await json(plane.admin("GET", "/api/v1/metering/usage?by=day&period=last-month&zone=Europe/Berlin&team=a&model=m"), 200);
    expect(asked).toMatchObject([
      ["usage", { by: ["day"], only: { team: "a", model: "m" }, since: expect.stringMatching(/T2[23]:00:00.000Z$/) }],
    ]);
    for (const query of [
      "by=secret",
      "by=agent;drop",
      "since=yesterday",
      "since=",
      "since=1",
      "until=2026-11-01T12:00",
      "until=%00",
      "by=__proto__",
      "secret=x",
      "day=2026-11-01",
      "period=fortnight",
      "period=month&since=2026-11-01",
      "period=month&zone=Nowhere/At-all",
    ]) {
      await json(plane.admin("GET", `/api/v1/metering/usage?${query}`), 400);
    }
    expect(asked).toHaveLength(1);
  });

  test("records come in pages, and one by its call", async () => {
    asked.length = 0;
    expect(await json(plane.admin("GET", "/api/v1/audit/records?limit=2&after=6"), 200)).toMatchObject({ next_cursor: "8" });
    await json(plane.admin("GET", "/api/v1/audit/records/call_one"), 200);
    await json(plane.admin("GET", "/api/v1/audit/root"), 200);
    expect(asked).toEqual([["tail", 2, 6, null], ["record", "call_one"], ["root"]]);
    await json(plane.admin("GET", "/api/v1/audit/records/call_none"), 404);
    await json(plane.admin("GET", "/api/v1/audit/records?after=-1"), 400);
    await json(plane.admin("GET", "/api/v1/audit/records?kind=%27%20OR%201"), 400);
  });

  test("a fault of the store is a 500 that tells nothing, and is logged", async () => {
    const broken = await startPlane({ reader: { ask: () => Promise.reject(new Error("CANARY /var/lib/journal.db")) } });
    const problem = await json(broken.admin("GET", "/api/v1/audit/root"), 500);
    expect(JSON.stringify(problem)).not.toContain("CANARY");
    expect(broken.faults).toHaveLength(1);
    await broken.close();
  });
});

test("nothing else of all this was a fault of the server", () => {
  expect(plane.faults).toEqual([]);
});
