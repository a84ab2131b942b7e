/** Keys of those who administer, over the admin API: nobody gives away more than what is theirs. */
import { iso } from "../agents/profiles.ts";
import type { AdminKeyRow } from "../tables.ts";
import type { AdminKeys } from "./admin-keys.ts";
import { act, newAdminKey } from "./bodies.ts";
import { isTheirs, may, PERMISSIONS } from "./permissions.ts";
import { elsewhere, faultAnswer } from "./registry-answers.ts";
import { notThere, pageOf, type Route, route } from "./route.ts";

const KEYS_SHOWN = 1_000;

export function adminKeyRoutes(keys: AdminKeys): readonly Route[] {
  return [
    route({
      method: "GET",
      path: "/admin-keys",
      permission: "admin_keys:read",
      summary: "The keys of those who administer, without their texts.",
      body: null,
      async answer({ caller, query }) {
        const { limit, after } = pageOf(query, KEYS_SHOWN);
        const rows = (await keys.list())
          .filter(({ customer }) => caller.customer === null || customer === caller.customer)
          .filter(({ id }) => after === null || id > after);
        const items = rows.slice(0, limit);
        return { status: 200, json: { items: items.map(keyJson), next_cursor: rows.length > limit ? (items.at(-1)?.id ?? null) : null } };
      },
    }),
    route({
      method: "POST",
      path: "/admin-keys",
      permission: "admin_keys:write",
      summary: "Makes a key with a role, bound to a customer or not; its text is shown this once.",
      body: newAdminKey,
      async answer({ caller, body }) {
        const customer = body.customer ?? caller.customer ?? undefined;
        if (customer !== undefined && !isTheirs(caller, customer)) return elsewhere(caller);
        const beyond = PERMISSIONS[body.role].find((permission) => !may(caller, permission));
        if (beyond !== undefined) return { status: 403, detail: `${body.role} has ${beyond}, which this key has not` };
        const answer = await keys.create({ ...body, customer }, caller.name);
        if ("fault" in answer) return faultAnswer(answer);
        return { status: 201, json: { ...keyJson(answer.row), key: answer.key }, made: answer.row.id };
      },
    }),
    route({
      method: "POST",
      path: "/admin-keys/:id/revoke",
      permission: "admin_keys:write",
      summary: "Ends a key at once; the last one that may administer everything stays.",
      body: act,
      async answer({ caller, params }) {
        const row = (await keys.list()).find(({ id, name }) => id === params.id || name === params.id);
        if (row === undefined || (caller.customer !== null && row.customer !== caller.customer))
          return notThere(caller, `there is no admin key ${params.id}`);
        const answer = await keys.revoke(row.id, caller.name);
        return "fault" in answer ? faultAnswer(answer) : { status: 200, json: keyJson(answer) };
      },
    }),
  ];
}

function keyJson({ id, name, role, customer, expires_ms, revoked_ms, created_at, created_by }: AdminKeyRow): object {
  const [expires_at, revoked_at] = [expires_ms, revoked_ms].map((ms) => (ms === null ? null : iso(ms)));
  return { id, name, role, customer, expires_at, revoked_at, created_at, created_by };
}
