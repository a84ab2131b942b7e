/** One attack as its file tells it: who does it, what is sent, and what must come of it. A file that is not quite one is refused. */
import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { z } from "zod";
import { readDocument } from "../../src/document.ts";
import { REASONS, SUBJECTS } from "./contract.ts";

/** `agent` may use most of what there is, `other-agent` the same and `private`, `stranger` nothing; `nobody` has no credential. */
const who = z.enum(["agent", "other-agent", "stranger", "nobody"]);
export type Who = z.output<typeof who>;

const text = z.string().min(1);
const sender = { as: who.default("agent"), server: text.default("modern") };
const era = z.enum(["modern", "legacy"]);

/** Bytes as they leave: characters up to U+00FF are one byte each. */
const rawRequest = z.strictObject({
  ...sender,
  era: era.default("modern"),
  raw: z.array(text).min(1).describe("Pieces, each written by itself. {{placeholders}} are filled in."),
  /** Between two pieces. */
  pauseMs: z.int().min(1).max(2_000).default(5),
});

const builtRequest = z
  .strictObject({
    ...sender,
    method: text.default("POST"),
    path: text.optional().describe("Default: /mcp/{server}."),
    era: era.default("modern").describe("Whose headers and _meta are sent unless the attack says otherwise."),
    headers: z
      .record(text, z.union([z.string(), z.null(), z.array(z.string())]))
      .default({})
      .describe("Null leaves one out that is sent otherwise; a list sends it several times."),
    message: z.record(z.string(), z.unknown()).optional().describe("A JSON-RPC message: jsonrpc, id and _meta are added where absent."),
    body: z.string().optional(),
    hex: z
      .string()
      .regex(/^([0-9a-f]{2}|\s|\{\{.*?\}\})*$/)
      .optional(),
    /** The body as one chunk of so many bytes after the other, instead of by Content-Length. */
    chunkBytes: z.int().min(1).optional(),
  })
  .refine((each) => [each.message, each.body, each.hex].filter((body) => body !== undefined).length <= 1, "has two bodies");

const request = z.union([rawRequest, builtRequest]);
export type Request = z.output<typeof request>;
export type BuiltRequest = z.output<typeof builtRequest>;

/** All of it is compared: a reason or a code that is not named here must not be in the answer. */
const expectation = z
  .strictObject({
    reason: z.enum(REASONS).optional().describe("Status, code and form follow from the contract, in each mode its own."),
    /** What was refused, where the request alone does not tell. */
    subject: z.enum(SUBJECTS).optional(),
    era: era.optional().describe("In which era the no is said; default: that of the request."),
    code: z.int().optional(),
    /** Refused by its head: the body is not read, so the answer cannot name the request's id. */
    unread: z.boolean().default(false),
    /** The refusal comes as the last message of a stream that had begun. */
    inStream: z.boolean().default(false),
    status: z.int().nullable().optional().describe("Without a reason. Null: the connection ends without an answer."),
    headers: z.record(text, text).default({}),
    shows: z.array(text).default([]),
    hides: z.array(text).default([]),
  })
  .refine(({ reason, status }) => (reason === undefined) !== (status === undefined), "has either a reason or a status");
export type Expectation = z.output<typeof expectation>;

