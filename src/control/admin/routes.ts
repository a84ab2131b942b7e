/** Every route of the admin API that the registry and the books can answer. */

import { adminKeyRoutes } from "./admin-key-routes.ts";
import type { AdminKeys } from "./admin-keys.ts";
import { type AgentParts, agentRoutes } from "./agent-routes.ts";
import { type AuditParts, auditRoutes } from "./audit-routes.ts";
import { credentialRoutes } from "./credential-routes.ts";
import { customerRoutes } from "./customer-routes.ts";
import { type HistoryParts, historyRoutes } from "./history-routes.ts";
import { importRoutes } from "./import-routes.ts";
import { type LeakParts, leakRoutes } from "./leak-routes.ts";
import type { Route } from "./route.ts";
import { type UsageParts, usageRoutes } from "./usage-routes.ts";

export type AdminParts = AgentParts & AuditParts & HistoryParts & LeakParts & UsageParts & { readonly keys: AdminKeys };

export function adminRoutes(parts: AdminParts): readonly Route[] {
  return [
    ...agentRoutes(parts),
    ...importRoutes(parts.registry),
    ...credentialRoutes(parts.registry),
    ...customerRoutes(parts.registry),
    ...adminKeyRoutes(parts.keys),
    ...leakRoutes(parts),
    ...usageRoutes(parts),
    ...auditRoutes(parts),
    ...historyRoutes(parts),
  ];
}
