/** The pages beside the hot route: protected resource metadata (RFC 9728) and what each refusal means. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { getRequestListener } from "@hono/node-server";
import { Hono } from "hono";
import { html } from "hono/html";
import { WIRE } from "../../refusal.ts";

export type PagesOptions = { readonly publicUrl: string; readonly authorizationServers: readonly string[] };

/** One hour: the documents change with the configuration only. */
const METADATA_CACHE = "public, max-age=3600";

export function createPages({ publicUrl, authorizationServers }: PagesOptions): Hono {
  const pages = new Hono();
  // Every well-formed name looks alike before authentication: which servers exist is not said here.
  const metadata = (path: string) => ({
    resource: `${publicUrl}${path}`,
    authorization_servers: authorizationServers,
    scopes_supported: ["mcp"],
    bearer_methods_supported: ["header"],
    resource_name: "Tollgate",
  });
  for (const route of ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"]) {
    pages.get(route, (c) => c.json(metadata("/mcp"), 200, { "cache-control": METADATA_CACHE }));
  }
  pages.get("/.well-known/oauth-protected-resource/mcp/:name{[a-z0-9-]{1,32}}", (c) =>
    c.json(metadata(`/mcp/${c.req.param("name")}`), 200, { "cache-control": METADATA_CACHE }),
  );
  for (const [reason, { title, remedy, status, code, http }] of Object.entries(WIRE)) {
    const facts = { type: `${publicUrl}/problems/${reason}`, reason, title, detail: remedy, status, code, http_status: http };
    pages.get(`/problems/${reason}`, (c) => {
      const wantsJson = (c.req.header("accept") ?? "").includes("json");
      return wantsJson
        ? c.json(facts, 200, { "cache-control": METADATA_CACHE, vary: "Accept" })
        : c.html(problemPage(reason, title, remedy), 200, PAGE_HEADERS);
    });
  }
  return pages;
}

export type PageListener = {
  /** True for the exact path of a page, without a query. */
  knows(target: string): boolean;
  answer(request: IncomingMessage, response: ServerResponse): Promise<void>;
};

/** hono folds dot segments and takes absolute targets: it is asked only for what it knows byte for byte. */
export function pageListener(pages: Hono): PageListener {
  const listener = getRequestListener(pages.fetch, { overrideGlobalObjects: false });
  return {
    knows: (target) => pages.router.match("GET", target)[0].length > 0,
    answer: async (request, response) => {
      await listener(request, response);
    },
  };
}

const PAGE_HEADERS = {
  "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "x-frame-options": "DENY",
  vary: "Accept",
  "cache-control": METADATA_CACHE,
};

/** Only texts of our own table go in here: nothing of a request is ever reflected. */
function problemPage(reason: string, title: string, remedy: string) {
  return html`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${reason}</title>
<style>body{font:1rem/1.6 system-ui;max-width:40rem;margin:4rem auto;padding:0 1rem}code{background:#8882;padding:.1em .3em}</style>
<h1>${title}</h1>
<p><code>${reason}</code></p>
<p>${remedy}</p>
<p>The <code>call_id</code> of the refusal names its record: the gateway's operator can look it up with <code>tollgate why CALL_ID</code>.</p>
</html>
`;
}
