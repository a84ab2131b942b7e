/** Whose a record or an event is: this gateway's, or that of the one whose backup was restored, under whose id it was numbered. */
import type { Store } from "./store.ts";

type Epoch = { readonly first: number; readonly source: string };

/** Asked once a page: for a sequence number the former id, or null where it is this gateway's own. */
export function epochReader(store: Store): (of: "event" | "record") => (sequence: number) => string | null {
  const rows = {
    event: store.prepare("SELECT first_event AS first, source FROM epoch ORDER BY first_event, first_record"),
    record: store.prepare("SELECT first_record AS first, source FROM epoch ORDER BY first_record"),
  };
  return (of) => {
    const epochs = rows[of].all() as Epoch[];
    const own = epochs.at(-1)?.source;
    return (sequence) => {
      const source = epochs.findLast(({ first }) => first <= sequence)?.source;
      return source === undefined || source === own ? null : source;
    };
  };
}

/** Under which ids events stand, each up to the number where the next begins; null: to this day. Empty: only under the gateway's own. */
export function eventSpans(store: Store): { readonly gateway: string; readonly before: number | null }[] {
  const epochs = store.prepare("SELECT first_event AS first, source FROM epoch ORDER BY first_event, first_record").all() as Epoch[];
  return epochs.map(({ source }, i) => ({ gateway: source, before: epochs[i + 1]?.first ?? null }));
}
