/** A gateway as its users run it: a process of its own, a config file, a data folder, the command line. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, unlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import Database from "better-sqlite3";

const MAIN = join(import.meta.dirname, "../../src/main.ts");
const run = promisify(execFile);
const PORT_TRIES = 3;

export type Setup = {
  /** YAML of `servers:`, indented by two. */
  readonly servers: string;
  /** A whole policy file. */
  readonly policies: string;
  /** Further YAML at the top level of the config. */
  readonly more?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Of something that stands in front and that the clients call; default: the gateway's own port. */
  readonly publicPort?: number;
};

export type Credentials = { id: string; name: string; client_id: string; client_secret: string };

export class GatewayProcess {
  readonly folder: string;
  readonly configFile: string;
  readonly publicUrl: string;
  /** Where the gateway itself listens: `publicUrl`, unless something stands in front. */
  readonly listenUrl: string;
  readonly adminUrl: string;
  readonly probesUrl: string;
  readonly env: NodeJS.ProcessEnv;
  /** Everything the process printed, for canary searches. */
  output = "";
  child: ChildProcess | null = null;
  #namespaces = false;
  #killed = false;

  private constructor(folder: string, ports: readonly number[], setup: Setup) {
    this.folder = folder;
    this.configFile = join(folder, "tollgate.yaml");
    this.publicUrl = `http://127.0.0.1:${setup.publicPort ?? ports[0]}`;
    this.listenUrl = `http://127.0.0.1:${ports[0]}`;
    this.adminUrl = `http://127.0.0.1:${ports[1]}`;
    this.probesUrl = `http://127.0.0.1:${ports[2]}`;
    this.env = { ...process.env, ...setup.env };
  }

  static async prepare(setup: Setup): Promise<GatewayProcess> {
    const folder = mkdtempSync(join(tmpdir(), "tollgate-e2e-"));
    const ports = await freePorts(3);
    const gateway = new GatewayProcess(folder, ports, setup);
    mkdirSync(join(folder, "policies"));
    writeFileSync(join(folder, "policies", "test.yaml"), setup.policies);
    const listeners = `listen: { port: ${ports[0]} }\nadmin: { port: ${ports[1]} }\nprobes: { port: ${ports[2]} }`;
    writeFileSync(
      gateway.configFile,
      `apiVersion: tollgate/v1\npublicUrl: ${gateway.publicUrl}\n${listeners}\n${setup.more ?? ""}\nservers:\n${setup.servers}\n`,
    );
    return gateway;
  }

  static async start(setup: Setup): Promise<GatewayProcess> {
    for (let tries = 1; ; tries++) {
      const gateway = await GatewayProcess.prepare(setup);
      try {
        await gateway.serve();
        return gateway;
      } catch (fault) {
        // A port that was free a moment ago is a connection's by now: others are asked for.
        if (tries === PORT_TRIES || !gateway.output.includes("the port is in use")) throw fault;
      }
    }
  }

  serve(...more: string[]): Promise<void> {
    return this.#serve(process.execPath, [MAIN, "serve", "-c", this.configFile, ...more]);
  }

  /** The data folder `small` is a file system of so many megabytes, in a mount namespace of the gateway's own. */
  serveOnSmallDisk(megabytes: number): Promise<void> {
    mkdirSync(join(this.folder, "small"));
    this.#namespaces = true;
    const script = `mount -t tmpfs -o size=${megabytes}m,mode=700 tmpfs "$1/small" && exec "$2" "$3" serve -c "$4"`;
    return this.#serve("unshare", ["-rm", "sh", "-c", script, "sh", this.folder, process.execPath, MAIN, this.configFile]);
  }

