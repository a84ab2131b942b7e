/** Pure. Nearest rank of sorted figures. */

export function percentile(sorted: readonly number[], percent: number): number {
  return sorted[Math.max(0, Math.ceil((sorted.length * percent) / 100) - 1)] ?? Number.NaN;
}

export function median(figures: readonly number[]): number {
  return percentile(
    [...figures].sort((a, b) => a - b),
    50,
  );
}
