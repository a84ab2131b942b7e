/** Pure. What a client tells of its visit. */

export type Target = { readonly url: string; readonly accessToken: string };

/**
 * What a client made of an answer: `result` a result, `told` a result or text that says it is an error, `thrown` an exception.
 * `code` and `data` are those of the JSON-RPC error, where the client hands them on.
 */
export type Seen = {
  readonly how: "result" | "told" | "thrown";
  readonly name: string | null;
  readonly code: number | null;
  readonly text: string;
  readonly data: unknown;
};

export type Report = {
  readonly tools: readonly string[];
  readonly result: Seen;
  readonly policy: Seen;
  /** The one call that the budget carries, and the one that it does not. */
  readonly within: Seen;
  readonly budget: Seen;
  readonly streamed: Seen;
  /** Notifications of progress that reached the caller. */
  readonly progress: number;
  /** From the first of them to the result; null without any. */
  readonly leadMs: number | null;
  /** The same connection, after all the refusals. */
  readonly after: Seen;
};