  /** Through /proc, the only way into another mount namespace without entering it. */
  get #smallDisk(): string {
    return `/proc/${this.child?.pid}/root${this.folder}/small`;
  }

  fillDisk(): void {
    try {
      for (let i = 0; ; i++) writeFileSync(join(this.#smallDisk, `ballast-${i}`), Buffer.alloc(4096, 1));
    } catch {
      // No room left: that is the point.
    }
  }

  freeDisk(): void {
    for (const file of readdirSync(this.#smallDisk)) if (file.startsWith("ballast-")) unlinkSync(join(this.#smallDisk, file));
  }

  async #serve(program: string, args: readonly string[]): Promise<void> {
    const child = spawn(program, args, { env: this.env, stdio: ["ignore", "pipe", "pipe"] });
    this.child = child;
    child.stdout?.on("data", (bytes) => {
      this.output += bytes;
    });
    child.stderr?.on("data", (bytes) => {
      this.output += bytes;
    });
    for (let i = 0; i < 2_400; i++) {
      if (child.exitCode !== null || child.signalCode !== null)
        throw new Error(`serve exited with ${child.exitCode ?? child.signalCode}:\n${this.output}`);
      const ready = await fetch(`${this.probesUrl}/readyz`).catch(() => null);
      if (ready?.status === 200) return;
      await sleep(25);
    }
    throw new Error(`the gateway is not ready:\n${this.output}`);
  }

  /** Runs where the gateway runs, so that both see the same data folder. */
  async command(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    const inside = this.#namespaces ? ["nsenter", "--preserve-credentials", "-U", "-m", "-t", String(this.child?.pid)] : [];
    const [program = "", ...rest] = [...inside, process.execPath, MAIN, ...args, "-c", this.configFile];
    try {
      const { stdout, stderr } = await run(program, rest, { env: this.env });
      return { code: 0, stdout, stderr };
    } catch (fault) {
      const failed = fault as { code?: number; stdout?: string; stderr?: string };
      return { code: failed.code ?? -1, stdout: failed.stdout ?? "", stderr: failed.stderr ?? String(fault) };
    }
  }

  async json<T>(...args: string[]): Promise<T> {
    const { code, stdout, stderr } = await this.command(...args, "--json");
    if (code !== 0) throw new Error(`${args.join(" ")} exited with ${code}: ${stderr}${stdout}`);
    return JSON.parse(stdout) as T;
  }

  /** As `agent create` does it, without a process for each: in another mount namespace its key is out of reach. */
  async createAgent(name: string, team = "support"): Promise<Credentials> {
    const [owner, purpose] = ["owner@example.com", "testing"];
    if (this.#namespaces) return this.json("agent", "create", name, "--team", team, "--owner", owner, "--purpose", purpose);
    const key = readFileSync(join(this.folder, "data", "admin.key"), "utf8").trim();
    const answer = await fetch(`${this.adminUrl}/api/v1/agents`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify({ name, team, owner, purpose }),
    });
    if (!answer.ok) throw new Error(`agent ${name}: ${answer.status} ${await answer.text()}`);
    return (await answer.json()) as Credentials;
  }

  /** An access token as an agent obtains it: client_credentials at the embedded authorization server. `server` is empty for `/mcp`. */
  async accessToken(credentials: Credentials, server: string, scope?: string): Promise<string> {
    const answer = await fetch(`${this.publicUrl}/oauth/token`, {
      method: "POST",
      headers: {
        "content-type": "application/x-www-form-urlencoded",
        authorization: `Basic ${Buffer.from(`${credentials.client_id}:${credentials.client_secret}`).toString("base64")}`,
      },
      body: new URLSearchParams({
        grant_type: "client_credentials",
        resource: `${this.publicUrl}/mcp${server === "" ? "" : `/${server}`}`,
        ...(scope ? { scope } : {}),
      }),
    });
    const body = (await answer.json()) as { access_token?: string };
    if (body.access_token === undefined) throw new Error(`no access token: ${answer.status} ${JSON.stringify(body)}`);
    return body.access_token;
  }

  signal(signal: NodeJS.Signals): Promise<number | null> {
    if (signal === "SIGKILL") this.#killed = true;
    const child = this.child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child?.exitCode ?? null);
    return new Promise((resolve) => {
      child.once("exit", (code) => resolve(code));
      child.kill(signal);
    });
  }

  /** Every test that ends calmly also asks the books for each request that the log tells of. */
  async stop(): Promise<number | null> {
    const code = await this.signal("SIGTERM");
    const file = join(this.folder, "data", "journal.db");
    if (code === 0 && !this.#killed && !this.output.includes('"journal":"down"') && existsSync(file)) {
      const missing = unrecorded(file, this.output);
      if (missing.length > 0) throw new Error(`${missing.length} requests left no record: ${missing.slice(0, 5).join(" ")}`);
    }
    return code;
  }
}

/** Ids of requests that the log tells of and that have not exactly one record. */
export function unrecorded(journalFile: string, output: string): string[] {
  const journal = new Database(journalFile, { readonly: true });
  const records = journal.prepare("SELECT count(*) FROM audit_record WHERE kind = 'call' AND call_id = ?").pluck();
  const told = output
    .split("\n")
    .flatMap((line) => (/"msg":"(?:request|fault)"/.test(line) ? (/"call_id":"(call_[0-9a-z]+)"/.exec(line)?.[1] ?? []) : []));
  const missing = told.filter((callId) => records.get(callId) !== 1);
  journal.close();
  return missing;
}

/** One modern (2026-07-28) request, as plain HTTP. */
export async function modernRequest(
  url: string,
  accessToken: string | null,
  method: string,
  params: Record<string, unknown> = {},
  id: number | string = 1,
  signal: AbortSignal | null = null,
): Promise<Response> {
  const named = params.name ?? params.uri ?? params.taskId;
  return fetch(url, {
    method: "POST",
    signal,
    headers: {
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": method,
      ...(named === undefined ? {} : { "mcp-name": String(named) }),
      ...(accessToken === null ? {} : { authorization: `Bearer ${accessToken}` }),
    },
    body: JSON.stringify({
      jsonrpc: "2.0",
      id,
      method,
      params: {
        ...params,
        _meta: {
          "io.modelcontextprotocol/protocolVersion": "2026-07-28",
          "io.modelcontextprotocol/clientCapabilities": {},
          ...(params._meta as object | undefined),
        },
      },
    }),
  });
}

/** One legacy (2025-11-25) request without a session, as plain HTTP. */
export async function legacyRequest(
  url: string,
  accessToken: string | null,
  method: string,
  params: Record<string, unknown> = {},
  id: number | string = 1,
): Promise<Response> {
  return fetch(url, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": "2025-11-25",
      ...(accessToken === null ? {} : { authorization: `Bearer ${accessToken}` }),
    },
    body: JSON.stringify({ jsonrpc: "2.0", id, method, params }),
  });
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve) => {
          const server = createServer().listen(0, "127.0.0.1", () => resolve(server));
        }),
    ),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
