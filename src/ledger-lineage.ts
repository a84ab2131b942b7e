/** Which log of a central ledger goes on from which, since a backup was restored, and which records a later one of them says are purged. */

import { leafHash } from "./call/record/merkle.ts";
import { rangesIn } from "./call/record/purge.ts";
import type { ActRecord } from "./call/sync/central-read.ts";

/** The log that a restored gateway continues: its first `size` leaves are those of `gateway`. */
export type Parent = { readonly gateway: string; readonly size: number /** Hex. */; readonly root: string };

export type Lineage = {
  parentOf(gateway: string): Parent | null;
  /** Whether a tombstone names that record: its body may be gone. */
  isPurged(gateway: string, sequence: number): boolean;
};

type Act = { readonly kind?: unknown; readonly details?: Readonly<Record<string, unknown>> | null };

function actIn(body: string): Act {
  try {
    return (JSON.parse(body) as Act | null) ?? {};
  } catch {
    return {};
  }
}

/** `acts`: the `log.restored` and `records.purged` of every gateway; what they say counts only where their own leaves bear it. */
export function lineageOf(acts: readonly ActRecord[]): Lineage {
  const parents = new Map<string, Parent>();
  const tombstones: { readonly gateway: string; readonly below: number; readonly ranges: readonly [number, number][] }[] = [];
  for (const { gateway, sequence, leaf, body } of acts) {
    if (leafHash(Buffer.from(body)).toString("hex") !== leaf) continue;
    const { kind, details } = actIn(body);
    const { parent_source, parent_size, parent_root, sequences } = details ?? {};
    // Restored: the first of its own.
    if (kind === "log.restored" && parent_size === sequence && sequence > 0 && parent_source !== gateway)
      parents.set(gateway, {
        gateway: String(parent_source),
        size: sequence,
        root: Buffer.from(String(parent_root), "base64").toString("hex"),
      });
    if (kind === "records.purged") tombstones.push({ gateway, below: sequence, ranges: rangesIn(String(sequences)) ?? [] });
  }
  // A log that goes on from a longer one, or in a circle, is made up; its records are then missing from 0 on.
  for (const [gateway, parent] of [...parents].sort(([, a], [, b]) => a.size - b.size))
    if ((parents.get(parent.gateway)?.size ?? -1) >= parent.size) parents.delete(gateway);
  const purged = new Map<string, [number, number][]>();
  for (const { gateway, below, ranges } of tombstones)
    for (const [from, to] of ranges) {
      let end = Math.min(to, below - 1);
      for (const [owner, start] of chainOf(gateway, parents)) {
        if (end >= start && end >= from) purged.set(owner, [...(purged.get(owner) ?? []), [Math.max(from, start), end]]);
        end = Math.min(end, start - 1);
      }
    }
  for (const ranges of purged.values()) ranges.sort(([a], [b]) => a - b);
  return {
    parentOf: (gateway) => parents.get(gateway) ?? null,
    isPurged: (gateway, sequence) => purged.get(gateway)?.some(([from, to]) => from <= sequence && sequence <= to) ?? false,
  };
}

/** A gateway and those before it, each with the first record under its own id. */
function* chainOf(gateway: string, parents: ReadonlyMap<string, Parent>): Generator<readonly [string, number]> {
  for (let at: string | undefined = gateway; at !== undefined; at = parents.get(at)?.gateway) yield [at, parents.get(at)?.size ?? 0];
}