const scene = z.strictObject({
  setup: z
    .strictObject({
      /** A session of the older era: {{session}} is its id, and its owner must still be served in it afterwards. */
      session: z.strictObject({ as: who, server: text.default("legacy"), stream: z.boolean().default(false) }).optional(),
      /** A call that has to go well before. */
      first: builtRequest.optional(),
    })
    .default({}),
  request,
  /** The server `hostile` answers the call with these bytes and leaves the connection as it is told. */
  upstream: z
    .strictObject({
      raw: z.array(text).min(1),
      pauseMs: z.int().min(1).max(500).default(5),
      ends: z.enum(["close", "stay", "reset"]).default("close"),
    })
    .optional(),
  expect: expectation,
  /** `nothing`: no byte. `lookup`: the gateway may read the server's list of tools. `call`: the request itself passes. */
  reaches: z.enum(["nothing", "lookup", "call"]).default("nothing"),
  /** How many messages of each request the server behind hears. */
  hears: z.int().min(0).optional(),
  /** What the server behind never hears of it. */
  unheard: z.array(text).default([]),
  /** What the audit record never shows of it. */
  unrecorded: z.array(text).default([]),
  /** Audit records of each request; `counted`: it never became a request, and node's parser counts it. */
  recorded: z.union([z.int().min(0), z.literal("counted")]).default(1),
  /** The reason in the audit record, where the answer names none. */
  recordedAs: z.enum(REASONS).optional(),
  /** The audit record's outcome, where one is expected. */
  outcome: text.optional(),
  /** So often at once, each on a connection of its own. */
  repeat: z.int().min(1).max(500).default(1),
  /** Answers on one connection, each as expected. */
  answers: z.int().min(0).max(500).default(1),
  /** The client leaves without an answer, as soon as the server behind has heard the request. */
  leavesOnceHeard: z.boolean().default(false),
  /** Waits for a time limit of the gateway: sent beside the others. */
  slow: z.boolean().default(false),
});

/** One way to carry an attack out; `name` is the attack's, and the variant's where it has several. */
export type Scene = z.output<typeof scene> & { readonly name: string };

const head = z.strictObject({
  id: z.string().regex(/^[MHJO][0-9]{2}$/),
  title: text.max(100),
  story: text.min(80).max(900),
  source: text,
  /** Of its requests, unless one says otherwise; `none`: they never become a message. */
  era: z.enum(["modern", "legacy", "none"]),
});

export type Attack = z.output<typeof head> & { readonly file: string; readonly scenes: readonly Scene[] };

export function loadCorpus(folder: string): Attack[] {
  const files = readdirSync(folder).filter((file) => file.endsWith(".yaml"));
  return files.toSorted().map((file) => loadAttack(join(folder, file)));
}

/** A variant's members replace those of the file; those of `request` and `expect` are replaced one by one. */
export function loadAttack(file: string): Attack {
  const { data, problems } = readDocument(file);
  if (problems.length > 0) throw new Error(problems.map((each) => `${file}:${each.line}:${each.column}: ${each.message}`).join("\n"));
  if (!isTable(data)) throw new Error(`${file}: not an attack`);
  const { id, title, story, source, era: ofFile, variants, ...shared } = data;
  const told = checked(head, { id, title, story, source, era: ofFile }, file);
  const name = basename(file, ".yaml");
  if (!name.startsWith(`${told.id.toLowerCase()}-`)) throw new Error(`${file}: its name does not begin with ${told.id.toLowerCase()}-`);
  const courses = isTable(variants) ? Object.entries(variants) : [["", {}] as const];
  const scenes = courses.map(([variant, own]) => {
    const whole = merged({ ...shared, request: { era: told.era === "none" ? "modern" : told.era, ...table(shared.request) } }, table(own));
    // It stands in marks, and those in paths and headers.
    const where = variant === "" ? name : `${name}.${variant.replace(/[^A-Za-z0-9]+/g, "-")}`;
    return { ...checked(scene, whole, `${file} ${variant}`), name: where };
  });
  return { ...told, file: name, scenes };
}

type Table = Record<string, unknown>;

const CONTENTS = ["message", "body", "hex", "raw"];

function merged(shared: Table, own: Table): Table {
  const both = { ...shared, ...own };
  for (const key of ["request", "expect"]) both[key] = { ...without(table(shared[key]), table(own[key])), ...table(own[key]) };
  return both;
}

/** A request has one content, and an answer a reason or a status: the variant's takes the place of the other kind. */
function without(shared: Table, own: Table): Table {
  const rivals = [CONTENTS, ["reason", "status"]].filter((keys) => keys.some((key) => key in own)).flat();
  return Object.fromEntries(Object.entries(shared).filter(([key]) => !rivals.includes(key)));
}

function checked<Output>(schema: z.ZodType<Output>, data: unknown, where: string): Output {
  const parsed = schema.safeParse(data);
  if (!parsed.success) throw new Error(`${where}: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

function isTable(data: unknown): data is Table {
  return typeof data === "object" && data !== null && !Array.isArray(data);
}

function table(data: unknown): Table {
  return isTable(data) ? data : {};
}
