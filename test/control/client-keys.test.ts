/** Keys of agents at a URL that their owners name: read from outside, seldom, and believed for a short time. */
import { randomUUID } from "node:crypto";
import { type CryptoKey, exportJWK, generateKeyPair, SignJWT } from "jose";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { issued, type Plane, startPlane } from "./plane.ts";

const URL_ = "https://agent.example/jwks.json";

let plane: Plane;
let id: string;
let keys: Map<string, CryptoKey>;
let published: () => Response;
let asked: string[];

beforeAll(async () => {
  plane = await startPlane({
    fetchFromOutside: async (url) => {
      asked.push(url);
      return published();
    },
  });
  const made = issued(
    await plane.registry.create({ name: "at-a-url", owner: "o", purpose: "p", credential: { kind: "jwks_uri", jwksUri: URL_ } }, "test"),
  );
  id = made.profile.id;
});
afterAll(() => plane?.close());

async function publish(...kids: string[]): Promise<void> {
  keys = new Map();
  const jwks: object[] = [];
  for (const kid of kids) {
    const pair = await generateKeyPair("ES256");
    keys.set(kid, pair.privateKey);
    jwks.push({ ...(await exportJWK(pair.publicKey)), kid });
  }
  published = () => Response.json({ keys: jwks });
}

beforeEach(async () => {
  asked = [];
  // Whatever was read before is old, and may be asked for again.
  plane.world.nowMs += 600_000;
  await publish("one");
});

/** Assertions are of the provider's own clock. */
async function redeem(kid: string, key = keys.get(kid)): Promise<number> {
  if (key === undefined) throw new Error(`no key ${kid}`);
  const iat = Math.floor(Date.now() / 1000);
  const assertion = await new SignJWT({ iss: id, sub: id, aud: plane.publicUrl, jti: randomUUID(), iat, exp: iat + 60 })
    .setProtectedHeader({ alg: "ES256", kid })
    .sign(key);
  const client_assertion_type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
  return (await plane.token({ grant_type: "client_credentials", client_assertion: assertion, client_assertion_type })).status;
}

test("a key at the URL authenticates, and the URL is read once for many", async () => {
  expect(await Promise.all(Array.from({ length: 5 }, () => redeem("one")))).toEqual(Array(5).fill(200));
  expect(asked).toEqual([URL_]);
});

test("a new key is found by its name; invented names cause no more than one more look in 30 seconds", async () => {
  expect(await redeem("one")).toBe(200);
  const { privateKey: stranger } = await generateKeyPair("ES256");
  for (let i = 0; i < 50; i++) expect(await redeem(`random-${i}`, stranger)).toBe(401);
  expect(asked.length).toBeLessThanOrEqual(1);
  plane.world.nowMs += 31_000;
  await publish("two");
  expect(await redeem("two")).toBe(200);
  expect(asked).toHaveLength(2);
});

test("a key that was removed is refused after five minutes at the latest, also where the URL is away", async () => {
  const old = keys.get("one");
  expect(await redeem("one")).toBe(200);
  published = () => new Response("gone", { status: 500 });
  plane.world.nowMs += 31_000;
  expect(await redeem("one", old)).toBe(200);
  plane.world.nowMs += 301_000;
  expect(await redeem("one", old)).toBe(401);
});

test.each<[string, () => Response]>([
  ["a page", () => new Response("<html></html>", { headers: { "content-type": "text/html" } })],
  [
    "a private key",
    () => Response.json({ keys: [{ kty: "EC", crv: "P-256", x: "A".repeat(43), y: "A".repeat(43), d: "A".repeat(43), kid: "one" }] }),
  ],
  [
    "eleven keys",
    () => Response.json({ keys: Array.from({ length: 11 }, (_, i) => ({ kty: "EC", crv: "P-256", x: "A", y: "A", kid: `${i}` })) }),
  ],
  ["nothing", () => Response.json({ keys: [] })],
])("%s at the URL is no key set", async (_, answer) => {
  const key = keys.get("one");
  published = answer;
  expect(await redeem("one", key)).toBe(401);
});

test("nothing of all this was a fault of the server", () => {
  expect(plane.faults).toEqual([]);
});
