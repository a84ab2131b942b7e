/** Pure. Gateway tokens: o200k_base counts of a canonical text, a unit of our own (domain: token counting). */

export type TokenCount = {
  readonly input: number;
  readonly output: number;
  /** `estimated`: counted whole; `estimated:sampled`: above 256 KB; `estimated:bytes`: the tokenizer failed, UTF-8 length stands in (an upper bound, never free); `reported`: by whoever did the work. */
  readonly source: "estimated" | "estimated:sampled" | "estimated:bytes" | "reported";
};

/** Version of the rules of counting; stamped into each event. */
export const TOKEN_DEFINITION_VERSION = "2026-11-01";
export const TOKEN_ENCODING = "o200k_base";
export const TOKEN_COUNTER = "gpt-tokenizer@4.0.0";

/** Counts `requestTexts` (tool name, arguments as received) and `resultTexts` off the event loop. Never rejects. */
export type CountTokens = (requestTexts: readonly string[], resultTexts: readonly string[]) => Promise<TokenCount>;
