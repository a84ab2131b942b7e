/** Reads the config file: either all of it as the gateway uses it, or everything that is wrong with it. */
import { createHash } from "node:crypto";
import { dirname, resolve } from "node:path";
import { z } from "zod";
import { PROFILES } from "./call/authenticate/profiles.ts";
import { amountOf, durationMs } from "./call/authorize/written.ts";
import type { Config, IssuerClient, Server } from "./config.ts";
import { anomaliesOf } from "./config-anomalies.ts";
import { certificateOf, certificateProblem, clientOf, credentialOf, keyProblem } from "./config-credential-load.ts";
import { meteringOf } from "./config-metering.ts";
import { rulesOf } from "./config-rules.ts";
import { type ConfigFile, configSchema } from "./config-schema.ts";
import { deliveryProblems, sinkOf, webhookOf } from "./config-sync-load.ts";
import { type Document, type Path, type Problem, readDocument, sortProblems } from "./document.ts";
import type { ServerName } from "./ids.ts";
import { type KeySource, problemAtValue, problemsOf } from "./issues.ts";
import { keysFolder, keysFolderProblem } from "./keys-folder.ts";
import { logKeyFile, logKeyProblem } from "./log-key-file.ts";
import { Secret } from "./secret.ts";
import { isReference, type ReferenceForm, resolveReference } from "./secret-reference.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

export function loadConfig(file: string, env: Environment): { config: Config } | { problems: readonly Problem[] } {
  const document = readDocument(resolve(file));
  const parsed = configSchema.safeParse(document.data ?? {});
  const problems = [...document.problems];
  if (document.data !== undefined) {
    if (!parsed.success) problems.push(...problemsOf(document, parsed.error.issues, keysOfConfig()));
    const readable = parsed.success ? parsed.data : sectionsOf(without(document.data, parsed.error.issues));
    problems.push(...rulesOf(document, readable));
    const keys = keysFolderProblem(readable.keys ?? "data", dirname(document.file));
    const logKey = logKeyProblem(readable.logKey ?? "data", dirname(document.file));
    if (logKey !== null) problems.push(problemAtValue(document, ["logKey"], logKey));
    if (keys !== null) problems.push(problemAtValue(document, ["keys"], keys));
  }
  const references = new References(document, env);
  references.checkAll(document.data, []);
  problems.push(...references.problems);
  if (problems.length > 0 || !parsed.success) return { problems: sortProblems(problems) };
  const config = configOf(document, parsed.data, references);
  const late = deliveryProblems(document, config.sync, config.webhooks);
  return late.length > 0 ? { problems: sortProblems(late) } : { config };
}

/** The policies folder, where at least that much of the config can be read: `check` goes on there. */
export function policiesFolder(file: string): string {
  const data = readDocument(resolve(file)).data;
  const written = configSchema.shape.policies.safeParse(
    typeof data === "object" && data !== null && "policies" in data ? data.policies : undefined,
  );
  return resolve(dirname(resolve(file)), written.success ? written.data : "./policies");
}

function keysOfConfig(): KeySource {
  return z.toJSONSchema(configSchema, { io: "input" }) as KeySource;
}

/** The parts of the file that can be read, each by itself: a mistake in one does not hide what is wrong in another. */
function sectionsOf(data: unknown): Partial<ConfigFile> {
  if (typeof data !== "object" || data === null) return {};
  const sections: Record<string, unknown> = {};
  for (const [key, schema] of Object.entries(configSchema.shape)) {
    const section = schema.safeParse((data as Record<string, unknown>)[key]);
    if (section.success) sections[key] = section.data;
  }
  return sections as Partial<ConfigFile>;
}

/** The data without what the schema refuses. */
function without(data: unknown, issues: readonly z.core.$ZodIssue[]): unknown {
  const copy = structuredClone(data);
  for (const issue of issues) {
    const keys = issue.code === "unrecognized_keys" ? issue.keys : [issue.path.at(-1)];
    let parent: unknown = copy;
    for (const step of issue.code === "unrecognized_keys" ? issue.path : issue.path.slice(0, -1))
      parent = (parent as Record<PropertyKey, unknown>)?.[step];
    if (typeof parent === "object" && parent !== null) for (const key of keys) if (key !== undefined) Reflect.deleteProperty(parent, key);
  }
  return copy;
}

