/** Pure. Which role may do what: the only table of it. */
import type { Role } from "../tables.ts";
import type { Caller, Permission } from "./route.ts";

const SEES: readonly Permission[] = ["agents:read", "customers:read", "usage:read", "requests:read", "tools:read"];

export const PERMISSIONS: Readonly<Record<Role, readonly Permission[]>> = {
  /** Sees who there is and what is used, and nothing of single calls. */
  viewer: SEES,
  /** Sees everything, the evidence included, and changes nothing. */
  auditor: [...SEES, "audit:read", "approvals:read", "sync:read", "admin_keys:read"],
  /** Runs the fleet: agents, credentials, tokens, decisions for embedders, usage that others have measured. */
  operator: [
    ...SEES,
    "audit:read",
    "approvals:read",
    "agents:write",
    "agents:stop",
    "agents:impersonate",
    "calls:decide",
    "calls:reserve",
    "usage:write",
    "budgets:write",
    "budgets:force",
    "sync:read",
    "sync:write",
  ],
  /** Decides what agents ask for and which tools count, and may stop an agent; cannot make one. */
  approver: [...SEES, "audit:read", "approvals:read", "requests:decide", "tools:approve", "agents:stop"],
  /** Everything, with the customers and the keys of all the others. */
  admin: [
    ...SEES,
    "audit:read",
    "approvals:read",
    "admin_keys:read",
    "agents:write",
    "agents:stop",
    "agents:impersonate",
    "calls:decide",
    "calls:reserve",
    "usage:write",
    "usage:correct",
    "budgets:adjust",
    "budgets:write",
    "budgets:force",
    "requests:decide",
    "tools:approve",
    "sync:read",
    "sync:write",
    "customers:write",
    "admin_keys:write",
    "records:keep",
  ],
};

export const ROLES = Object.keys(PERMISSIONS) as readonly Role[];

export function may(caller: Pick<Caller, "role">, permission: Permission): boolean {
  return PERMISSIONS[caller.role].includes(permission);
}

export function rolesWith(permission: Permission): readonly Role[] {
  return ROLES.filter((role) => PERMISSIONS[role].includes(permission));
}

/** Whether a thing of this customer is the caller's to see at all. */
export function isTheirs(caller: Pick<Caller, "customer">, customer: string): boolean {
  return caller.customer === null || caller.customer === customer;
}
