/** The page behind a link to one question: whoever has the link decides it, once, in the name of the key that listed it. Looking decides nothing. */
import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { html } from "hono/html";
import type { AgentProfile } from "../../call/authenticate/agent.ts";
import { StoreUnavailable } from "../../call/record/journal.ts";
import type { Seal } from "../../seal.ts";
import { visibly } from "../../visible-text.ts";
import { iso } from "../agents/profiles.ts";
import type { Approvals } from "../approvals/approvals.ts";
import { mayDecide, openLink, ruleOf } from "../approvals/approvers.ts";
import { RegistryAway } from "../postgres.ts";
import type { ApprovalRow } from "../tables.ts";
import type { Administrator, AdminKeys } from "./admin-keys.ts";
import { REASON_CHARACTERS_MAX } from "./approval-routes.ts";

export type ApprovalPageParts = {
  readonly approvals: Approvals;
  readonly keys: Pick<AdminKeys, "standing">;
  readonly seal: Seal;
  readonly agentById: (id: string) => AgentProfile | undefined;
  readonly now: () => number;
  readonly fault: (thrown: unknown) => void;
};

export const DECIDE_PATH = "/api/v1/approvals/decide";
/** A reason of 512 characters, percent-encoded. */
const BODY_BYTES_MAX = 8_192;

/** Null: the request is for something else. */
export function createApprovalPage(parts: ApprovalPageParts): (request: Request) => Promise<Response> | null {
  const pages = new Hono();
  const path = `${DECIDE_PATH}/:secret`;
  pages.get(path, async (c) => {
    const found = await lookUp(parts, c.req.param("secret"));
    return "gone" in found ? say(c, found.status, found.gone) : say(c, 200, "A call waits for you", form(found, parts));
  });
  pages.post(path, bodyLimit({ maxSize: BODY_BYTES_MAX, onError: (c) => say(c, 413, "That is too long") }), async (c) => {
    const found = await lookUp(parts, c.req.param("secret"));
    if ("gone" in found) return say(c, found.status, found.gone);
    const posted = new URLSearchParams(await c.req.text());
    const state = STATE.get(posted.get("decision") ?? "");
    const reason = (posted.get("reason") ?? "").trim();
    if (state === undefined || reason === "" || reason.length > REASON_CHARACTERS_MAX) {
      return say(c, 422, `Give a reason of at most ${REASON_CHARACTERS_MAX} characters, and approve or deny`, form(found, parts));
    }
    const answer = await parts.approvals.decide(found.row.id, { state, reason, by: found.by.name, via: "link" });
    if (answer === null) return say(c, 404, UNKNOWN);
    return answer.stands ? say(c, 200, state === "approved" ? "Approved. The call may go through once." : "Denied.") : say(c, 410, OVER);
  });
  pages.notFound((c) => say(c, 404, UNKNOWN));
  pages.onError((thrown, c) => {
    if (thrown instanceof StoreUnavailable || thrown instanceof RegistryAway)
      return say(c, 503, "Nothing can be recorded now; try again later");
    parts.fault(thrown);
    return say(c, 500, "See the gateway's log");
  });
  return (request) => (new URL(request.url).pathname.startsWith(`${DECIDE_PATH}/`) ? Promise.resolve(pages.fetch(request)) : null);
}

const STATE: ReadonlyMap<string, "approved" | "denied"> = new Map([
  ["approve", "approved"],
  ["deny", "denied"],
]);
const UNKNOWN = "This link is not valid";
const OVER = "This link was used, or its time is over";

type Found = { readonly row: ApprovalRow; readonly by: Administrator };

/** The key must still be there, and still be one that may decide. */
async function lookUp(
  { approvals, keys, seal, now }: ApprovalPageParts,
  secret: string,
): Promise<Found | { gone: string; status: 404 | 410 }> {
  const link = openLink(seal, secret);
  const row = link === null ? undefined : await approvals.find(link.approvalId);
  if (link === null || row === undefined) return { gone: UNKNOWN, status: 404 };
  const by = await keys.standing(link.by);
  if (by === null || !mayDecide(row, by) || row.state !== "pending" || row.expires_ms <= now()) return { gone: OVER, status: 410 };
  return { row, by };
}

const HEADERS = {
  // no-referrer: the address is the secret. Browsers then send `Origin: null` with the form, which is why no origin is asked for here.
  "referrer-policy": "no-referrer",
  "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  "x-frame-options": "DENY",
  "x-content-type-options": "nosniff",
  "x-robots-tag": "noindex",
  "cache-control": "no-store",
};

type Html = ReturnType<typeof html>;

function say(
  c: Context,
  status: 200 | 404 | 410 | 413 | 422 | 500 | 503,
  title: string,
  more: Html | string = "",
): Response | Promise<Response> {
  const page = html`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Tollgate approval</title>
<style>body{font:1rem/1.6 system-ui;max-width:44rem;margin:3rem auto;padding:0 1rem}pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#8882;padding:.5em}textarea{width:100%;box-sizing:border-box}dt{font-weight:600}</style>
<h1>${title}</h1>
${more}
</html>
`;
  return c.html(page, status, HEADERS);
}

/** Everything that the agent chose stands in it as text: hono escapes it, and the arguments show what has no shape of its own. */
function form({ row, by }: Found, { agentById }: ApprovalPageParts): Html {
  const agent = agentById(row.agent_id);
  const rule = ruleOf(row);
  return html`<dl>
<dt>Agent</dt><dd>${visibly(`${agent?.name ?? row.agent_id} (customer ${row.customer}, owner ${agent?.owner ?? "unknown"})`)}</dd>
<dt>Its purpose</dt><dd>${visibly(agent?.purpose ?? "unknown")}</dd>
<dt>Wants to call</dt><dd><code>${visibly(row.target)}</code></dd>
<dt>With</dt><dd><pre>${row.arguments ?? `${row.arguments_bytes} bytes, too many to show; SHA-256 ${row.arguments_sha256}`}</pre></dd>
<dt>Rule</dt><dd>${rule === null ? "none" : `${rule.name} (${rule.file}:${rule.line})`}</dd>
<dt>Until</dt><dd>${iso(row.expires_ms)}</dd>
<dt>You decide as</dt><dd>${by.name}</dd>
</dl>
<form method="post">
<p><label>Reason, for the record<br><textarea name="reason" rows="3" maxlength="${REASON_CHARACTERS_MAX}" required></textarea></label></p>
<p><button name="decision" value="approve">Approve</button> <button name="decision" value="deny">Deny</button></p>
</form>`;
}
