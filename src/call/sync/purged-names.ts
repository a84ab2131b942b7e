/** Pure. What a purge takes out of the events of a purged record; the amounts, the tool, the time and the customer stay. */

export const PURGED_MEMBERS = [
  ...["agent", "agent_id", "instance", "team", "workflow", "logical_call_id"],
  // Of what was reported or corrected.
  ...["metadata", "reported", "adjusts", "adjusts_time", "adjusts_type", "reason"],
] as const;

export function withoutNames(data: unknown): unknown {
  if (typeof data !== "object" || data === null) return data;
  const gone: readonly string[] = PURGED_MEMBERS;
  return Object.fromEntries(Object.entries(data).filter(([name]) => !gone.includes(name)));
}
