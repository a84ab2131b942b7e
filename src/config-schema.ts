/** The configuration file: one closed schema, from which its types, its checks and the JSON Schema come. */
import { z } from "zod";
import { isNetwork, isOrigin } from "./addresses.ts";
import { anomalies } from "./config-anomalies.ts";
import { clients, credential } from "./config-credential.ts";
import { checkpoint, logKey, witness } from "./config-evidence.ts";
import { idempotency, idempotent } from "./config-idempotency.ts";
import { inspectors } from "./config-inspectors.ts";
import { issuers } from "./config-issuers.ts";
import { eventTypes, metering, meters, outcomes, receipts } from "./config-metering.ts";
import { amount, duration, HOUR, httpUrl, plain, text } from "./config-parts.ts";
import { prices } from "./config-prices.ts";
import { retention } from "./config-retention.ts";
import { shared } from "./config-shared.ts";
import { sync, webhooks } from "./config-sync.ts";

const serverCommon = {
  region: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, "is not a region: 1 to 64 letters, digits, . _ and -")
    .optional()
    .describe("Where it runs, for conditions (`region`) and records."),
  timeout: duration(HOUR, "How long one call may take.").default("60s"),
  maxResultBytes: amount(1024, 67_108_864).default(4_194_304).describe("Largest result that a hard budget can hold back, bytes."),
  reserve: z
    .strictObject({
      tool_tokens: amount(0, Number.MAX_SAFE_INTEGER).default(2000).describe("Tokens held on each token budget."),
      bytes: amount(0, Number.MAX_SAFE_INTEGER)
        .default(262_144)
        .describe("Bytes of the result held on each budget of bytes, beside those of the request."),
      duration_ms: amount(0, 24 * HOUR)
        .optional()
        .describe("Milliseconds held on each budget of duration. Default: timeout."),
    })
    .prefault({})
    .describe("What is held on budgets while a call runs."),
  tools: z
    .strictObject({
      pin: z
        .enum(["firstUse", "strict", "off"])
        .default("firstUse")
        .describe(
          "Which tool definitions count: those of the first reading, and later ones once approved; strict: none before it is approved; off: whatever the server says.",
        ),
    })
    .prefault({})
    .describe("How far the server's own words of its tools are trusted."),
};

const httpServer = z.strictObject({
  url: httpUrl.describe("The server's Streamable HTTP endpoint."),
  credential: credential.default("none"),
  idempotent,
  ...serverCommon,
});
const stdioServer = z.strictObject({
  command: z.array(text).min(1).describe("Program and arguments. A program with a slash is relative to this file."),
  env: z
    .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "is not a variable name"), z.string())
    .default({})
    .describe("Its environment."),
  cwd: text.optional().describe("Its working directory, relative to this file."),
  child: z.enum(["perAgent", "shared"]).default("perAgent").describe("One process for each agent, or one for all."),
  maxChildren: z.int().min(1).max(256).default(16).describe("Processes at a time; beyond them calls are refused as overloaded."),
  ...serverCommon,
});

const name32 = /^[a-z0-9-]{1,32}$/;
const view = z.strictObject({
  tools: z
    .array(text)
    .min(1)
    .describe("What it shows, in the patterns of the policies: server/tool, prompt:server/name, resource:server/uri; * matches anything."),
  max: z.int().min(1).max(1000).optional().describe("Tools that one agent is shown at most, in the order of the servers. Default: all."),
  rename: z
    .record(text, z.string().regex(/^(?!.*__)[A-Za-z0-9_./-]{1,128}$/, "is not a name: letters, digits, . / - and single _"))
    .default({})
    .describe("server/tool or prompt:server/name to the name that is shown in place of server__tool."),
});

const address = (port: number) => ({
  host: text.default("127.0.0.1").describe("The address to listen on."),
  port: z.int().min(0).max(65535).default(port).describe("The TCP port."),
});
const hostName = z.string().regex(/^(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?$/i, "is not a host, or a host with a port");
const origin = z.string().refine(isOrigin, "is not an origin: write scheme://host[:port] and nothing after it");

export const configSchema = z.strictObject({
  apiVersion: z.literal("tollgate/v1").describe("The version of this file's form."),
  publicUrl: httpUrl
    .optional()
    .describe("The URL that agents use, without a path. Tokens are valid for {publicUrl}/mcp/{server}. Default: listen.host and port."),
  listen: z
    .strictObject({
      ...address(8420),
      behindProxy: z
        .strictObject({ trusted: z.array(z.string().refine(isNetwork, "is not an address or a network such as 10.0.0.0/8")).min(1) })
        .optional()
        .describe("The peers that may set X-Forwarded-For; required beyond loopback."),
      allowedHosts: z
        .array(hostName)
        .min(1)
        .optional()
        .describe("Host headers that are served. Default: loopback names and publicUrl's host."),
      allowedOrigins: z.array(origin).default([]).describe("Browser origins that are served, beside the gateway's own."),
    })
    .prefault({})
    .describe("Where agents connect."),
  admin: z.strictObject(address(8421)).prefault({}).describe("Where people administer; loopback only."),
  probes: z.strictObject(address(8422)).prefault({}).describe("/healthz, /readyz and /metrics; loopback only."),
  data: plain.default("./data").describe("Folder of this gateway's journal, registry and keys."),
  gatewayId: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, "is not an id: 1 to 64 letters, digits, . _ and -, the first one a letter or a digit")
    .optional()
    .describe("This gateway's id, the `source` of its events; no other gateway has it. Default: made at the first start, kept in data."),
  keys: z
    .string()
    .regex(/^(data|file:.+)$/, "must be data, or file: and a folder: file:/keys")
    .default("data")
    .describe("Where keys.json is: data (this gateway's data folder), or file:FOLDER, which several gateways share."),
  logKey,
  checkpoint,
  witness,
  shared,
  policies: plain.default("./policies").describe("Folder of the policy files."),
  mode: z
    .enum(["enforce", "observe"])
    .default("enforce")
    .describe(
      "observe: policies and budgets are judged and recorded, and refuse nothing; bad credentials, stopped agents and malformed requests still are.",
    ),
  refusals: z.enum(["jsonrpc", "http", "toolResult"]).default("jsonrpc").describe("How a refusal looks to an MCP client."),
  authorizationServer: z
    .strictObject({
      enabled: z.boolean().default(true).describe("Whether agents can obtain their tokens here."),
      accessTokenTtl: duration(24 * HOUR, "How long an access token lives.").default("10m"),
    })
    .prefault({})
    .describe("The embedded authorization server."),
  issuers,
  clients,
  views: z
    .record(z.string().regex(name32, "a view's name is 1 to 32 of a-z, 0-9 and -"), view)
    .default({})
    .describe("Selections of several servers, each served as one at /mcp/{name}. All of them are at /mcp."),
  servers: z
    .record(
      z.string().regex(name32, "a server's name is 1 to 32 of a-z, 0-9 and -"),
      z.union([httpServer, stdioServer], { error: "must have either url (Streamable HTTP) or command (stdio)" }),
    )
    .refine((servers) => Object.keys(servers).length > 0, "must name at least one server")
    .describe("The MCP servers behind the gateway, each served at /mcp/{name}."),
  inspectors,
  eventTypes,
  outcomes,
  meters,
  prices,
  metering,
  receipts,
  idempotency,
  retention,
  anomalies,
  sync,
  webhooks,
});

export type ConfigFile = z.output<typeof configSchema>;
