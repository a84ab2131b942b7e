/** A gateway that takes reports, and the hands of those who report: its admin API by any key, and its journal as anybody reads it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { GatewayProcess } from "../e2e/gateway-process.ts";

export const CONFIG = `eventTypes:
  - name: com.acme.report.rendered
    version: 2
    meter: reports
    unit: report
    metadata: { template: string, urgent: boolean, share: number }
    required: [template]
    use: [chargeback]
    approvedBy: finance@acme.example
    approved: 2026-01-01
  - { name: com.acme.later, version: 1, meter: laters, unit: later, use: [policy], approvedBy: nobody, approved: 2999-01-01 }
outcomes:
  - { name: meeting_booked }
`;

export type Answer = { readonly status: number; readonly json: Record<string, unknown> & { readonly [name: string]: never } };
export type Taken = {
  readonly accepted: number;
  readonly duplicates: number;
  readonly rejected: readonly { readonly index: number; readonly reason: string; readonly detail: string }[];
  readonly event_ids: readonly (string | null)[];
};
export type Desk = Awaited<ReturnType<typeof openDesk>>;

const POLICIES = "apiVersion: tollgate/v1\nentitlements:\n  - { name: all, permit: [up/*] }\n";

export async function openDesk(more = CONFIG, policies = POLICIES, upstream = "http://127.0.0.1:9/mcp") {
  const gateway = await GatewayProcess.start({
    servers: `  up: { url: "${upstream}" }`,
    policies,
    more,
  });
  const first = readFileSync(join(gateway.folder, "data", "admin.key"), "utf8").trim();
  const ask = async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}, key = first): Promise<Answer> => {
    const answer = await fetch(`${gateway.adminUrl}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
      body: body === undefined ? null : typeof body === "string" ? body : JSON.stringify(body),
    });
    return { status: answer.status, json: (await answer.json()) as Answer["json"] };
  };
  return {
    gateway,
    ask,
    journal: join(gateway.folder, "data", "journal.db"),
    async agent(name: string, customer = "acme"): Promise<string> {
      const made = await ask("POST", "/agents", { name, customer, owner: "o@example.com", purpose: "testing", team: "support" });
      return String(made.json.id);
    },
    async key(name: string, role: string, customer?: string): Promise<string> {
      return String((await ask("POST", "/admin-keys", { name, role, customer })).json.key);
    },
    report: (body: unknown, headers: Record<string, string> = {}, key = first) => ask("POST", "/metering/events", body, headers, key),
    usage: async (query: string, key = first) =>
      (await ask("GET", `/metering/usage?${query}`, undefined, {}, key)).json.rows as unknown as Record<string, string | number | null>[],
  };
}

let last = 0;
/** The short form of a report that is in order. */
export function tokens(more: Readonly<Record<string, unknown>> = {}) {
  last += 1;
  return { agent_id: "bot", event_type: "tokens.consumed", quantity: 100, metadata: { model: "m-1" }, id: `e-${last}`, ...more };
}

export function cloudEvent(more: Readonly<Record<string, unknown>> = {}, data: Readonly<Record<string, unknown>> = {}) {
  last += 1;
  return {
    specversion: "1.0",
    id: `ce-${last}`,
    source: "https://meter.acme.example",
    type: "io.tollgate.llm.tokens.v1",
    time: new Date(Date.now() - 3_600_000).toISOString(),
    data: { agent_id: "bot", quantity: { llm_tokens: 40 }, metadata: { model: "m-2", workflow: "nightly" }, ...data },
    ...more,
  };
}
