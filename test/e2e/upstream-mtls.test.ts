/** A server that wants a client certificate: the configured one opens it, another authority's or none does not. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { createServer, type Server } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { afterAll, beforeAll, expect, test } from "vitest";
import { GatewayProcess, modernRequest } from "./gateway-process.ts";

const folder = mkdtempSync(join(tmpdir(), "tollgate-mtls-"));
const heard: string[] = [];
let server: Server;
let gateway: GatewayProcess;

function openssl(...args: string[]): void {
  execFileSync("openssl", args, { cwd: folder, stdio: "ignore" });
}

const KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/** An authority, and a certificate of it for the server or for a client. */
function authority(name: string): void {
  openssl("req", "-x509", ...KEY, "-keyout", `${name}.key`, "-out", `${name}.pem`, "-days", "1", "-subj", `/CN=${name}`);
}
function certificate(name: string, issuer: string, extension: string): void {
  openssl("req", ...KEY, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`, "-addext", extension);
  const by = ["-CA", `${issuer}.pem`, "-CAkey", `${issuer}.key`, "-CAcreateserial", "-copy_extensions", "copy"];
  openssl("x509", "-req", "-in", `${name}.csr`, ...by, "-out", `${name}.pem`, "-days", "1");
}

beforeAll(async () => {
  authority("ca");
  authority("other-ca");
  certificate("server", "ca", "subjectAltName=IP:127.0.0.1");
  certificate("client", "ca", "extendedKeyUsage=clientAuth");
  certificate("stranger", "other-ca", "extendedKeyUsage=clientAuth");
  const pem = (file: string) => readFileSync(join(folder, file));
  server = createServer(
    { key: pem("server.key"), cert: pem("server.pem"), ca: pem("ca.pem"), requestCert: true, rejectUnauthorized: true },
    (request, response) => {
      heard.push(`${(request.socket as TLSSocket).getPeerCertificate().subject.CN} ${request.headers.authorization ?? "-"}`);
      const chunks: Buffer[] = [];
      request.on("data", (bytes: Buffer) => chunks.push(bytes));
      request.on("end", () => {
        const { id, method } = JSON.parse(Buffer.concat(chunks).toString());
        const tools = [{ name: "echo", inputSchema: { type: "object" } }];
        const result = { resultType: "complete", ...(method === "tools/list" ? { tools } : { content: [{ type: "text", text: "open" }] }) };
        response.setHeader("content-type", "application/json").end(JSON.stringify({ jsonrpc: "2.0", id, result }));
      });
    },
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `https://127.0.0.1:${(server.address() as { port: number }).port}/mcp`;
  const mtls = (name: string, ca = "ca") =>
    `mtls: { cert: "file:${folder}/${name}.pem", key: "file:${folder}/${name}.key", ca: "file:${folder}/${ca}.pem" }`;
  gateway = await GatewayProcess.start({
    policies: 'apiVersion: tollgate/v1\nentitlements: [{ name: all, permit: ["*/*"] }]\n',
    servers: `  alone: { url: "${url}", credential: { ${mtls("client")} } }
  beside: { url: "${url}", credential: { bearer: env:BEARER, ${mtls("client")} } }
  stranger: { url: "${url}", credential: { ${mtls("stranger")} } }
  distrusted: { url: "${url}", credential: { ${mtls("client", "other-ca")} } }
  bare: { url: "${url}" }`,
    env: { BEARER: "canary-beside" },
  });
}, 60_000);

afterAll(async () => {
  await gateway?.stop();
  server?.closeAllConnections();
  server?.close();
});

async function call(name: string): Promise<{ result?: object; error?: { data: { reason: string } } }> {
  const accessToken = await gateway.accessToken(await gateway.createAgent(`${name}-bot`), name);
  const answer = await modernRequest(`${gateway.publicUrl}/mcp/${name}`, accessToken, "tools/call", { name: "echo", arguments: {} });
  return (await answer.json()) as Awaited<ReturnType<typeof call>>;
}

test("the configured certificate opens the connection, alone or beside a bearer token", async () => {
  expect((await call("alone")).result).toBeDefined();
  expect((await call("beside")).result).toBeDefined();
  expect(new Set(heard)).toEqual(new Set(["client -", "client Bearer canary-beside"]));
});

test.each(["stranger", "distrusted", "bare"])("%s: no connection, no call, and the reason without a word of TLS", async (name) => {
  const before = heard.length;
  const { error } = await call(name);
  expect(error?.data.reason).toBe("upstream_unreachable");
  expect(JSON.stringify(error)).not.toMatch(/certificate|ssl|tls/i);
  expect(heard).toHaveLength(before);
});
