import { request } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createAgent, type Plane, startPlane } from "./plane.ts";

let plane: Plane;
let agent: { id: string; secret: string };

beforeAll(async () => {
  plane = await startPlane();
  agent = await createAgent(plane.registry, "bot");
});
afterAll(() => plane?.close());

/** As the app itself lists them: a route that is added tomorrow is in here. */
function routes(): { method: string; path: string }[] {
  const found = plane.api.routes
    .filter(({ method }) => method !== "ALL")
    .map(({ method, path }) => ({ method, path: path.replaceAll(/:[a-z]+/g, "bot") }));
  expect(found.length).toBeGreaterThanOrEqual(10);
  return found;
}

async function expectProblem(answer: Response, status: number): Promise<string> {
  const text = await answer.text();
  expect([answer.status, answer.headers.get("content-type")], text).toEqual([status, "application/problem+json"]);
  expect(answer.headers.get("cache-control")).toBe("no-store");
  expect(JSON.parse(text)).toEqual({ type: "about:blank", title: expect.any(String), status, detail: expect.any(String) });
  return text;
}

/** fetch sets Host by itself: this does not. */
function askAs(host: string | null, headers: Record<string, string> = {}): Promise<number> {
  return new Promise((resolve, reject) => {
    const all = { ...(host === null ? {} : { host }), authorization: `Bearer ${plane.adminKey}`, ...headers };
    request({ host: "127.0.0.1", port: plane.adminPort, path: "/api/v1/agents", headers: all, setHost: false }, (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    })
      .on("error", reject)
      .end();
  });
}

/** Says how long its body is and sends none of it, on a connection of its own. */
function declares(path: string, bytes: number): Promise<number> {
  const headers = { authorization: `Bearer ${plane.adminKey}`, "content-type": "application/json", "content-length": bytes };
  return new Promise((resolve, reject) => {
    const asking = request({ host: "127.0.0.1", port: plane.adminPort, path, method: "POST", headers, agent: false }, (answer) => {
      resolve(answer.statusCode ?? 0);
      asking.destroy();
    }).on("error", reject);
    asking.flushHeaders();
  });
}

