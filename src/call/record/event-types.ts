/** Pure. The closed, versioned list of what a usage event may tell: each definition has a digest, which its events carry. */
import { canonicalJson } from "./canonical.ts";
import { digestOfText } from "./digest.ts";
import { QUANTITIES } from "./rows.ts";
import { TOKEN_DEFINITION_VERSION } from "./token-count.ts";

export type Use = "chargeback" | "policy";
export type MetadataKind = "string" | "integer" | "number" | "boolean";

/** Wire names: this is the document that is approved, and the digest is over its RFC 8785 form. */
export type EventType = {
  /** As events carry it. */
  readonly type: string;
  /** What the short form may say instead. */
  readonly short_name: string;
  readonly version: string;
  /** Meters that it counts on; `outcome:*` stands for every outcome by its name, `*` for all that the corrected event may count. */
  readonly meters: readonly string[];
  readonly unit: string;
  readonly metadata: Readonly<Record<string, MetadataKind>>;
  readonly required: readonly string[];
  readonly use: readonly Use[];
  /** Who may say so: the gateway itself, a reporter over the admin API, or an administrator who corrects. */
  readonly told_by: "gateway" | "reporter" | "administrator";
  readonly approved_by: string;
  /** A date; the type counts from its midnight UTC on. */
  readonly approved: string;
};

export const SETTLED = "io.tollgate.call.settled.v1";
export const ADJUSTED = "io.tollgate.usage.adjusted.v1";

const BOTH: readonly Use[] = ["chargeback", "policy"];
const OURS = { approved_by: "tollgate", approved: TOKEN_DEFINITION_VERSION, use: BOTH } as const;

/** What a report may say of itself whatever its type: it becomes a dimension of the event. */
export const COMMON_METADATA = {
  instance: "string",
  model: "string",
  region: "string",
  server: "string",
  tool: "string",
  workflow: "string",
} as const satisfies Record<string, MetadataKind>;

const REPORTED = { version: "1", told_by: "reporter", ...OURS } as const;

export const BUILT_IN: readonly EventType[] = [
  {
    type: SETTLED,
    short_name: "call.settled",
    version: TOKEN_DEFINITION_VERSION,
    meters: [...QUANTITIES, "outcome:*", "*"],
    unit: "as the meter's name says",
    metadata: {},
    required: [],
    told_by: "gateway",
    ...OURS,
  },
  {
    type: ADJUSTED,
    short_name: "usage.adjusted",
    version: "1",
    meters: ["*"],
    unit: "as the meter's name says",
    metadata: {},
    required: [],
    told_by: "administrator",
    ...OURS,
  },
  {
    type: "io.tollgate.llm.tokens.v1",
    short_name: "tokens.consumed",
    meters: ["llm_tokens"],
    unit: "token of the model's own tokenizer",
    metadata: { ...COMMON_METADATA, provider: "string", input_tokens: "integer", output_tokens: "integer" },
    required: ["model"],
    ...REPORTED,
  },
  {
    type: "io.tollgate.outcome.claimed.v1",
    short_name: "outcome.claimed",
    meters: ["outcome:*"],
    unit: "outcome of the name in metadata.outcome",
    metadata: { ...COMMON_METADATA, outcome: "string", reference: "string" },
    required: ["outcome"],
    ...REPORTED,
  },
  {
    type: "io.tollgate.workflow.completed.v1",
    short_name: "workflow.completed",
    meters: ["workflows"],
    unit: "execution of a workflow",
    metadata: { ...COMMON_METADATA, reference: "string" },
    required: ["workflow"],
    ...REPORTED,
  },
  {
    type: "io.tollgate.activation.created.v1",
    short_name: "activation.created",
    meters: ["activations"],
    unit: "activation of an agent or of a copy of it",
    metadata: { ...COMMON_METADATA, reference: "string" },
    required: [],
    ...REPORTED,
  },
];

/** Meters that no definition of the configuration may take for itself. */
export const BUILT_IN_METERS: readonly string[] = [
  ...QUANTITIES,
  "cost_micros",
  ...BUILT_IN.flatMap(({ meters }) => meters).filter((meter) => !meter.includes("*")),
];

export type Catalogue = {
  readonly types: readonly EventType[];
  /** Names of outcomes that the configuration knows. */
  readonly outcomes: ReadonlySet<string>;
  /** All meters that an amount may stand on, outcomes among them. */
  readonly meters: ReadonlySet<string>;
  /** By its type, or by its short name where just one version has it. */
  find(written: string): EventType | null;
};

export function catalogueOf(own: readonly EventType[], outcomes: readonly string[], outputs: readonly string[]): Catalogue {
  const types = [...BUILT_IN, ...own];
  const known = new Map(types.map((each) => [each.type, each]));
  for (const each of types) {
    if (types.filter(({ short_name }) => short_name === each.short_name).length === 1) known.set(each.short_name, each);
  }
  const meters = [...BUILT_IN_METERS, ...own.flatMap((each) => each.meters), ...outcomes.map(outcomeMeter), ...outputs];
  return { types, outcomes: new Set(outcomes), meters: new Set(meters), find: (written) => known.get(written) ?? null };
}

const OUTCOME = "outcome:";

export function outcomeMeter(name: string): string {
  return OUTCOME + name;
}

/** The name of the outcome that a meter counts; null: it counts something else. */
export function outcomeOf(meter: string): string | null {
  return meter.startsWith(OUTCOME) ? meter.slice(OUTCOME.length) : null;
}

/** Of a built-in type. */
export function digestOfType(type: string): string {
  const definition = BUILT_IN.find((each) => each.type === type);
  if (definition === undefined) throw new Error(`${type} is not built in`);
  return definitionDigest(definition);
}

const digests = new WeakMap<EventType, string>();

/** `sha256:<hex>` over the definition's RFC 8785 form. */
export function definitionDigest(definition: EventType): string {
  const known = digests.get(definition) ?? digestOfText(canonicalJson(definition));
  digests.set(definition, known);
  return known;
}
