/** Pure. What is known of the world that policies speak about: the tools of servers, as they were last listed, and who is registered. */

export type KnownTool = {
  readonly server: string;
  readonly tool: string;
  /** Of its definition; undefined where it has none. */
  readonly inputSchema: unknown;
};

/** The names that a key of `who` can mean. */
export type KnownNames = {
  readonly agent: ReadonlySet<string>;
  readonly team: ReadonlySet<string>;
  readonly workflow: ReadonlySet<string>;
  readonly customer: ReadonlySet<string>;
};

export type Known = {
  /** By server. One that has never been listed is not in it. */
  readonly tools: ReadonlyMap<string, readonly KnownTool[]>;
  /** Null: nobody could be asked. */
  readonly registered: KnownNames | null;
};

export const NOTHING_KNOWN: Known = { tools: new Map(), registered: null };
