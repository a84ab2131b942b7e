/** Sinks and webhooks as the gateway uses them: each with a name that holds no credential, secrets at hand. */
import { durationMs } from "./call/authorize/written.ts";
import type { ErrorShape, Sink, Webhook } from "./config.ts";
import type { ConfigFile } from "./config-schema.ts";
import type { Document, Problem } from "./document.ts";
import { problemAtValue } from "./issues.ts";
import type { Secret } from "./secret.ts";

type SinkFile = ConfigFile["sync"][number];

export function sinkOf(sink: SinkFile, reveal: (written: string) => Secret, secretIn: (written: string) => Secret): Sink {
  const common = {
    isNamed: sink.name !== undefined,
    everyMs: durationMs(sink.every),
    batch: sink.batch,
    maxPerSecond: sink.maxPerSecond,
    timeoutMs: durationMs(sink.timeout),
    maxAgeMs: sink.maxAge === undefined ? null : durationMs(sink.maxAge),
    backlogMax: sink.backlogMax ?? null,
    send: [...new Set(sink.send)],
  };
  if (sink.type === "postgres") {
    const url = secretIn(sink.url);
    return { type: "postgres", ...common, name: sink.name ?? placeOf(url.reveal()), url };
  }
  return {
    type: "cloudevents",
    ...common,
    name: sink.name ?? placeOf(sink.url),
    url: sink.url,
    bearer: sink.bearer === undefined ? null : reveal(sink.bearer),
    dedupeWindowMs: sink.dedupeWindow === "unbounded" ? null : durationMs(sink.dedupeWindow),
    errors: sink.errors === undefined ? null : shapeOf(sink.errors),
  };
}

function shapeOf(written: NonNullable<Extract<SinkFile, { type: "cloudevents" }>["errors"]>): ErrorShape {
  return typeof written === "string" ? { list: written, index: "/index", id: "/id", retry: "/retryable" } : written;
}

export function webhookOf(
  { name, url, secret, events, timeout }: ConfigFile["webhooks"][number],
  reveal: (written: string) => Secret,
): Webhook {
  return { name: name ?? placeOf(url), isNamed: name !== undefined, url, secret: reveal(secret), events, timeoutMs: durationMs(timeout) };
}

/** Host and path: a user name, a password and a query, which may hold a key, stay out of it. */
function placeOf(url: string): string {
  const parsed = URL.parse(url);
  return parsed === null ? "unnamed" : `${parsed.host}${parsed.pathname}`.replace(/\/$/, "");
}

/** What only the secrets themselves tell: whether two names are one, and whether a key has the form of one. */
export function deliveryProblems(document: Document, sinks: readonly Sink[], webhooks: readonly Webhook[]): Problem[] {
  const found: Problem[] = [];
  const places = [
    ...sinks.map(({ name }, index) => ({ name, section: "sync", index })),
    ...webhooks.map(({ name }, index) => ({ name, section: "webhooks", index })),
  ];
  for (const [position, { name, section, index }] of places.entries()) {
    const other = places.findIndex((place) => place.name === name);
    const first = places[other];
    if (first !== undefined && other < position)
      found.push(
        problemAtValue(document, [section, index], `has the name of ${first.section}[${first.index}]: give each its own (name: ...)`),
      );
  }
  for (const [index, { secret }] of webhooks.entries()) {
    if (webhookKey(secret) === null)
      found.push(
        problemAtValue(document, ["webhooks", index, "secret"], "must be whsec_ and 24 to 64 bytes in base64 (openssl rand -base64 32)"),
      );
  }
  for (const [index, sink] of sinks.entries()) {
    if (sink.type === "postgres" && !/^postgres(ql)?:$/.test(URL.parse(sink.url.reveal())?.protocol ?? ""))
      found.push(problemAtValue(document, ["sync", index, "url"], "must be a postgres:// URL"));
  }
  return found;
}

/** Standard Webhooks: the key's bytes, or null where the text is no such key. */
export function webhookKey(secret: Secret): Buffer | null {
  const match = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(secret.reveal());
  const key = Buffer.from(match?.[1] ?? "", "base64");
  return key.length >= 24 && key.length <= 64 ? key : null;
}
