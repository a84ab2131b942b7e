/** A person who decides what calls wait for: with an admin key of a role, over the admin API. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { GatewayProcess } from "./gateway-process.ts";

export type ApprovalJson = {
  readonly id: string;
  readonly state: string;
  readonly target: string;
  readonly call_id: string;
  readonly agent: Readonly<Record<string, string | null>>;
  readonly arguments: string | null;
  readonly arguments_bytes: number;
  readonly rule: { readonly name: string; readonly file: string; readonly line: number };
  readonly approvers: readonly string[];
  readonly decided_by: string | null;
  readonly used_by: string | null;
  readonly may_decide: boolean;
  readonly link: string | null;
};

export type Person = {
  readonly key: string;
  readonly ask: <T = Record<string, unknown>>(method: string, path: string, body?: unknown) => Promise<{ status: number; json: T }>;
  readonly pending: () => Promise<readonly ApprovalJson[]>;
  readonly decide: (verdict: "approve" | "deny", id: string, reason?: string) => Promise<number>;
};

export function personWith(gateway: GatewayProcess, key: string): Person {
  const ask: Person["ask"] = async (method, path, body) => {
    const answer = await fetch(`${gateway.adminUrl}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, ...(body === undefined ? {} : { "content-type": "application/json" }) },
      body: body === undefined ? null : JSON.stringify(body),
    });
    return { status: answer.status, json: (await answer.json()) as never };
  };
  return {
    key,
    ask,
    pending: async () => (await ask<{ items: ApprovalJson[] }>("GET", "/approvals?state=pending")).json.items,
    decide: async (verdict, id, reason = "looked at it") => (await ask("POST", `/approvals/${id}/${verdict}`, { reason })).status,
  };
}

export function root(gateway: GatewayProcess): Person {
  return personWith(gateway, readFileSync(join(gateway.folder, "data", "admin.key"), "utf8").trim());
}

export async function person(gateway: GatewayProcess, name: string, role: string, customer?: string): Promise<Person> {
  const { status, json } = await root(gateway).ask<{ key: string }>("POST", "/admin-keys", { name, role, customer });
  if (status !== 201) throw new Error(`${name}: ${JSON.stringify(json)}`);
  return personWith(gateway, json.key);
}
