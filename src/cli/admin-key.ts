/** `admin-key create|list|revoke`: keys for people and machines that administer. */
import type { Command } from "commander";
import { adminClient, allPages } from "./admin-client.ts";
import { branch, type CommonOptions, configOf, leaf, print } from "./command.ts";
import type { Io } from "./io.ts";
import { table } from "./table.ts";

type KeyJson = {
  readonly id: string;
  readonly name: string;
  readonly role: string;
  readonly customer: string | null;
  readonly expires_at: string | null;
  readonly revoked_at: string | null;
  readonly created_by: string;
};

type CreateOptions = CommonOptions & { readonly role: string; readonly customer?: string; readonly expiresIn?: string };

export function registerAdminKey(program: Command, io: Io): void {
  const adminKey = branch(program, "admin-key", "keys for people and machines that administer");
  leaf(
    adminKey,
    "create <name>",
    "a key with a role; its text is shown once, its name stands in the record of every act",
    "tollgate admin-key create ci-deploy --role operator --customer acme --expires-in 90d",
  )
    .requiredOption("--role <role>", "viewer, auditor, operator, approver or admin")
    .option("--customer <customer>", "the only customer whose things it reaches (default: all)")
    .option("--expires-in <time>", "when it ends by itself: 90d")
    .action(async (name: string, options: CreateOptions) => {
      const { role, customer, expiresIn } = options;
      const body = { name, role, customer, expires_in: expiresIn };
      const made = await adminClient(configOf(options, io), io).post<KeyJson & { key: string }>("/admin-keys", body);
      print(
        io,
        options,
        made,
        () => `name  ${made.name}\nrole  ${made.role}\nkey   ${made.key}\nThe key is shown this once; only its hash is kept.`,
      );
    });
  leaf(adminKey, "list", "all keys, without their texts", "tollgate admin-key list").action(async (options: CommonOptions) => {
    const items = await allPages<KeyJson>(adminClient(configOf(options, io), io), "/admin-keys", []);
    print(io, options, items, () =>
      table(
        ["NAME", "ID", "ROLE", "CUSTOMER", "EXPIRES", "REVOKED", "MADE BY"],
        items.map((row) => [row.name, row.id, row.role, row.customer, row.expires_at, row.revoked_at, row.created_by]),
      ),
    );
  });
  leaf(adminKey, "revoke <name>", "end a key at once, by name or id", "tollgate admin-key revoke ci-deploy").action(
    async (name: string, options: CommonOptions) => {
      const admin = adminClient(configOf(options, io), io);
      const row = await admin.post<KeyJson>(`/admin-keys/${encodeURIComponent(name)}/revoke`, {});
      print(io, options, row, () => `${row.name} is revoked`);
    },
  );
}
