/** How the gateway is: what its probes answer and its metrics show. */
import type { Journal } from "./call/record/journal.ts";
import type { Checkpoints } from "./checkpoints.ts";
import type { Readiness } from "./control/admin/listeners.ts";
import type { Registry } from "./control/agents/registry.ts";
import type { LivePolicies } from "./live-policies.ts";
import type { Metrics } from "./observe.ts";

export type VitalsParts = {
  readonly metrics: Metrics;
  readonly journal: Journal;
  /** False once the journal is known to be damaged. */
  readonly isSound: () => boolean;
  readonly checkpoints: Pick<Checkpoints, "isSigning" | "isWitnessed">;
  readonly registry: Pick<Registry, "isStale">;
  readonly policies: Pick<LivePolicies, "isCurrent">;
  /** Definitions of tools that wait for a yes. */
  readonly waitingTools: () => number;
  /** Null: budgets are counted here alone. */
  readonly sharedLedger: (() => { readonly open: boolean }) | null;
  readonly isListening: () => boolean;
  readonly inFlight: () => number;
  /** True where Node.js has faults that a newer one mends. */
  readonly outdated: boolean;
};

export function showVitals({
  metrics,
  journal,
  isSound,
  checkpoints,
  registry,
  policies,
  waitingTools,
  sharedLedger,
  isListening,
  inFlight,
  outdated,
}: VitalsParts): Readiness {
  const bit = (is: boolean) => (is ? 1 : 0);
  metrics.gauge("tollgate_runtime_outdated", "1 while Node.js is older than 24.22.1.", () => bit(outdated));
  metrics.gauge("tollgate_journal_available", "1 while calls can be recorded.", () => bit(journal.available));
  metrics.gauge("tollgate_requests_in_flight", "Requests that are not answered to their end.", inFlight);
  metrics.gauge("tollgate_policy_current", "1 while what the policy files say is in force, 0 while the last good ones go on.", () =>
    bit(policies.isCurrent()),
  );
  metrics.gauge("tollgate_tools_waiting", "Definitions of tools that differ from what counts and wait for an approval.", waitingTools);
  return () => [
    { check: "listening", ok: isListening() },
    { check: "journal", ok: journal.available && isSound() },
    { check: "registry", ok: !registry.isStale() },
    // Calls go on and are recorded: a log that is not signed proves less, and harms nobody who calls.
    { check: "log", ok: checkpoints.isSigning(), advisory: true },
    { check: "witness", ok: checkpoints.isWitnessed(), advisory: true },
    // The last good ones go on: a slip in a file must not take every gateway out of service.
    { check: "policies", ok: policies.isCurrent(), advisory: true },
    { check: "tools", ok: waitingTools() === 0, advisory: true },
    // Every gateway has the same one: another could answer no better, and calls without a hard budget go on.
    ...(sharedLedger === null ? [] : [{ check: "shared_ledger", ok: sharedLedger().open, advisory: true }]),
  ];
}
