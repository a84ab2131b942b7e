/** What stands behind one server's name, whatever its transport: it takes a job and gives an outcome. */
import type { Refusal } from "../../refusal.ts";
import type { Answer } from "../accept/answer.ts";
import type { Era, Listed, McpRequest } from "../accept/request.ts";
import type { Agent } from "../authenticate/agent.ts";
import type { Reservation } from "../budget/reservation.ts";
import type { IssuedToken } from "../exchange/issued-token.ts";
import type { UpstreamMessage } from "./message.ts";
import type { Outcome } from "./outcome.ts";
import type { ParameterHeader } from "./parameter-headers.ts";

/** `bytes`: the element as its server wrote it. */
export type IsVisible = (element: Listed, bytes: Uint8Array) => boolean;

export type ForwardJob = {
  readonly request: McpRequest;
  readonly agent: Agent;
  readonly issued: IssuedToken;
  /** Keeps only what the agent may use, in answers to lists; null: pass as it is. */
  readonly visible: IsVisible | null;
  /** Where a hard budget meters the result, one over `maxResultBytes` is `result_over_budget`. Null: it costs nothing. */
  readonly held: Pick<Reservation, "lines" | "metersResult" | "bytesMax"> | null;
  /** Pieces before the last go here as they come; `head` is called here for streams only. */
  readonly answer: Answer;
  /** Aborts when the agent is stopped or the gateway gives up draining: ends the job as cancelled. */
  readonly stopped: AbortSignal;
  /** Set where the request goes out in another form than the client's: one server of a view, in its own era. */
  readonly crossing?: Crossing;
};

/** What has to become of an upstream's messages before a client of another era or session reads them. */
export type Crossing = {
  readonly clientEra: Era;
  forClient(bytes: Buffer, message: Extract<UpstreamMessage, { kind: "response" }>): Buffer;
  /** The upstream asks something on a stream whose client cannot answer. */
  onRequest(bytes: Buffer, message: Extract<UpstreamMessage, { kind: "request" | "notification" }>): void;
};

/** One tool as the upstream lists it. `sha256` is over the JCS form of its whole definition, hex. */
export type Definition = {
  readonly name: string;
  readonly sha256: string;
  /** The arguments that a call of 2026-07-28 repeats in its head. */
  readonly parameterHeaders: readonly ParameterHeader[];
  /** Set where pins are only observed: the refusal that a call would meet. */
  readonly observed: Refusal | null;
};

/** All tools of a server as one reading has found them. `version` is what it says of itself, null: nothing. */
export type Offer = { readonly version: string | null; readonly definitions: ReadonlyMap<string, Definition> };

export interface Upstream {
  forward(job: ForwardJob): Promise<Outcome>;
  /**
   * The definition of a tool, from this server's catalogue: its own tools/list, read with the agent's upstream
   * credential (or child) and kept per `issued.shareKey`; refreshed on a list_changed or, once, on a miss or on what
   * `accepts` does not accept.
   * Null: the server has no such tool. A refusal: the catalogue cannot be read.
   */
  definition(
    toolName: string,
    agent: Agent,
    issued: IssuedToken,
    accepts?: (found: Definition) => boolean,
  ): Promise<Definition | null | Refusal>;
  /** The whole catalogue as it was last read. */
  offer(agent: Agent, issued: IssuedToken): Promise<Offer | Refusal>;
  /** What is known of the server's tools is out of date: the next question reads them anew. */
  forget(): void;
  /** Ends its connections or children: first politely, by force after `graceMs`. */
  close(graceMs: number): Promise<void>;
}
