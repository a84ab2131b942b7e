/** The client's half of the exchange: what a step may send back, and how it learns that the client has gone. */
import type { CallId } from "../../ids.ts";
import type { Refusal } from "../../refusal.ts";

export type Resumed = { readonly idText: string; readonly callId: CallId };

export interface Answer {
  /** True once status and headers are out: from then on a refusal can only be the stream's last JSON-RPC error. */
  readonly started: boolean;
  /** Aborts when the client's connection closes before the answer ended. */
  readonly gone: AbortSignal;
  head(status: number, headers: Readonly<Record<string, string>>): void;
  /** Resolves when the client's socket takes more; rejects never: a client that has gone swallows pieces. */
  piece(bytes: Uint8Array): Promise<void> | void;
  /** Ends the answer, with the piece that waited for its settlement. */
  last(bytes: Uint8Array | null): void;
  /** Says no by the one table: status, code, headers, problem. Ends the answer. `to`: the request whose stream this one goes on with. */
  refuse(refusal: Refusal, to?: Resumed): void;
  /** A fault (a bug, not a refusal): 500 and the call id, or the stream's last error. Ends the answer. */
  fault(): void;
}
