/** What the journal and the registry know of past calls, for commands that weigh policies against them. */

import { durationMs, instantMs } from "../call/authorize/written.ts";
import type { CallPage, CallQuestion, PermitUse } from "../call/record/history.ts";
import type { Config } from "../config.ts";
import { adminClient, allPages, NoGateway } from "./admin-client.ts";
import { askOrRead } from "./books.ts";
import { inFolder } from "./folder-books.ts";
import { EXIT, Exit, type Io, paint } from "./io.ts";
import { grouped } from "./table.ts";

export type Window = Pick<CallQuestion, "sinceMs" | "untilMs" | "agent" | "borders">;

/** `tools`: by server, as far as the registry knows them. Null: no gateway runs that would know. */
export type Grants = {
  readonly scopes: ReadonlyMap<string, readonly string[]>;
  readonly tools: ReadonlyMap<string, readonly string[]>;
} | null;

/** Since when: `7d`, a date, or an RFC 3339 time. */
export function momentOf(option: string, written: string, nowMs: number): number {
  const ms = /^[1-9][0-9]{0,5}(m|h|d)$/.test(written) ? nowMs - durationMs(written) : instantMs(written);
  if (ms === null) throw new Exit(EXIT.usage, `${option} ${written}: a duration (7d, 12h), a date or an RFC 3339 time`);
  return ms;
}

/** A page of the journal at a time, so that its size does not matter. */
export async function* callPages(config: Config, io: Io, window: Window): AsyncGenerator<CallPage> {
  const admin = adminClient(config, io);
  const ask = { since: new Date(window.sinceMs).toISOString(), borders: window.borders === null ? "each" : window.borders.join(",") };
  const more = {
    ...(window.untilMs === null ? {} : { until: new Date(window.untilMs).toISOString() }),
    ...(window.agent === null ? {} : { agent: window.agent }),
  };
  let fromFolder = false;
  const read = (from: number | null) => () => {
    fromFolder = true;
    return inFolder(config, (books) => books.calls({ ...window, customer: null, from }));
  };
  let done = 0;
  for (let from: number | null = null, first = true; first || from !== null; first = false) {
    const query = new URLSearchParams({ ...ask, ...more, ...(from === null ? {} : { from: String(from) }) });
    const page: CallPage = fromFolder
      ? read(from)()
      : await askOrRead(config, io, () => admin.get<CallPage>(`/policy/calls?${query}`), read(from));
    yield page;
    done += page.read;
    if (io.color && page.next !== null) io.err(paint(io, "dim", `${grouped(done)} records read, ${grouped(page.size - page.next)} to go`));
    from = page.next;
  }
}

/** Null: neither a gateway nor a journal knows. */
export async function usesOf(config: Config, io: Io, rules: readonly string[], sinceMs: number): Promise<readonly PermitUse[] | null> {
  const admin = adminClient(config, io);
  const since = new Date(sinceMs).toISOString();
  const ask = async () =>
    (await admin.get<{ items: PermitUse[] }>(`/policy/uses?${new URLSearchParams({ since, rules: rules.join(",") })}`)).items;
  const read = () => inFolder(config, (books) => books.lastUses({ rules, since }));
  return unlessNoGateway(askOrRead(config, io, ask, read));
}

export async function grantsSince(config: Config, io: Io, sinceMs: number): Promise<Grants> {
  type Answer = { items: { agent: string; scopes: string[] }[]; tools: { server: string; tool: string }[] };
  const query = new URLSearchParams({ since: new Date(sinceMs).toISOString() });
  const answer = await unlessNoGateway(adminClient(config, io).get<Answer>(`/policy/grants?${query}`));
  if (answer === null) return null;
  const tools = Map.groupBy(answer.tools, ({ server }) => server);
  return {
    scopes: new Map(answer.items.map(({ agent, scopes }) => [agent, scopes])),
    tools: new Map([...tools].map(([server, pins]) => [server, pins.map(({ tool }) => tool)])),
  };
}

/** What the accounts of customers allow at most; empty where no gateway runs that would know. */
export async function accountsOf(config: Config, io: Io): Promise<ReadonlyMap<string, readonly string[] | null>> {
  type Customer = { key: string; tools: string[] | null };
  const customers = await unlessNoGateway(allPages<Customer>(adminClient(config, io), "/customers", []));
  return new Map((customers ?? []).map(({ key, tools }) => [key, tools]));
}

async function unlessNoGateway<T>(work: Promise<T>): Promise<T | null> {
  return work.catch((fault: unknown) => {
    if (fault instanceof NoGateway) return null;
    throw fault;
  });
}
