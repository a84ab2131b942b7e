/** One connection to Redis, or to the node of its cluster that has the keys: scripts in order, each with a deadline. What fails once breaks it whole, and nothing is asked twice. */
import { createHash } from "node:crypto";
import { COUNTING, prelude } from "./counting-scripts.ts";
import { SHARING } from "./sharing-scripts.ts";

const SCRIPTS = { ...COUNTING, ...SHARING };
export type ScriptName = keyof typeof SCRIPTS;

/** What a script answers: words, and whole numbers as text. */
export type Reply = readonly (string | number)[];

/** What INFO says of the process that answers. */
export type Incarnation = { readonly id: string; readonly role: string; readonly policy: string };

export interface Link {
  /** Rejects with `LedgerAway`: nobody knows whether it was done. */
  run(name: ScriptName, args: readonly string[]): Promise<Reply>;
  incarnation(): Promise<Incarnation>;
  /** Whoever waits for an answer hears `LedgerAway`. */
  break(why: string): void;
}

export type LinkOptions = {
  /** Holds a password perhaps: never logged. */
  readonly url: string;
  readonly namespace: string;
  readonly timeoutMs: number;
  readonly mono: () => number;
  /** Called once. */
  readonly onBroken: (why: string) => void;
  /** From how many nodes of a cluster it has been sent on. */
  readonly hops?: number;
  /** Lua that returns milliseconds since the epoch; whoever tests turns the clock here. */
  readonly time?: string;
};

/** The shared ledger did not answer, or not in time. */
export class LedgerAway extends Error {
  override readonly name = "LedgerAway";
}

/** The Redis at that address cannot carry budgets; the message says what to set. */
export class LedgerUnfit extends Error {}

/** The clock of the machine that counts: one for all gateways. */
const TIME_OF_REDIS = "local t = redis.call('TIME') return t[1] * 1000 + math.floor(t[2] / 1000)";

/** How often the age of what waits is looked at, as a part of the deadline: an answer is then at most a fifth too late. */
const CHECKS = 5;

/** Two nodes that do not agree on who has the keys send whoever asks from one to the other. */
const HOPS_MAX = 3;

/** To the node that has the namespace's keys, where `url` is any of a cluster. Rejects where nobody answers there. */
export async function openLink(options: LinkOptions): Promise<Link> {
  const { url, namespace, timeoutMs, mono, onBroken, hops = 0, time = TIME_OF_REDIS } = options;
  const { createClient } = await import("@redis/client");
  const client = createClient({
    ...{ url, RESP: 2, name: "tollgate", disableOfflineQueue: true, disableClientInfo: true, maintNotifications: "disabled" },
    socket: { reconnectStrategy: false, connectTimeout: timeoutMs, keepAlive: true, noDelay: true },
  });
  // One braced part in every name: a cluster keeps all keys of a namespace in one slot.
  const control = `{${namespace}}:control`;
  const texts = new Map(Object.entries(SCRIPTS).map(([name, body]) => [name, textOf(prelude(time) + body)]));
  /** When each began to wait, the oldest first. */
  const waiting = new Set<{ readonly sinceMs: number }>();
  let brokenBy: string | null = null;
  const leave = (why: string) => {
    brokenBy = why;
    clearInterval(watch);
    try {
      client.destroy();
    } catch {
      // It was not open, or is closing by itself.
    }
  };
  const fail = (why: string) => {
    if (brokenBy !== null) return;
    leave(why);
    onBroken(why);
  };
  const watch = setInterval(() => {
    const [oldest] = waiting;
    if (oldest !== undefined && mono() - oldest.sinceMs > timeoutMs) fail(`no answer within ${timeoutMs} ms`);
  }, timeoutMs / CHECKS).unref();
  client.on("error", (fault: unknown) => fail(wordsOf(fault)));

  async function ask<T>(asked: () => Promise<T>): Promise<T> {
    if (brokenBy !== null) throw new LedgerAway(brokenBy);
    const ticket = { sinceMs: mono() };
    waiting.add(ticket);
    try {
      return await asked();
    } catch (fault) {
      fail(wordsOf(fault));
      throw new LedgerAway(brokenBy ?? "", { cause: fault });
    } finally {
      waiting.delete(ticket);
    }
  }

  await ask(() => client.connect());
  const home = await ask(() => client.sendCommand(["HEXISTS", control, "epoch"]).then(() => null, movedFrom(url)));
  if (home !== null) {
    leave("its keys are on another node");
    if (hops === HOPS_MAX) throw new LedgerAway("the nodes of its cluster do not agree on who has its keys");
    return openLink({ ...options, url: home, hops: hops + 1 });
  }
  // Known beforehand, so that nothing overtakes a first use.
  await ask(() => Promise.all([...texts.values()].map(({ text }) => client.sendCommand(["SCRIPT", "LOAD", text]))));
  return {
    run: (name, args) =>
      ask(async () => {
        const { text, sha } = texts.get(name) ?? textOf("");
        const rest = ["1", control, ...args];
        try {
          return (await client.sendCommand(["EVALSHA", sha, ...rest])) as unknown as Reply;
        } catch (fault) {
          // Nothing of it has run: this process has not heard the script yet.
          if (!wordsOf(fault).startsWith("NOSCRIPT")) throw fault;
          return (await client.sendCommand(["EVAL", text, ...rest])) as unknown as Reply;
        }
      }),
    incarnation: () => ask(async () => incarnationIn(String(await client.sendCommand(["INFO"])))),
    break: fail,
  };
}

/** Where the node of a cluster says that the keys are, with the user, the password and the TLS of `url`. */
function movedFrom(url: string): (fault: unknown) => string {
  return (fault) => {
    const [, host, port = ""] = /^MOVED \d+ (.*):(\d+)$/.exec(wordsOf(fault)) ?? [];
    if (host === undefined) throw fault;
    const home = new URL(url);
    // A node that does not know its own name leaves it out: it is the one that was asked.
    if (host !== "") home.hostname = host.includes(":") ? `[${host}]` : host;
    home.port = port;
    return home.href;
  };
}

function incarnationIn(info: string): Incarnation {
  const said = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, "m").exec(info)?.[1] ?? "";
  // A process that was made a replica and promoted again keeps its run_id, and has another replication id. So has one whose first
  // replica has come, or whose last has been gone for an hour: its counters are filled again for nothing then.
  return { id: `${said("run_id")} ${said("master_replid")}`, role: said("role"), policy: said("maxmemory_policy") };
}

export function judge(incarnation: Incarnation): Incarnation {
  if (incarnation.role !== "master") throw new LedgerUnfit(`shared.redis: it is a ${incarnation.role}: name the one that takes writes`);
  if (incarnation.policy !== "noeviction")
    throw new LedgerUnfit(
      `shared.redis: its maxmemory-policy is ${incarnation.policy}, by which counters would vanish when its memory is full: set noeviction`,
    );
  return incarnation;
}

function textOf(text: string): { readonly text: string; readonly sha: string } {
  return { text, sha: createHash("sha1").update(text).digest("hex") };
}

function wordsOf(fault: unknown): string {
  return fault instanceof Error && fault.message !== "" ? fault.message : String(fault);
}
