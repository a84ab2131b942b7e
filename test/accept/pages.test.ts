import { afterAll, beforeAll, expect, test } from "vitest";
import { WIRE } from "../../src/refusal.ts";
import { type Front, openFront, PUBLIC_URL } from "./front.ts";

let front: Front;
let closed: Front;
const APP = "https://app.example";
beforeAll(async () => {
  front = await openFront({ origins: [APP] });
  closed = await openFront();
});
afterAll(() => Promise.all([front.listener.close(), closed.listener.close()]));

const ask = (path: string, init: RequestInit = {}, of: Front = front) => fetch(`${of.url}${path}`, init);

test.each([
  ["", "/mcp"],
  ["/mcp", "/mcp"],
  ["/mcp/tickets", "/mcp/tickets"],
  ["/mcp/nobody-serves-this", "/mcp/nobody-serves-this"],
])("the protected resource document at %j is for %s, whether or not it is served", async (suffix, resource) => {
  const response = await ask(`/.well-known/oauth-protected-resource${suffix}`, { headers: { "x-forwarded-host": "evil.example" } });
  expect(response.status).toBe(200);
  expect(response.headers.get("cache-control")).toBe("public, max-age=3600");
  expect(response.headers.get("x-content-type-options")).toBe("nosniff");
  expect(await response.json()).toMatchObject({
    resource: `${PUBLIC_URL}${resource}`,
    authorization_servers: [PUBLIC_URL],
    scopes_supported: ["mcp"],
    bearer_methods_supported: ["header"],
  });
});

test.each(Object.keys(WIRE))("/problems/%s tells what it means and what to do, to people and to programs", async (reason) => {
  const { title, remedy } = WIRE[reason as keyof typeof WIRE];
  const page = await ask(`/problems/${reason}`, { headers: { accept: "text/html" } });
  expect([page.status, page.headers.get("content-type")]).toEqual([200, "text/html; charset=UTF-8"]);
  expect(page.headers.get("content-security-policy")).toContain("default-src 'none'");
  const text = await page.text();
  for (const words of [title, remedy]) expect(text.replaceAll("&#39;", "'").replaceAll("&quot;", '"')).toContain(words);
  const json = await ask(`/problems/${reason}`, { headers: { accept: "application/json" } });
  expect(await json.json()).toMatchObject({ type: `${PUBLIC_URL}/problems/${reason}`, reason, title, detail: remedy });
});

test("the type of a refusal is the address of its page", async () => {
  const { type } = (await (await ask("/nowhere")).json()) as { type: string };
  expect((await ask(new URL(type).pathname)).status).toBe(200);
});

test("pages are read, not written", async () => {
  const response = await ask("/problems/overloaded", { method: "POST", body: "x" });
  expect([response.status, response.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
  expect((await ask("/problems/overloaded", { method: "HEAD" })).status).toBe(200);
});

test.each([
  ["POST", "/oauth/token"],
  ["GET", "/oauth/authorize?client_id=a&redirect_uri=https%3A%2F%2Fx"],
  ["GET", "/.well-known/oauth-authorization-server"],
  ["GET", "/.well-known/openid-configuration"],
])("%s %s goes to the authorization server as it came", async (method, path) => {
  expect(await (await ask(path, { method })).text()).toBe("oauth");
  expect(front.oauth.at(-1)).toBe(`${method} ${path}`);
});

test("without allowed origins no CORS header is ever sent", async () => {
  const response = await ask("/.well-known/oauth-protected-resource", {}, closed);
  expect([...response.headers.keys()].filter((name) => name.startsWith("access-control") || name === "vary")).toEqual([]);
  const foreign = await ask("/.well-known/oauth-protected-resource", { headers: { origin: APP } }, closed);
  expect(foreign.status).toBe(403);
  expect(foreign.headers.has("access-control-allow-origin")).toBe(false);
});

test("an allowed origin is echoed, alone and without credentials", async () => {
  const response = await ask("/.well-known/oauth-protected-resource", { headers: { origin: APP } });
  expect(response.headers.get("access-control-allow-origin")).toBe(APP);
  expect(response.headers.has("access-control-allow-credentials")).toBe(false);
  expect(response.headers.get("vary")).toContain("Origin");
  expect((await ask("/.well-known/oauth-protected-resource")).headers.get("vary")).toContain("Origin");
});

test.each(["/mcp/tickets", "/oauth/token", "/.well-known/oauth-authorization-server"])(
  "a preflight for %s is answered for allowed origins only",
  async (path) => {
    const headers = {
      origin: APP,
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization, mcp-method, Mcp-Param-Region, x-forwarded-for",
    };
    const handed = front.oauth.length;
    const response = await ask(path, { method: "OPTIONS", headers });
    expect(response.status).toBe(204);
    expect(response.headers.get("access-control-allow-headers")).toBe("authorization, mcp-method, mcp-param-region");
    expect(response.headers.get("access-control-allow-origin")).toBe(APP);
    expect((await ask(path, { method: "OPTIONS", headers: { ...headers, origin: "https://evil.example" } })).status).toBe(403);
    expect(front.oauth.length).toBe(handed);
  },
);
