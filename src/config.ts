/** Pure. The configuration as the gateway uses it: paths absolute, durations in milliseconds, secrets at hand, nothing optional. */
import type { ProfileName } from "./call/authenticate/profiles.ts";
import type { Price } from "./call/budget/price.ts";
import type { EventType } from "./call/record/event-types.ts";
import type { ServerName } from "./ids.ts";
import type { Secret } from "./secret.ts";

export type Config = {
  /** Absolute. */
  readonly file: string;
  /** `sha256:` and the first 16 hex digits over the file's bytes. */
  readonly configVersion: string;
  readonly publicUrl: string;
  readonly listen: Address & {
    readonly behindProxy: { readonly trusted: readonly string[] } | null;
    readonly allowedHosts: readonly string[] | null;
    readonly allowedOrigins: readonly string[];
  };
  readonly admin: Address;
  readonly probes: Address;
  readonly data: string;
  /** Null: made at the first start and kept in `data`. */
  readonly gatewayId: string | null;
  /** The folder of the signing and sealing keys: `data`, or one that several gateways share. */
  readonly keys: string;
  /** The file of the key that signs the log. */
  readonly logKey: string;
  readonly checkpointEveryMs: number;
  readonly witness: Witness | null;
  readonly shared: {
    readonly postgres: Secret | null;
    readonly staleAfterMs: number;
    /** Null: budgets are counted in this process alone. */
    readonly redis: Secret | null;
    readonly namespace: string;
    readonly timeoutMs: number;
    readonly lapseMs: number;
  };
  readonly policies: string;
  /** `observe`: policies are judged and recorded, and refuse nothing. */
  readonly mode: "enforce" | "observe";
  readonly refusals: "jsonrpc" | "http" | "toolResult";
  readonly authorizationServer: { readonly enabled: boolean; readonly accessTokenTtlMs: number };
  readonly issuers: readonly Issuer[];
  readonly servers: ReadonlyMap<ServerName, Server>;
  /** By name, without the one of all servers. */
  readonly views: ReadonlyMap<string, ViewRules>;
  /** External guards, by name. */
  readonly inspectors: ReadonlyMap<string, Inspector>;
  /** `atMostMs` null: for ever. */
  readonly idempotency: { readonly keepMs: number };
  readonly retention: { readonly atLeastMs: number; readonly atMostMs: number | null };
  /** Null: nobody is told of any. */
  readonly anomalies: Anomalies | null;
  readonly metering: Metering;
  readonly sync: readonly Sink[];
  readonly webhooks: readonly Webhook[];
};

/** When an agent's calls are unusual: an hour of its calls too, by its busiest hour. */
export type Anomalies = {
  readonly learnDays: number;
  readonly rememberDays: number;
  readonly overactive: { readonly times: number; readonly atLeast: number };
};

/** What is counted beyond calls and tokens, and what reporters may tell. */
export type Metering = {
  /** How old an event may be when it is reported. */
  readonly latenessMs: number;
  readonly receipts: boolean;
  readonly eventTypes: readonly EventType[];
  readonly outcomes: readonly OutcomeRule[];
  readonly meters: readonly MeterRule[];
  readonly prices: readonly PriceRule[];
  /** The currency, and which table of prices it is; null: there is none. */
  readonly pricesVersion: string | null;
};

/** What a pattern of targets costs from a time on. */
export type PriceRule = { readonly tool: string; readonly fromMs: number; readonly price: Price };

/** `tool` null: counted only where it is reported. `when` null: every result that is no error. */
export type OutcomeRule = { readonly name: string; readonly tool: string | null; readonly when: string | null };
export type MeterRule = {
  readonly name: string;
  readonly tool: string;
  readonly of: "result" | "arguments";
  readonly pointer: string;
  readonly max: number;
};

/** `key`: a C2SP verifier key. */
export type Witness = { readonly url: string; readonly key: string };

/** What a view selects of its servers. */
export type ViewRules = {
  readonly tools: readonly string[];
  readonly max: number | null;
  readonly rename: ReadonlyMap<string, string>;
};

export type Address = { readonly host: string; readonly port: number };

export type Issuer = {
  readonly issuer: string;
  readonly profile: ProfileName;
  /** Null: the route's URL. */
  readonly audience: string | null;
  /** `claims.realm.agent` is `["realm", "agent"]`. */
  readonly agentClaim: readonly string[] | null;
  readonly clients: readonly string[];
  /** Null: an identity that nobody has registered is refused. */
  readonly register: { readonly where: readonly string[]; readonly attributes: Readonly<Record<string, string>> } | null;
  readonly introspection: {
    readonly url: string;
    readonly clientId: string;
    readonly clientSecret: Secret;
    readonly prefix: string | null;
  } | null;
  /** The text of a JWK Set; null: fetched. */
  readonly jwks: Secret | null;
  readonly jwksUri: string | null;
  readonly algorithms: readonly ("RS256" | "PS256" | "ES256" | "Ed25519" | "EdDSA")[];
  readonly maxLifetimeMs: number;
};

