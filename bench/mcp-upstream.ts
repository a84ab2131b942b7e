/** A child process: the fastest MCP server that Node allows, so that what is measured is what stands in front of it. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** tools/call is answered with 300 bytes (with a one-digit id), about what a short answer of a real tool has. */
const RESULT_BYTES = 300;
const TOOL =
  '{"name":"echo","description":"gives the text back","inputSchema":{"type":"object","properties":{"text":{"type":"string"},"limit":{"type":"integer"}}}}';
const INFO = '"capabilities":{"tools":{}},"serverInfo":{"name":"bench-upstream","version":"1.0.0"}';
const CACHE = '"ttlMs":60000,"cacheScope":"private"';

const call = resultOf('"content":[{"type":"text","text":"', '"}]');
const answers: Record<string, string> = {
  "tools/list": `"resultType":"complete","tools":[${TOOL}],${CACHE}`,
  "server/discover": `"resultType":"complete","supportedVersions":["2026-07-28"],${INFO},${CACHE}`,
  initialize: `"protocolVersion":"2025-11-25",${INFO}`,
  ping: "",
};
/** Calls carried out, by path: each target has its own, so that nobody counts for another. */
const served: Record<string, number> = {};

const server = createServer((req, res) => {
  const chunks: Buffer[] = [];
  req.on("data", (chunk: Buffer) => chunks.push(chunk));
  req.on("end", () => {
    if (req.method === "GET" && req.url === "/served") return send(JSON.stringify(served));
    const { id, method } = JSON.parse(Buffer.concat(chunks).toString()) as { id?: unknown; method: string };
    if (id === undefined) return res.writeHead(202).end();
    const path = req.url ?? "";
    if (method === "tools/call") served[path] = (served[path] ?? 0) + 1;
    const result = method === "tools/call" ? call : (answers[method] ?? "");
    send(`{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":{${result}}}`);
  });
  function send(text: string): void {
    res.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
    res.end(text);
  }
});
server.keepAliveTimeout = 600_000;
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: (server.address() as AddressInfo).port })));

function resultOf(before: string, after: string): string {
  const envelope = '{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete",}}'.length;
  const words = "The quick brown fox jumps over the lazy dog. ".repeat(10);
  return `"resultType":"complete",${before}${words.slice(0, RESULT_BYTES - envelope - before.length - after.length)}${after}`;
}
