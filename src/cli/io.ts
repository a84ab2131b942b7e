/** How a command speaks and how it ends: output goes through one place, and every ending has an exit code of the contract. */

export type Io = {
  out(text: string): void;
  err(text: string): void;
  /** All of standard input; absent where there is none. */
  readonly input?: () => Promise<string>;
  readonly color: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
};

export const processIo: Io = {
  out: (text) => void process.stdout.write(`${text}\n`),
  err: (text) => void process.stderr.write(`${text}\n`),
  input: readInput,
  color: process.stdout.isTTY === true && process.env.NO_COLOR === undefined,
  env: process.env,
};

/** A token of any kind is far smaller. */
const INPUT_BYTES_MAX = 65_536;

async function readInput(): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > INPUT_BYTES_MAX) throw new Exit(EXIT.usage, `standard input has more than ${INPUT_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** 0 done, 1 the answer is "no", 2 wrong usage, 69 a needed service is away or data or port is in use, 78 bad config. */
export const EXIT = { done: 0, no: 1, usage: 2, away: 69, config: 78 } as const;

/** Ends a command with a sentence that says what to do. */
export class Exit extends Error {
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

export function paint(io: Io, color: "red" | "green" | "yellow" | "dim", text: string): string {
  if (!io.color) return text;
  const code = { red: 31, green: 32, yellow: 33, dim: 2 }[color];
  return `\u001b[${code}m${text}\u001b[0m`;
}
