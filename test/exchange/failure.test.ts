/** An authorization server that misbehaves costs one bounded attempt, and neither a secret nor its own words leave with the refusal (O12 to O15, O35). */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { CLIENT_SECRET } from "./authorization-server.ts";
import { accessTokenOf, clientCredentials, exchanging, expectIssued, named, noteOf, START_MS, tokenExchange } from "./caller.ts";

type Handler = (response: ServerResponse, request: IncomingMessage, base: string) => void;
type Rogue = { readonly base: string; readonly requests: string[]; readonly secrets: string[]; close(): Promise<void> };

const open: Rogue[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((rogue) => rogue.close()));
});

/** A server with sound metadata unless told otherwise, and any token endpoint; it notes each request and each secret that it was given. */
async function rogue(token: Handler, metadata: Handler = (response, _, base) => json(response, honest(base))): Promise<Rogue> {
  const requests: string[] = [];
  const secrets: string[] = [];
  const server = createServer((request, response) => {
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    requests.push(`${request.method} ${request.url}`);
    if (request.headers.authorization !== undefined) secrets.push(request.headers.authorization);
    if (request.url?.startsWith("/.well-known/")) return metadata(response, request, base);
    request.resume().on("end", () => token(response, request, base));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => {
    server.closeAllConnections();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  };
  const started = { base: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests, secrets, close };
  open.push(started);
  return started;
}

const honest = (base: string) => ({ issuer: base, token_endpoint: `${base}/token` });
const json = (response: ServerResponse, body: unknown, status = 200) =>
  void response.writeHead(status, { "content-type": "application/json" }).end(typeof body === "string" ? body : JSON.stringify(body));
const granting =
  (members: Readonly<Record<string, unknown>> = {}): Handler =>
  (response) =>
    json(response, { access_token: "granted", token_type: "bearer", expires_in: 300, ...members });
const CONFORM = "the authorization server's answer does not conform";

describe("a token endpoint", () => {
  const rows: readonly (readonly [name: string, token: Handler, note: string])[] = [
    [
      "that answers HTML",
      (r) => void r.writeHead(200, { "content-type": "text/html" }).end("<h1>canary</h1>"),
      `${CONFORM} (OAUTH_RESPONSE_IS_NOT_JSON)`,
    ],
    ["that answers half a document", (r) => json(r, `{"access_token":"canary`), `${CONFORM} (OAUTH_PARSE_ERROR)`],
    [
      "that breaks off",
      (r) => void r.writeHead(200, { "content-type": "application/json", "content-length": "99" }).write("{", () => r.destroy()),
      "the authorization server's answer broke off",
    ],
    ["that closes the connection", (r) => void r.destroy(), "the authorization server cannot be reached"],
    [
      "that answers more than 64 KiB",
      (r) => json(r, { access_token: "x".repeat(65_536), token_type: "bearer" }),
      "the authorization server's answer is too large",
    ],
    [
      "that redirects",
      (r, _, base) => void r.writeHead(307, { location: `${base}/elsewhere` }).end(),
      "the authorization server answered with a redirect",
    ],
    [
      "that codes its answer",
      (r) => void r.writeHead(200, { "content-type": "application/json", "content-encoding": "br" }).end("canary"),
      "the authorization server used a content coding",
    ],
    [
      "that refuses",
      (r) => json(r, { error: "invalid_grant", error_description: "canary" }, 400),
      "the authorization server refused: invalid_grant",
    ],
    ["that refuses in its own words", (r) => json(r, { error: "canary" }, 400), "the authorization server refused: an unregistered error"],
    [
      "that challenges",
      (r) => void r.writeHead(401, { "www-authenticate": `Basic realm="canary"` }).end(),
      "the authorization server refused the gateway's own credential",
    ],
    ["that answers 500", (r) => void r.writeHead(500).end("canary"), `${CONFORM} (OAUTH_RESPONSE_IS_NOT_CONFORM)`],
    ["that grants nothing", (r) => json(r, {}), `${CONFORM} (OAUTH_INVALID_RESPONSE)`],
    ["that grants a header of its own", granting({ access_token: "x\r\nx-admin: 1" }), "the access token cannot be sent in a header"],
    ["that grants a token of 13 kB", granting({ access_token: "x".repeat(13_000) }), "the access token cannot be sent in a header"],
    ["that grants no token type", granting({ token_type: undefined }), `${CONFORM} (OAUTH_INVALID_RESPONSE)`],
    ["that grants another token type", granting({ token_type: "mac" }), `${CONFORM} (OAUTH_UNSUPPORTED_OPERATION)`],
    ["that grants an expired token", granting({ expires_in: 0 }), "the access token has expired already"],
    ["that grants a negative time", granting({ expires_in: -1 }), `${CONFORM} (OAUTH_INVALID_RESPONSE)`],
  ];

  test.each(rows)("%s is a refusal after one attempt", async (_name, token, note) => {
    const server = await rogue(token);
    const answer = await exchanging(clientCredentials(server.base)).exchange();
    expect(noteOf(answer)).toBe(`exchange_failed: ${note}`);
    expect(JSON.stringify(answer)).not.toContain("canary");
    expect(server.requests).toEqual(["GET /.well-known/oauth-authorization-server", "POST /token"]);
  });

  test.each<[string, Handler]>([
    ["before its answer", () => {}],
    ["within its answer", (r) => void r.writeHead(200, { "content-type": "application/json" }).write("{")],
  ])("that hangs %s is given up", async (_name, token) => {
    const server = await rogue(token);
    const { exchange } = exchanging(clientCredentials(server.base), { timeoutMs: 50 });
    expect(noteOf(await exchange())).toBe("exchange_failed: the authorization server did not answer in time");
  });
});

describe("metadata", () => {
  test.each<[string, (base: string) => unknown, string]>([
    [
      "of another issuer",
      (base) => ({ ...honest(base), issuer: "https://evil.example" }),
      `${CONFORM} (OAUTH_JSON_ATTRIBUTE_COMPARISON_FAILED)`,
    ],
    ["of the issuer with a slash", (base) => ({ ...honest(base), issuer: `${base}/` }), "the metadata names another issuer"],
    ["whose issuer is not a URL", (base) => ({ ...honest(base), issuer: "canary" }), "the authorization server's answer cannot be used"],
    ["without a token endpoint", (base) => ({ issuer: base }), `${CONFORM} (OAUTH_MISSING_SERVER_METADATA)`],
    [
      "with a token endpoint over plain http elsewhere",
      (base) => ({ issuer: base, token_endpoint: "http://192.0.2.1/token" }),
      "the authorization server has an address that is not https",
    ],
    [
      "with a token endpoint that is not HTTP",
      (base) => ({ issuer: base, token_endpoint: "file:///etc/passwd" }),
      `${CONFORM} (OAUTH_REQUEST_PROTOCOL_FORBIDDEN)`,
    ],
  ])("%s gets no secret", async (_name, metadata, note) => {
    const server = await rogue(granting(), (response, _, base) => json(response, metadata(base)));
    expect(noteOf(await exchanging(clientCredentials(server.base)).exchange())).toBe(`exchange_failed: ${note}`);
    expect(server.secrets).toEqual([]);
    expect(server.requests).toHaveLength(1);
  });

  test("is looked for by RFC 8414 and then by OpenID Connect", async () => {
    const server = await rogue(granting(), (response, request, base) =>
      request.url === "/.well-known/openid-configuration" ? json(response, honest(base)) : void response.writeHead(404).end(),
    );
    expect(noteOf(await exchanging(clientCredentials(server.base)).exchange())).toBe("a token");
  });

  test("is found once for many agents", async () => {
    const server = await rogue(granting({ issued_token_type: "urn:ietf:params:oauth:token-type:jwt" }));
    const { exchange } = exchanging(tokenExchange(server.base));
    await Promise.all(Array.from({ length: 10 }, (_, i) => exchange(named(`agt_${i}`))));
    expect(server.requests.filter((line) => line.startsWith("GET"))).toHaveLength(1);
    expect(server.requests.filter((line) => line.startsWith("POST"))).toHaveLength(10);
  });

  test("is looked for again after an endpoint failed", async () => {
    let endpoint = "gone";
    const server = await rogue(
      (response, request) =>
        request.url === "/token" ? json(response, { access_token: "granted", token_type: "Bearer" }) : void response.writeHead(404).end(),
      (response, _, base) => json(response, { issuer: base, token_endpoint: `${base}/${endpoint}` }),
    );
    const { exchange, clock } = exchanging(clientCredentials(server.base));
    expect(noteOf(await exchange())).toContain("exchange_failed");
    endpoint = "token";
    clock.nowMs += 1000;
    expect(noteOf(await exchange())).toBe("a token");
  });

  test("over plain http from another machine is not even asked for", async () => {
    const asked: string[] = [];
    const fetch = (url: string) => {
      asked.push(url);
      return Promise.resolve(Response.json(honest("http://login.example.com")));
    };
    const answer = await exchanging(clientCredentials("http://login.example.com"), { fetch }).exchange();
    expect([noteOf(answer), asked]).toEqual(["exchange_failed: the authorization server has an address that is not https", []]);
  });
});

test("a secret goes by post where the server takes nothing else, and by basic otherwise", async () => {
  const bodies: string[] = [];
  const methods = (supported: string[] | undefined) =>
    rogue(granting(), (response, _, base) => json(response, { ...honest(base), token_endpoint_auth_methods_supported: supported }));
  for (const supported of [undefined, ["client_secret_post", "client_secret_basic"], ["client_secret_post"]]) {
    const server = await methods(supported);
    const fetch = (url: string, init: RequestInit) => {
      if (init.method === "POST") bodies.push(String(init.body));
      return globalThis.fetch(url, init);
    };
    expect(noteOf(await exchanging(clientCredentials(server.base), { fetch }).exchange())).toBe("a token");
    expect(server.secrets).toHaveLength(supported?.length === 1 ? 0 : 1);
  }
  expect(bodies.map((body) => new URLSearchParams(body).get("client_secret"))).toEqual([null, null, CLIENT_SECRET]);
});

test("after a failure there is a pause of a second for that principal, and then another attempt", async () => {
  let sound = false;
  const server = await rogue((response, request, base) =>
    sound
      ? granting({ issued_token_type: "urn:ietf:params:oauth:token-type:jwt" })(response, request, base)
      : json(response, { error: "invalid_grant" }, 400),
  );
  const { exchange, clock } = exchanging(tokenExchange(server.base));
  const posts = () => server.requests.filter((line) => line.startsWith("POST")).length;
  for (let i = 0; i < 100; i++) expect(noteOf(await exchange())).toContain("invalid_grant");
  expect(posts()).toBe(1);
  sound = true;
  expect(noteOf(await exchange(named("agt_other")))).toBe("a token");
  clock.nowMs = START_MS + 999;
  expect(noteOf(await exchange())).toContain("invalid_grant");
  clock.nowMs = START_MS + 1000;
  expect(noteOf(await exchange())).toBe("a token");
  expect(posts()).toBe(3);
});

describe("how long a granted token counts", () => {
  test.each([
    ["as long as the server says, less 30 s", 300, 300, 270],
    ["ten minutes where the server does not say", undefined, 600, 600],
    ["an hour at most", 86_400, 3600, 3570],
  ])("%s", async (_name, seconds, endsAfter, keptFor) => {
    const server = await rogue(granting({ expires_in: seconds }));
    const { exchange, clock } = exchanging(clientCredentials(server.base));
    const issued = expectIssued(await exchange());
    expect(issued.expiresAtMs).toBe(START_MS + endsAfter * 1000);
    clock.nowMs = START_MS + keptFor * 1000 - 1;
    expect(await exchange()).toBe(issued);
    clock.nowMs = START_MS + keptFor * 1000;
    expect(await exchange()).not.toBe(issued);
  });

  test("a token that ends within 30 s serves the calls that waited for it, and is not kept", async () => {
    const server = await rogue(granting({ expires_in: 20 }));
    const { exchange } = exchanging(clientCredentials(server.base));
    const [first, second] = await Promise.all([exchange(), exchange()]);
    expect(first).toBe(second);
    expect(accessTokenOf(await exchange())).toBe("granted");
    expect(server.requests.filter((line) => line.startsWith("POST"))).toHaveLength(2);
  });
});

test("a signer that fails is a fault of ours, not the authorization server's", async () => {
  const server = await rogue(granting());
  const { exchange } = exchanging(tokenExchange(server.base), { signAssertion: () => Promise.reject(new Error("no key")) });
  await expect(exchange()).rejects.toThrow("no key");
  expect(server.requests).toEqual([]);
});
