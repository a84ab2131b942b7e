/** Retries put together: where keys are kept, how an answer is hidden and told again, and when both go. */
import type { McpRequest } from "./call/accept/request.ts";
import type { Rounds } from "./call/budget/rounds.ts";
import { forClient } from "./call/forward/for-client.ts";
import { readMessage } from "./call/forward/message.ts";
import type { Outcome } from "./call/forward/outcome.ts";
import { accepted } from "./call/forward/outcomes.ts";
import { withoutReceipt, withReceipt } from "./call/forward/receipt.ts";
import type { OpenJournal } from "./call/record/journal-client.ts";
import { createJournalKeys } from "./call/record/journal-keys.ts";
import { KEYS_DROPPED_MAX, type KeysToDrop } from "./call/record/key-writer.ts";
import type { Reader } from "./call/record/reader.ts";
import { createRetries, type Retries } from "./call/record/retries.ts";
import type { KeptAnswer, RetryKeys } from "./call/record/retry-key.ts";
import type { Config } from "./config.ts";
import { type CallKeys, callKeys } from "./control/call-keys.ts";
import { RegistryAway } from "./control/postgres.ts";
import { createSharedKeys } from "./control/shared-keys.ts";
import type { ControlStore } from "./control/store.ts";
import type { CallId } from "./ids.ts";
import type { Seal } from "./seal.ts";

export type RetryParts = {
  readonly config: Pick<Config, "idempotency" | "servers">;
  readonly seal: Seal;
  readonly journal: Pick<OpenJournal, "run" | "available" | "source">;
  readonly store: Pick<ControlStore, "db" | "shared">;
  readonly reader: Pick<Reader, "ask">;
  readonly rounds: Pick<Rounds, "putBack">;
  readonly now: () => number;
  readonly fault: (thrown: unknown) => void;
  /** In reverse order, when the gateway ends. */
  readonly closing: (() => unknown)[];
};

/** A key that is over counts as free at once; this is how soon its row goes. */
const EVERY_MS = 60_000;

export async function openRetries(parts: RetryParts): Promise<Retries> {
  const { config, seal, rounds, fault } = parts;
  return createRetries({
    keys: await openKeysOfCalls(parts),
    digest: seal.digest,
    keepMs: config.idempotency.keepMs,
    understands(name) {
      const server = config.servers.get(name);
      return server?.kind === "http" && server.idempotent;
    },
    replay(request, first, key, sealed) {
      const answer = seal.open("answer", key, sealed);
      return answer === null ? null : replayed(request, first, answer);
    },
    putBack: rounds.putBack,
    fault,
  });
}

/** Where other gateways may be asked for the same call, its key is taken in the registry that they share. */
async function openKeysOfCalls({ journal, store, reader, now, fault, closing }: RetryParts): Promise<RetryKeys> {
  const find = (key: string, atMs: number) => reader.ask("retryKey", key, atMs);
  const own = createJournalKeys(find);
  const rows = store.shared ? callKeys(store, journal.source) : null;
  // A database that is away is no fault of ours: it is tried again, and /readyz tells.
  const unlessAway = (thrown: unknown) => thrown instanceof RegistryAway || fault(thrown);
  let sweeping: Promise<unknown> = Promise.resolve();
  const timer = setInterval(() => {
    sweeping = sweeping.then(() => sweepKeys({ journal, reader, rows, now })).catch(unlessAway);
  }, EVERY_MS).unref();
  closing.push(() => {
    clearInterval(timer);
    return sweeping;
  });
  if (rows === null) return own;
  // The journal's word on its own calls counts for as long as it has it: a clock that runs ahead must not make it "never sent".
  const shared = createSharedKeys({ own, find: (key) => find(key, 0), rows, gateway: journal.source, fault: unlessAway });
  closing.push(() => shared.close());
  await shared.catchUp();
  return shared;
}

type Sweeping = Pick<RetryParts, "journal" | "reader" | "now"> & { readonly rows: CallKeys | null };

/** Where gateways share their keys, what the others may still hear of from this journal stays in it: until it is over by both clocks, and said. */
export async function sweepKeys({ journal, reader, rows, now }: Sweeping): Promise<void> {
  if (rows === null) {
    if (journal.available) await dropAllKeys(journal, { expiredMs: now() });
    return;
  }
  const expiredMs = Math.min(now(), await rows.nowMs());
  for (let more = journal.available; more; ) {
    const over = await reader.ask("overKeys", expiredMs);
    const runs = await rows.said(over);
    const dropped = await journal.run("dropKeys", { expiredMs, runs });
    more = dropped >= KEYS_DROPPED_MAX || (dropped > 0 && over.length >= KEYS_DROPPED_MAX);
  }
  await rows.drop();
}

/** Calls are written between two of its transactions. */
export async function dropAllKeys(journal: Pick<OpenJournal, "run">, which: KeysToDrop): Promise<void> {
  while ((await journal.run("dropKeys", which)) >= KEYS_DROPPED_MAX);
}

/** For one key only: an answer does not open as that of another. */
export function answerSealer(seal: Seal) {
  return (key: string, { member, text }: KeptAnswer): string => seal.seal("answer", key, `${member}:${text}`);
}

/** What the first call was answered with, as an answer to this request, and marked for what it is. */
function replayed(request: McpRequest, first: CallId, answer: string): Outcome | null {
  const at = answer.indexOf(":");
  const kept = Buffer.from(`{"jsonrpc":"2.0","id":0,"${answer.slice(0, at)}":${answer.slice(at + 1)}}`);
  const message = readMessage(kept);
  if (message.kind !== "response") return null;
  const own = withoutReceipt(kept, message);
  const receipt = { call_id: request.callId, logical_call_id: first, replayed: true, usage: { calls: 0, tool_tokens: 0 } };
  return {
    ...accepted(200),
    kind: "replayed",
    sent: false,
    status: null,
    // An error has no place for a receipt.
    headers: { "content-type": "application/json", "idempotent-replayed": "true" },
    last: withReceipt(forClient(own.bytes, own.message, request), JSON.stringify(receipt)),
  };
}
