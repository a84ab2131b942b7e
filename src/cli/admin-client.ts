/** A command's way to a running gateway: the admin API of the configured port, with the key from the data folder. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../config.ts";
import { EXIT, Exit, type Io } from "./io.ts";

export type AdminClient = {
  get<T>(path: string): Promise<T>;
  patch<T>(path: string, body: unknown): Promise<T>;
  /** `key`: what is posted with it again within a day is answered as the first was, and not done twice. */
  post<T>(path: string, body: unknown, timeoutMs?: number, key?: string): Promise<T>;
};

/** A no, with what is wrong with which of many where the gateway told. */
export class Refused extends Exit {
  readonly problems: readonly { readonly index: number; readonly detail: string }[] | null;
  constructor(code: number, message: string, problems: Refused["problems"]) {
    super(code, message);
    this.problems = problems;
  }
}

/** No gateway listens: commands that can read the data folder do so instead. */
export class NoGateway extends Exit {}

// An administrative answer is small and quick; a hung gateway must not hang the terminal.
const ANSWER_TIMEOUT_MS = 30_000;

/** With the key of the environment (`TOLLGATE_ADMIN_KEY`), or else with the first one from the data folder. */
export function adminClient(config: Config, { env }: Pick<Io, "env">): AdminClient {
  return adminAt(
    `http://${urlHost(config.admin.host)}:${config.admin.port}`,
    () => env.TOLLGATE_ADMIN_KEY?.trim() || adminKey(config),
    `Start it: tollgate serve -c ${config.file}`,
  );
}

/** `key` is read at each request, so that it is never held longer than it is used. */
export function adminAt(origin: string, key: () => string, remedy = "Start it: tollgate serve"): AdminClient {
  const base = `${origin}/api/v1`;
  const send = async <T>(method: string, path: string, body?: unknown, timeoutMs = ANSWER_TIMEOUT_MS, once?: string): Promise<T> => {
    const answer = await fetch(`${base}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${key()}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(once === undefined ? {} : { "idempotency-key": once }),
      },
      body: body === undefined ? null : JSON.stringify(body),
      signal: AbortSignal.timeout(timeoutMs),
      redirect: "error",
    }).catch((fault: Error) => {
      const cause = fault.cause instanceof Error ? fault.cause.message : fault.message;
      throw new NoGateway(EXIT.away, `no gateway answers at ${base} (${cause || "connection refused"}). ${remedy}`);
    });
    const json = jsonOf(await answer.text());
    if (typeof json !== "object" || json === null)
      throw new NoGateway(EXIT.away, `what answers at ${base} is no gateway: another program has the port. ${remedy}`);
    if (!answer.ok) throw refused(answer.status, json);
    return json as T;
  };
  return {
    get: (path) => send("GET", path),
    patch: (path, body) => send("PATCH", path, body),
    post: (path, body, timeoutMs, once) => send("POST", path, body, timeoutMs, once),
  };
}

/** Every page of a list. */
export async function allPages<T>(admin: AdminClient, path: string, filters: readonly [string, string][]): Promise<T[]> {
  const found: T[] = [];
  for (let after: string | null = ""; after !== null; ) {
    const query = new URLSearchParams(Object.fromEntries(filters));
    query.set("limit", "1000");
    if (after !== "") query.set("after", after);
    const page: { items: T[]; next_cursor: string | null } = await admin.get(`${path}?${query}`);
    found.push(...page.items);
    after = page.next_cursor;
  }
  return found;
}

function adminKey(config: Config): string {
  const file = join(config.data, "admin.key");
  try {
    return readFileSync(file, "utf8").trim();
  } catch {
    throw new NoGateway(
      EXIT.away,
      `there is no admin key at ${file}: it is made when the gateway first starts. Start it: tollgate serve -c ${config.file}`,
    );
  }
}

/** RFC 9457: 4xx is the answer "no", anything else a gateway in trouble. */
function refused(status: number, problem: { title?: string; detail?: string; problems?: Refused["problems"] }): Exit {
  const message = [problem.title, problem.detail].filter(Boolean).join(": ") || `the gateway answered ${status}`;
  return new Refused(status >= 500 ? EXIT.away : EXIT.no, message, problem.problems ?? null);
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function urlHost(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}
