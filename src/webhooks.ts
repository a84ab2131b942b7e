/** The webhooks of the configuration, each fed from the records of the journal. */
import type { OpenJournal } from "./call/record/journal-client.ts";
import type { Reader } from "./call/record/reader.ts";
import { type RunningWebhook, startWebhook, type WebhookBooks, type WebhookOptions } from "./call/sync/webhook.ts";
import type { Webhook } from "./config.ts";
import { webhookKey } from "./config-sync-load.ts";
import type { Log } from "./observe.ts";

export type WebhookParts = Pick<WebhookOptions, "fetch" | "now" | "random" | "everyMs"> & {
  readonly journal: Pick<OpenJournal, "run">;
  readonly reader: Pick<Reader, "ask">;
  readonly log: Pick<Log, "warn">;
  readonly act: (kind: "webhook.disabled", by: string, details: { readonly webhook: string; readonly reason: string }) => Promise<void>;
};

/** In the journal's tables: no sink's name has a colon. */
export function webhookSink(name: string): string {
  return `webhook:${name}`;
}

export async function startWebhooks(webhooks: readonly Webhook[], parts: WebhookParts): Promise<RunningWebhook[]> {
  const { journal, log, act, ...rest } = parts;
  const running: RunningWebhook[] = [];
  for (const webhook of webhooks) {
    const { name, url, secret, events, timeoutMs } = webhook;
    const key = webhookKey(secret);
    if (key === null) throw new Error(`the secret of the webhook ${name} is no key`);
    // A receiver that is new is told of what comes now: of a year of history it would make nothing.
    await journal.run("openSink", { sink: webhookSink(name), formerly: null, streams: ["records"], atPresent: true });
    running.push(
      startWebhook({
        ...{ name, url, events, timeoutMs, key: () => key, books: booksOf(name, parts) },
        ...rest,
        warn: (facts, message) => log.warn(facts, message),
        disabled: (reason) => act("webhook.disabled", "gateway", { webhook: name, reason }),
      }),
    );
  }
  return running;
}

function booksOf(name: string, { journal, reader }: WebhookParts): WebhookBooks {
  const sink = webhookSink(name);
  return {
    position: () => reader.ask("actPosition", sink),
    actsAfter: (after, patterns, limit) => reader.ask("actsAfter", after, patterns, limit),
    actsAt: (sequences) => reader.ask("actsAt", sequences),
    due: (nowMs, limit) => reader.ask("sinkDue", sink, nowMs, limit),
    move: (sequence, aside) => journal.run("moveSink", { sink, stream: "records", sequence, aside, next: null }),
    moveAsides: (gone, still) => journal.run("moveAsides", { sink, stream: "records", gone, still }),
    counts: async () => (await reader.ask("sinkState", sink, [])).aside,
    state: () => reader.ask("webhookState", name),
    keepState: (state) => journal.run("keepWebhookState", name, state),
  };
}
