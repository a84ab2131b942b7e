/** Pure. Events of the measured streams: MCP progress, some with the time at which they left. */

/** Payload of one event of the long stream. */
export const WRITTEN_EVENT_BYTES = 16_384;

export function progressEvent(message: string): string {
  return `event: message\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1,"message":"${message}"}}\n\n`;
}

/** Nanoseconds of a clock that all processes of a machine share; filled up to what a short notification has. */
export function eventAt(nanoseconds: bigint): string {
  return progressEvent(`${nanoseconds} ${"The quick brown fox jumps over the lazy dog. ".repeat(3)}`);
}

/** The times of the events that are whole in `text`, and what is left of it. */
export function timesIn(text: string): { readonly times: readonly bigint[]; readonly rest: string } {
  const end = text.lastIndexOf("\n\n") + 2;
  if (end === 1) return { times: [], rest: text };
  return { times: [...text.slice(0, end).matchAll(/"message":"([0-9]+) /g)].map(([, time = "0"]) => BigInt(time)), rest: text.slice(end) };
}
