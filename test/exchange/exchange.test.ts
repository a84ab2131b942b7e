/** What an upstream is shown: obtained from a real authorization server, kept until shortly before its end, never shared between principals (O13, O31, O36). */
import { inspect } from "node:util";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { AccessToken } from "../../src/call/authenticate/agent.ts";
import { type AuthorizationServer, CLIENT_SECRET, RESOURCE, startAuthorizationServer } from "./authorization-server.ts";
import {
  accessTokenOf,
  agent,
  clientCredentials,
  exchanging,
  expectIssued,
  gatewayJwk,
  named,
  noteOf,
  PUBLIC_URL,
  START_MS,
  secret,
  secretClient,
  sign,
  tokenExchange,
} from "./caller.ts";

let server: AuthorizationServer;
beforeAll(async () => {
  server = await startAuthorizationServer({ accessTokenSeconds: 300, subjectKeys: [gatewayJwk] });
});
afterAll(() => server.close());
beforeEach(() => {
  server.asked.length = 0;
});

describe("credentials that need no request", () => {
  test("none shows nothing", async () => {
    const issued = expectIssued(await exchanging({ kind: "none" }).exchange());
    expect(issued).toMatchObject({ kind: "none", expiresAtMs: null, shareKey: "none" });
    expect(Object.entries(issued.headers)).toEqual([]);
  });

  test("bearer and header show their secret, at once and to nobody else", async () => {
    const bearer = exchanging({ kind: "bearer", bearer: secret("canary-1") }).exchangeAtOnce();
    const header = exchanging({ kind: "header", name: "X-Api-Key", value: secret("canary-2") }).exchangeAtOnce();
    if (bearer instanceof Promise || header instanceof Promise) throw new Error("not at once");
    expect(Object.entries(expectIssued(bearer).headers)).toEqual([["authorization", "Bearer canary-1"]]);
    expect(Object.entries(expectIssued(header).headers)).toEqual([["x-api-key", "canary-2"]]);
    const printed = `${JSON.stringify([bearer, header])} ${inspect([bearer, header], { depth: 9 })} ${expectIssued(bearer).headers}`;
    expect(printed).not.toContain("canary");
    expect(printed).toContain("[redacted]");
  });

  test.each(["with\nnewline", "with\r\nX-Admin: 1", "", " ", "with\0nul", "caf\u00e9"])(
    "a secret that cannot stand in a header stops the start: %j",
    (text) => {
      const start = () => exchanging({ kind: "header", name: "x-api-key", value: secret(text) });
      expect(start).toThrow("the credential of server tickets cannot stand in a header");
    },
  );
});

describe("client credentials", () => {
  test("a token for the resource is obtained with the secret, and shared by all agents", async () => {
    const { exchange } = exchanging(clientCredentials(server.issuer));
    const issued = expectIssued(await exchange());
    expect(await server.verify(accessTokenOf(issued))).toMatchObject({ aud: RESOURCE, scope: "tickets", client_id: "tollgate" });
    expect(issued).toMatchObject({ kind: "clientCredentials", expiresAtMs: START_MS + 300_000, shareKey: "clientCredentials" });
    expect(await exchange(named("agt_other"))).toBe(issued);
    expect(server.asked).toEqual([expect.objectContaining({ grant_type: "client_credentials", resource: RESOURCE, scope: "tickets" })]);
  });

  test("a kept token is there at once, and renewed 30 s before its end", async () => {
    const { exchange, exchangeAtOnce, clock } = exchanging(clientCredentials(server.issuer));
    const issued = expectIssued(await exchange());
    clock.nowMs = START_MS + 269_999;
    expect(exchangeAtOnce()).toBe(issued);
    clock.nowMs = START_MS + 270_000;
    expect(expectIssued(await exchange())).not.toBe(issued);
    expect(server.asked).toHaveLength(2);
  });

  test("50 calls at a time cause one request", async () => {
    const { exchange } = exchanging(clientCredentials(server.issuer));
    const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => exchange(named(`agt_${i}`))));
    expect(new Set(answers).size).toBe(1);
    expect(server.asked).toHaveLength(1);
  });

  test("after the upstream refused a token, many callers together cause one new request", async () => {
    const { exchange, invalidate, clock } = exchanging(clientCredentials(server.issuer));
    const refused = expectIssued(await exchange());
    clock.nowMs += 1000;
    const callers = Array.from({ length: 20 }, (_, i) => named(`agt_${i}`));
    const again = await Promise.all(
      callers.map((caller) => {
        invalidate(caller, refused);
        return exchange(caller);
      }),
    );
    expect(new Set(again).size).toBe(1);
    expect(again[0]).not.toBe(refused);
    for (const caller of callers) invalidate(caller, refused);
    expect(await exchange()).toBe(again[0]);
    expect(server.asked).toHaveLength(2);
  });

  test("an upstream that refuses every token causes one request a second at most", async () => {
    const { exchange, invalidate, clock } = exchanging(clientCredentials(server.issuer));
    for (let i = 0; i < 100; i++) {
      invalidate(agent(), expectIssued(await exchange()));
      clock.nowMs += 20;
    }
    expect(server.asked).toHaveLength(2);
  });

  test("a wrong secret is a refusal in fixed words", async () => {
    const wrong = { ...clientCredentials(server.issuer), clients: new Map([[server.issuer, secretClient("canary-wrong")]]) };
    expect(noteOf(await exchanging(wrong).exchange())).toBe(
      "exchange_failed: the authorization server refused the gateway's own credential",
    );
  });
});

