/** Whose the records are: one gateway's, or after a backup was restored, from its record on, those of the gateway that went on. */
import type { Source } from "./range-check.ts";
import type { Store } from "./store.ts";
import type { Complain } from "./verify.ts";

type Epoch = { readonly first_record: number; readonly source: string };

export function checkEpochs(store: Store, found: readonly Source[], rootAt: (size: number) => Buffer, complain: Complain): void {
  const own = store.prepare("SELECT value FROM meta WHERE name = 'source'").pluck().get();
  const rows = store.prepare("SELECT first_record, source FROM epoch ORDER BY first_record").all() as Epoch[];
  const due: readonly Epoch[] = rows.length > 0 ? rows : [{ first_record: 0, source: String(own) }];
  const epochs = found.filter((each, i) => each.restored !== null || each.source !== found[i - 1]?.source);
  if (epochs.length > 0 && epochs.at(-1)?.source !== own)
    complain(epochs.at(-1)?.first ?? 0, "the records are another gateway's than the file says");
  for (const [i, epoch] of epochs.entries()) {
    const { first, source, restored } = epoch;
    const expected = due[i];
    if (expected?.first_record !== first || expected.source !== source)
      complain(first, `record ${first}: its body names another gateway: ${String(source)}`);
    if (i === 0 && restored === null) continue;
    const before = epochs[i - 1];
    const isContinued =
      restored?.parent_size === first &&
      restored.parent_source === before?.source &&
      restored.parent_root === rootAt(first).toString("base64");
    if (!isContinued) complain(first, `record ${first}: no restored backup explains why another gateway's records begin here`);
  }
  if (epochs.length < due.length && found.length > 0) complain(null, `${due.length} ids are due, the records have ${epochs.length}`);
}