describe("every route of the admin API", () => {
  test("is refused without a key, and with anything that is no admin key", async () => {
    const presented = [
      null,
      "",
      "Bearer",
      "Bearer ",
      `Bearer ${plane.adminKey.slice(0, -1)}`,
      `Bearer ${plane.adminKey}x`,
      `Bearer tga_${"A".repeat(43)}`,
      `Bearer ${agent.secret}`,
      `Basic ${Buffer.from(`first:${plane.adminKey}`).toString("base64")}`,
      `Bearer ${plane.adminKey}, Bearer ${plane.adminKey}`,
      plane.adminKey,
    ];
    const agentsBefore = plane.registry.all().length;
    const actsBefore = plane.acts.length;
    for (const { method, path } of routes()) {
      for (const authorization of presented) {
        const body = method === "GET" ? undefined : { name: "intruder", owner: "o", purpose: "p", server: "tickets" };
        const answer = await plane.admin(method, path, body, { authorization });
        expect(answer.headers.get("www-authenticate")).toMatch(/^Bearer /);
        const text = await expectProblem(answer, 401);
        expect(text).not.toContain(plane.adminKey);
        expect(text).not.toContain(agent.secret);
      }
    }
    expect([plane.registry.all().length, plane.acts.length]).toEqual([agentsBefore, actsBefore]);
  });

  test("is refused to an agent's access token", async () => {
    const { access_token } = (await (await plane.admin("POST", "/api/v1/agents/bot/tokens", { server: "tickets" })).json()) as {
      access_token: string;
    };
    expect(access_token).toMatch(/^ey/);
    for (const { method, path } of routes()) {
      await expectProblem(
        await plane.admin(method, path, method === "GET" ? undefined : {}, { authorization: `Bearer ${access_token}` }),
        401,
      );
    }
  });

  test("is refused to a page of another origin, even with the key, and no origin is ever allowed to read", async () => {
    for (const origin of [
      "https://evil.example",
      "null",
      `http://127.0.0.1.evil.example:${plane.adminPort}`,
      `https://127.0.0.1:${plane.adminPort}`,
    ]) {
      for (const { method, path } of routes()) {
        const answer = await plane.admin(method, path, method === "GET" ? undefined : {}, { origin });
        expect(answer.headers.get("access-control-allow-origin")).toBeNull();
        await expectProblem(answer, 403);
      }
      const preflight = await plane.admin("OPTIONS", "/api/v1/agents", undefined, {
        origin,
        authorization: null,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, content-type",
      });
      expect(preflight.ok).toBe(false);
      expect([...preflight.headers.keys()].filter((name) => name.startsWith("access-control"))).toEqual([]);
    }
  });

  test("takes JSON only: what a form on a page can send is refused", async () => {
    for (const { method, path } of routes().filter((route) => route.method !== "GET")) {
      for (const type of [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain; application/json",
        null,
      ]) {
        await expectProblem(await plane.admin(method, path, "{}", { "content-type": type }), 415);
      }
    }
  });

  test("refuses a body over 64 KiB (an import over 10 MiB), whether its length is declared or it comes in chunks", async () => {
    expect(await declares("/api/v1/agents/import", 10_485_761)).toBe(413);
    for (const { method, path } of routes().filter((route) => route.method !== "GET" && !route.path.endsWith("/import"))) {
      await expectProblem(await plane.admin(method, path, `{"name":"${"é".repeat(40_000)}"}`), 413);
      const chunks = new ReadableStream({
        start(controller) {
          for (let i = 0; i < 40; i++) controller.enqueue(new Uint8Array(4_096).fill(32));
          controller.close();
        },
      });
      const answer = await fetch(`${plane.adminUrl}${path}`, {
        method,
        headers: { authorization: `Bearer ${plane.adminKey}`, "content-type": "application/json" },
        body: chunks,
        ...{ duplex: "half" },
      });
      await expectProblem(answer, 413);
    }
  });

  test.each<[string, unknown]>([
    ["", 400],
    ["{", 400],
    ["nonsense", 400],
    ['{"name": "one", "name": "two"}', 400],
    ["null", 422],
    ["[]", 422],
    ['{"unknown": 1}', 422],
    ['{"unknown": 1e999}', 422],
    ['{"__proto__": {"name": "x"}}', 422],
  ])("answers the body %j with a problem, never with a fault", async (body, status) => {
    for (const { method, path } of routes().filter((route) => route.method !== "GET" && !route.path.endsWith("/credentials"))) {
      await expectProblem(await plane.admin(method, path, body), status as number);
    }
    expect(plane.faults).toEqual([]);
  });
});

describe("the listener", () => {
  test("serves the loopback names with its own port", async () => {
    for (const name of ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
      expect([name, await askAs(`${name}:${plane.adminPort}`)]).toEqual([name, 200]);
  });

  test("refuses any other Host, as a rebinding page would send, even with the key", async () => {
    for (const host of [
      "evil.example",
      `evil.example:${plane.adminPort}`,
      `127.0.0.1.nip.io:${plane.adminPort}`,
      "127.0.0.1:1",
      "127.0.0.1",
      `localhost.:${plane.adminPort}`,
      `x@127.0.0.1:${plane.adminPort}`,
      "",
    ]) {
      expect([400, 421], host).toContain(await askAs(host));
    }
    expect(await askAs("evil.example", { "x-forwarded-host": `127.0.0.1:${plane.adminPort}` })).toBe(421);
  });

  test("has no other routes, and does not say so without a key", async () => {
    for (const path of ["/", "/api/v1", "/api/v1/nothing", "/api/v2/agents", "/API/V1/AGENTS", "/metrics", "/healthz"]) {
      await expectProblem(await plane.admin("GET", path, undefined, { authorization: null }), 401);
      await expectProblem(await plane.admin("GET", path), 404);
    }
    await expectProblem(await plane.admin("DELETE", "/api/v1/agents/bot"), 404);
    await expectProblem(await plane.admin("GET", "/api/v1/agents/%E0%A4%A"), 404);
  });
});
