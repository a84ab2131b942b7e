/** The admin API put together: its keys, its routes, the page on which people decide. */
import type { HumanApproval } from "./approving.ts";
import type { Reader } from "./call/record/reader.ts";
import type { Config } from "./config.ts";
import { type AdminKeysOptions, openAdminKeys } from "./control/admin/admin-keys.ts";
import { createAdminApi } from "./control/admin/api.ts";
import type { Route } from "./control/admin/route.ts";
import { type AdminParts, adminRoutes } from "./control/admin/routes.ts";
import type { ControlStore } from "./control/store.ts";
import { loopbackHosts } from "./listen.ts";

export type AdministrationParts = Pick<AdminParts, "registry" | "authorizationServer" | "publicUrl"> & {
  readonly config: Config;
  readonly gatewayId: string;
  readonly store: ControlStore;
  readonly reader: Reader;
  readonly approval: HumanApproval;
  readonly act: AdminKeysOptions["audit"];
  /** Of all other parts. */
  readonly routes: readonly Route[];
  readonly now: () => number;
  readonly fault: (thrown: unknown) => void;
};

export async function openAdministration(parts: AdministrationParts): Promise<ReturnType<typeof createAdminApi>> {
  const { config, gatewayId, publicUrl, registry, store, reader, authorizationServer, approval, act, now, fault } = parts;
  const keys = await openAdminKeys({ store, dataDir: config.data, gatewayId, audit: act, now });
  const issuers = new Set(config.issuers.map(({ issuer }) => issuer));
  const routeNames = [...config.servers.keys(), ...config.views.keys()];
  return createAdminApi({
    keys,
    store,
    gatewayId,
    routes: [
      ...adminRoutes({ keys, registry, authorizationServer, publicUrl, issuers, routeNames, reader, now, store }),
      ...parts.routes,
      ...approval.routes(),
    ],
    linked: approval.page(keys),
    hosts: () => loopbackHosts(config.admin),
    now,
    fault,
  });
}