const SECRET_KEYS = new Set<string | number | undefined>(["bearer", "value", "clientSecret", "postgres", "redis", "password", "secret"]);

/** Null: no secret stands there. */
function formOf(path: Path): ReferenceForm | null {
  const key = path.at(-1);
  if (key === "clientKey" || (key === "key" && path.at(-2) === "mtls")) return "key";
  if ((key === "cert" || key === "ca") && path.at(-2) === "mtls") return "public";
  if (key === "jwks" && path.at(0) === "issuers") return "public";
  // Elsewhere a URL is written out; that of a database holds its password.
  if (key === "url" && path.at(0) === "sync") return "line";
  return SECRET_KEYS.has(key) || path.at(-2) === "env" ? "line" : null;
}

/** Secrets are read once, at load: a file that changes later counts from the next load. */
class References {
  readonly problems: Problem[] = [];
  readonly #document: Document;
  readonly #env: Environment;
  readonly #known = new Map<string, Secret>();

  constructor(document: Document, env: Environment) {
    this.#document = document;
    this.#env = env;
  }

  checkAll(value: unknown, path: Path): void {
    const form = formOf(path);
    if (typeof value === "string" && isReference(value) && form !== null) this.#check(value, path, form);
    if (typeof value !== "object" || value === null) return;
    for (const [key, item] of Array.isArray(value) ? value.entries() : Object.entries(value)) this.checkAll(item, [...path, key]);
    const misfit = path.at(-1) === "mtls" ? certificateProblem(value, (written) => this.#known.get(written)) : null;
    if (misfit !== null) this.problems.push(problemAtValue(this.#document, path, misfit));
  }

  #check(written: string, path: Path, form: ReferenceForm): void {
    const resolved = resolveReference(written, dirname(this.#document.file), this.#env, form);
    const problem = "problem" in resolved ? resolved.problem : path.at(-1) === "clientKey" ? keyProblem(resolved.secret) : null;
    if (problem !== null) this.problems.push(problemAtValue(this.#document, path, problem));
    if ("secret" in resolved) this.#known.set(written, resolved.secret);
  }

  get(written: string): Secret {
    const secret = this.#known.get(written);
    if (secret === undefined) throw new Error(`a reference was not checked: ${written}`);
    return secret;
  }
}

function configOf(document: Document, file: ConfigFile, references: References): Config {
  const folder = dirname(document.file);
  const { listen } = file;
  const reveal = (written: string) => references.get(written);
  const clients = new Map(Object.entries(file.clients).map(([issuer, client]) => [issuer, clientOf(client, reveal)]));
  const host = listen.host.includes(":") ? `[${listen.host}]` : listen.host;
  return {
    file: document.file,
    configVersion: `sha256:${createHash("sha256").update(document.bytes).digest("hex").slice(0, 16)}`,
    publicUrl: file.publicUrl ?? `http://${host}:${listen.port}`,
    listen: { ...listen, behindProxy: listen.behindProxy ?? null, allowedHosts: listen.allowedHosts ?? null },
    admin: file.admin,
    probes: file.probes,
    data: resolve(folder, file.data),
    gatewayId: file.gatewayId ?? null,
    keys: keysFolder(file.keys, resolve(folder, file.data), folder),
    logKey: logKeyFile(file.logKey, resolve(folder, file.data), folder),
    checkpointEveryMs: durationMs(file.checkpoint.every),
    witness: file.witness ?? null,
    shared: {
      postgres: file.shared.postgres === undefined ? null : secretIn(file.shared.postgres, references),
      staleAfterMs: durationMs(file.shared.staleAfter),
      redis: file.shared.redis === undefined ? null : secretIn(file.shared.redis, references),
      namespace: file.shared.namespace,
      timeoutMs: durationMs(file.shared.timeout),
      lapseMs: durationMs(file.shared.lapse),
    },
    policies: resolve(folder, file.policies),
    mode: file.mode,
    refusals: file.refusals,
    authorizationServer: {
      enabled: file.authorizationServer.enabled,
      accessTokenTtlMs: durationMs(file.authorizationServer.accessTokenTtl),
    },
    issuers: file.issuers.map((issuer) => ({
      issuer: issuer.issuer,
      profile: issuer.profile,
      audience: issuer.audience ?? null,
      agentClaim: issuer.agent?.split(".").slice(1) ?? null,
      clients: issuer.clients ?? [],
      register: issuer.unknownAgent === "register" && issuer.register !== undefined ? registerOf(issuer.register) : null,
      introspection: issuer.introspection === undefined ? null : introspectionOf(issuer.introspection, references),
      jwksUri: issuer.jwksUri ?? null,
      jwks: issuer.jwks === undefined ? null : references.get(issuer.jwks),
      algorithms: issuer.algorithms,
      maxLifetimeMs: issuer.maxLifetime === undefined ? PROFILES[issuer.profile].maxLifetimeMs : durationMs(issuer.maxLifetime),
    })),
    servers: new Map(
      Object.entries(file.servers).map(([name, server]) => [name as ServerName, serverOf(name, server, folder, references, clients)]),
    ),
    views: new Map(
      Object.entries(file.views).map(([name, { tools, max, rename }]) => [
        name,
        { tools, max: max ?? null, rename: new Map(Object.entries(rename)) },
      ]),
    ),
    inspectors: new Map(
      Object.entries(file.inspectors).map(([name, { bearer, timeout, ...inspector }]) => [
        name,
        { ...inspector, bearer: bearer === undefined ? null : references.get(bearer), timeoutMs: durationMs(timeout) },
      ]),
    ),
    metering: meteringOf(file),
    idempotency: { keepMs: durationMs(file.idempotency.keep) },
    retention: {
      atLeastMs: durationMs(file.retention.atLeast),
      atMostMs: file.retention.atMost === undefined ? null : durationMs(file.retention.atMost),
    },
    anomalies: anomaliesOf(file.anomalies),
    sync: file.sync.map((sink) => sinkOf(sink, reveal, (written) => secretIn(written, references))),
    webhooks: file.webhooks.map((webhook) => webhookOf(webhook, reveal)),
  };
}

type IntrospectionFile = NonNullable<ConfigFile["issuers"][number]["introspection"]>;

function introspectionOf({ clientSecret, prefix, ...written }: IntrospectionFile, references: References) {
  return { ...written, clientSecret: references.get(clientSecret), prefix: prefix ?? null };
}

type RegisterFile = NonNullable<ConfigFile["issuers"][number]["register"]>;

function registerOf({ where, ...written }: RegisterFile): { where: readonly string[]; attributes: Record<string, string> } {
  const said = Object.entries(written).filter((pair): pair is [string, string] => pair[1] !== undefined);
  return { where, attributes: Object.fromEntries(said) };
}

function serverOf(
  name: string,
  server: ConfigFile["servers"][string],
  folder: string,
  references: References,
  clients: ReadonlyMap<string, IssuerClient>,
): Server {
  const common = {
    name: name as ServerName,
    region: server.region ?? null,
    timeoutMs: durationMs(server.timeout),
    maxResultBytes: amountOf(server.maxResultBytes),
    reserve: reserveOf(server),
    tools: server.tools,
  };
  if ("url" in server) {
    const reveal = (written: string) => references.get(written);
    const credential = credentialOf(server.credential, clients, reveal);
    const clientCertificate = certificateOf(server.credential, reveal);
    return { kind: "http", ...common, url: server.url, credential, clientCertificate, idempotent: server.idempotent === "header" };
  }
  const [program = "", ...args] = server.command;
  const env = Object.entries(server.env).map(([key, value]) => [key, secretIn(value, references)] as const);
  return {
    kind: "stdio",
    ...common,
    // A bare name is looked up in PATH; anything with a slash is a file beside the config.
    command: [program.includes("/") ? resolve(folder, program) : program, ...args],
    env: Object.fromEntries(env),
    cwd: resolve(folder, server.cwd ?? "."),
    child: server.child,
    maxChildren: server.maxChildren,
  };
}

function reserveOf({ reserve, timeout }: ConfigFile["servers"][string]): Readonly<Record<string, number>> {
  const { tool_tokens, bytes, duration_ms = durationMs(timeout) } = reserve;
  return { tool_tokens: amountOf(tool_tokens), bytes: amountOf(bytes), duration_ms: amountOf(duration_ms) };
}

/** A value that may be a reference: redacted all the same where it stands in clear. */
function secretIn(written: string, references: References): Secret {
  return isReference(written) ? references.get(written) : new Secret(written);
}