type ServerCommon = {
  readonly name: ServerName;
  /** Null: not stated. */
  readonly region: string | null;
  readonly timeoutMs: number;
  readonly maxResultBytes: number;
  /** What a call holds by meter: tool_tokens, bytes of the result, duration_ms. */
  readonly reserve: Readonly<Record<string, number>>;
  readonly tools: { readonly pin: PinMode };
};

/** `firstUse`: what the first reading found counts; `strict`: what a person has approved; `off`: whatever the server says. */
export type PinMode = "firstUse" | "strict" | "off";

export type HttpServer = ServerCommon & {
  readonly kind: "http";
  readonly url: string;
  readonly credential: Credential;
  readonly clientCertificate: ClientCertificate | null;
  /** It understands Idempotency-Key. */
  readonly idempotent: boolean;
};

export type StdioServer = ServerCommon & {
  readonly kind: "stdio";
  readonly command: readonly [program: string, ...args: string[]];
  readonly env: Readonly<Record<string, Secret>>;
  readonly cwd: string;
  readonly child: "perAgent" | "shared";
  readonly maxChildren: number;
};

export type Server = HttpServer | StdioServer;

export type Credential =
  | { readonly kind: "none" | "mtls" }
  | { readonly kind: "bearer"; readonly bearer: Secret }
  | { readonly kind: "header"; readonly name: string; readonly value: Secret }
  | { readonly kind: "basic"; readonly username: string; readonly password: Secret }
  | ({ readonly kind: "clientCredentials" | "privateKeyJwt" } & UpstreamClient)
  | ({
      readonly kind: "tokenExchange";
      readonly profile: "rfc8693" | "entra-obo";
      readonly audience: string | null;
      /** Null: as the case is. */
      readonly actorToken: boolean | null;
    } & UpstreamClient);

export type UpstreamClient = {
  /** Null: as the server's own metadata name it, among `clients`. */
  readonly issuer: string | null;
  /** By issuer. */
  readonly clients: ReadonlyMap<string, IssuerClient>;
  readonly resource: string | null;
  readonly scopes: readonly string[];
  /** By pattern of tool names. */
  readonly toolScopes: ReadonlyMap<string, readonly string[]>;
};

export type IssuerClient = {
  readonly clientId: string;
  readonly authentication:
    | { readonly kind: "secret"; readonly secret: Secret; readonly method: "basic" | "post" | null }
    | { readonly kind: "key"; readonly key: Secret };
};

/** PEM texts. */
export type ClientCertificate = { readonly cert: Secret; readonly key: Secret; readonly ca: Secret | null };

export type Inspector = {
  readonly type: "http" | "authzen";
  readonly url: string;
  readonly bearer: Secret | null;
  readonly timeoutMs: number;
  /** Questions at once. */
  readonly concurrent: number;
  /** What becomes of a call when no verdict comes. */
  readonly onFailure: "refuse" | "unsafeAllow";
};

type SinkCommon = {
  /** Of its position in the journal, for people and metrics; holds no credential. */
  readonly name: string;
  /** False: the name is made of the URL, and stays out of metrics. */
  readonly isNamed: boolean;
  readonly everyMs: number;
  readonly batch: number;
  /** Of a backlog, at most. */
  readonly maxPerSecond: number;
  readonly send: readonly ("usage" | "records" | "checkpoints")[];
  readonly timeoutMs: number;
  /** Null: usage events are sent whatever their age. */
  readonly maxAgeMs: number | null;
  /** Null: calls never wait for it. */
  readonly backlogMax: number | null;
};

export type Sink =
  | (SinkCommon & {
      readonly type: "cloudevents";
      readonly url: string;
      readonly bearer: Secret | null;
      /** Null: it knows for ever what it has. */
      readonly dedupeWindowMs: number | null;
      /** Null: the shapes that are known. */
      readonly errors: ErrorShape | null;
    })
  | (SinkCommon & { readonly type: "postgres"; readonly url: Secret });

/** JSON pointers; `retry` may also be `always` or `never`. */
export type ErrorShape = { readonly list: string; readonly index: string; readonly id: string; readonly retry: string };

export type Webhook = {
  readonly name: string;
  readonly isNamed: boolean;
  readonly url: string;
  readonly secret: Secret;
  /** Kinds of records, `*` for anything. */
  readonly events: readonly string[];
  readonly timeoutMs: number;
};
