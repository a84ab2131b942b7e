/** How far each sink has the journal: it moves forward only, together with what the sink refused. */
import type { Store } from "./store.ts";

/** An event that a sink refused for good, and the status it gave. */
export type SinkRefusal = { readonly sequence: number; readonly status: number };

export type CursorMove = { readonly sink: string; readonly sequence: number; readonly refused: readonly SinkRefusal[] };

export function storeCursor(store: Store, { sink, sequence, refused }: CursorMove): void {
  const cursor = store.prepare(
    "INSERT INTO sink_cursor (sink, sequence) VALUES (?, ?) ON CONFLICT (sink) DO UPDATE SET sequence = max(sequence, excluded.sequence)",
  );
  const refusal = store.prepare("INSERT OR IGNORE INTO sink_refusal (sink, sequence, status) VALUES (?, ?, ?)");
  store.transaction(() => {
    for (const each of refused) refusal.run(sink, each.sequence, each.status);
    cursor.run(sink, sequence);
  })();
}
