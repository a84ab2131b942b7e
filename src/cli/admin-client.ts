/** A command's way to a running gateway: the admin API of the configured port, with the key from the data folder. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../config.ts";
import { EXIT, Exit } from "./io.ts";

export type AdminClient = {
  get<T>(path: string): Promise<T>;
  post<T>(path: string, body: unknown): Promise<T>;
};

/** No gateway listens: commands that can read the data folder do so instead. */
export class NoGateway extends Exit {}

// An administrative answer is small and quick; a hung gateway must not hang the terminal.
const ANSWER_TIMEOUT_MS = 30_000;

export function adminClient(config: Config): AdminClient {
  return adminAt(
    `http://${urlHost(config.admin.host)}:${config.admin.port}`,
    () => adminKey(config),
    `Start it: tollgate serve -c ${config.file}`,
  );
}

/** `key` is read at each request, so that it is never held longer than it is used. */
export function adminAt(origin: string, key: () => string, remedy = "Start it: tollgate serve"): AdminClient {
  const base = `${origin}/api/v1`;
  const send = async <T>(method: string, path: string, body?: unknown): Promise<T> => {
    const answer = await fetch(`${base}${path}`, {
      method,
      headers: { authorization: `Bearer ${key()}`, ...(body === undefined ? {} : { "content-type": "application/json" }) },
      body: body === undefined ? null : JSON.stringify(body),
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
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
  return { get: (path) => send("GET", path), post: (path, body) => send("POST", path, body) };
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
function refused(status: number, problem: { title?: string; detail?: string }): Exit {
  const message = [problem.title, problem.detail].filter(Boolean).join(": ") || `the gateway answered ${status}`;
  return new Exit(status >= 500 ? EXIT.away : EXIT.no, message);
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