describe("token exchange", () => {
  test("the gateway says for whom it asks, in a JWT of its own that lives for 60 s", async () => {
    const { exchange, assertions } = exchanging(tokenExchange(server.issuer));
    const issued = expectIssued(await exchange());
    const iat = START_MS / 1000;
    expect(assertions).toEqual([{ iss: PUBLIC_URL, aud: server.issuer, sub: "agt_bot", jti: "unique-0", iat, exp: iat + 60 }]);
    expect(await server.verify(accessTokenOf(issued))).toMatchObject({ aud: RESOURCE, for: { sub: "agt_bot" } });
    expect(server.asked[0]).toMatchObject({
      grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
      subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
      requested_token_type: "urn:ietf:params:oauth:token-type:access_token",
      resource: RESOURCE,
      scope: "tickets",
    });
    expect(server.asked[0]?.subject_token).not.toContain("canary");
  });

  test("where there is a subject, the agent is its actor", async () => {
    const { exchange, assertions } = exchanging(tokenExchange(server.issuer));
    expectIssued(await exchange(agent({ subject: "ann@example.com" })));
    expect(assertions[0]).toMatchObject({ sub: "ann@example.com", act: { sub: "agt_bot" } });
  });

  test("the inbound token goes to its own issuer, and to no other", async () => {
    const inbound = await sign({ iss: server.issuer, sub: "ann", exp: START_MS / 1000 + 600 }, "at+jwt");
    const { exchange, assertions } = exchanging(tokenExchange(server.issuer));
    expectIssued(await exchange(agent({ issuer: server.issuer, accessToken: new AccessToken(inbound) })));
    expect(server.asked[0]).toMatchObject({ subject_token: inbound, subject_token_type: "urn:ietf:params:oauth:token-type:access_token" });
    expect(assertions).toEqual([]);
    expectIssued(await exchange(agent({ issuer: `${server.issuer}/`, accessToken: new AccessToken(inbound) })));
    expect(server.asked[1]?.subject_token).not.toBe(inbound);
    expect(assertions).toHaveLength(1);
  });

  test("an inbound token that its issuer refuses is a refusal, without another attempt by another grant", async () => {
    const { exchange } = exchanging(tokenExchange(server.issuer));
    const answer = await exchange(agent({ issuer: server.issuer }));
    expect(noteOf(answer)).toBe("exchange_failed: the authorization server refused: invalid_request");
    expect(server.asked).toHaveLength(1);
  });

  test("an audience is named where one is configured", async () => {
    const { exchange } = exchanging({ ...tokenExchange(server.issuer), audience: "tickets-api" } as ReturnType<typeof tokenExchange>);
    expectIssued(await exchange());
    expect(server.asked[0]).toMatchObject({ audience: "tickets-api", resource: RESOURCE });
  });

  test("O36 two principals never share, whatever they have in common; the same one does", async () => {
    const { exchange } = exchanging(tokenExchange(server.issuer));
    const callers = [
      agent(),
      named("agt_other"),
      agent({ subject: "ann" }),
      agent({ subject: "bob" }),
      agent({ issuer: "https://login.example.com" }),
      agent({ scopes: new Set(["mcp", "tickets.read"]) }),
      agent({ roles: ["admin"] }),
      agent({ actors: ["agt_bot", "agt_before"], subject: "ann" }),
      agent({ profile: { ...agent().profile, customer: "globex" } }),
    ];
    const issued = await Promise.all(callers.map(async (caller) => expectIssued(await exchange(caller))));
    expect(new Set(issued.map(accessTokenOf)).size).toBe(callers.length);
    expect(new Set(issued.map(({ shareKey }) => shareKey)).size).toBe(callers.length);
    expect(await exchange(agent({ tokenId: "jti-2" }))).toBe(issued[0]);
    expect(await exchange(agent({ scopes: new Set(["tickets.read", "mcp"]) }))).toBe(issued[5]);
    expect(server.asked).toHaveLength(callers.length);
  });

  test("what was obtained with one inbound token is not used for another", async () => {
    const { exchange } = exchanging(tokenExchange(server.issuer));
    const inbound = new AccessToken(await sign({ sub: "ann" }, "at+jwt"));
    const first = expectIssued(await exchange(agent({ issuer: server.issuer, accessToken: inbound })));
    const second = expectIssued(await exchange(agent({ issuer: server.issuer, accessToken: inbound, tokenId: "jti-2" })));
    expect(accessTokenOf(first)).not.toBe(accessTokenOf(second));
    expect(first.shareKey).toBe(second.shareKey);
  });

  test("O31, O36 what was obtained for a subject ends with the token that named it", async () => {
    const { exchange, clock } = exchanging(tokenExchange(server.issuer));
    const ending = agent({ expiresAtMs: START_MS + 100_000 });
    const issued = expectIssued(await exchange(ending));
    expect(issued.expiresAtMs).toBe(START_MS + 100_000);
    clock.nowMs = START_MS + 99_999;
    expect(await exchange(ending)).toBe(issued);
    clock.nowMs = START_MS + 100_000;
    expect(await exchange(agent({ tokenId: "jti-2" }))).not.toBe(issued);
  });

  test("after the upstream refused an agent's token, only that agent's is renewed", async () => {
    const { exchange, invalidate, clock } = exchanging(tokenExchange(server.issuer));
    const [mine, other] = [agent(), named("agt_other")];
    const refused = expectIssued(await exchange(mine));
    const kept = expectIssued(await exchange(other));
    clock.nowMs += 1000;
    invalidate(mine, refused);
    invalidate(other, refused);
    expect(await exchange(mine)).not.toBe(refused);
    expect(await exchange(other)).toBe(kept);
  });

  test.each([
    ["no issued_token_type", { issued_token_type: undefined }, "the authorization server issued another type of token"],
    [
      "an ID token",
      { issued_token_type: "urn:ietf:params:oauth:token-type:id_token" },
      "the authorization server issued another type of token",
    ],
    [
      "a refresh token",
      { issued_token_type: "urn:ietf:params:oauth:token-type:refresh_token" },
      "the authorization server issued another type of token",
    ],
    ["token_type N_A", { token_type: "N_A" }, "the authorization server's answer does not conform (OAUTH_UNSUPPORTED_OPERATION)"],
    ["token_type DPoP", { token_type: "DPoP" }, "token_type is not Bearer"],
  ])("an answer with %s is refused", async (_name, said, note) => {
    const misissuing = await startAuthorizationServer({ accessTokenSeconds: 300, subjectKeys: [gatewayJwk], answer: said });
    expect(noteOf(await exchanging(tokenExchange(misissuing.issuer)).exchange())).toBe(`exchange_failed: ${note}`);
    await misissuing.close();
  });
});

test("no secret is ever in what is printed or refused", async () => {
  const { exchange } = exchanging(tokenExchange(server.issuer));
  const seen = [await exchange(), await exchange(agent({ issuer: server.issuer }))];
  const printed = `${JSON.stringify(seen)} ${inspect(seen, { depth: 9, showHidden: true })}`;
  for (const canary of ["canary", "Bearer", CLIENT_SECRET]) expect(printed).not.toContain(canary);
});

test("a server without a credential is a fault, not an open door", async () => {
  const { exchange } = exchanging({ kind: "none" }, { servers: new Map() });
  await expect(exchange()).rejects.toThrow("the server has no configured credential");
});
