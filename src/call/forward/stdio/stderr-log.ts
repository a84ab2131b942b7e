/** Pure. What a server writes to its stderr, fit for our log: short, without the secrets it was given, and not enough to fill a disk. */
import type { Line } from "./line-splitter.ts";

const TEXT_MAX = 256;
/** Lines in a window; the rest is counted. */
const LINES_MAX = 50;
const WINDOW_MS = 10_000;
/** Shorter values would cut common words out of every line, and keep no secret. */
const SECRET_LENGTH_MIN = 6;

export type StderrLog = (line: Line) => void;

export function createStderrLog(env: Readonly<Record<string, string>>, mono: () => number, write: (text: string) => void): StderrLog {
  // The longest first: one may be a part of another.
  const secrets = Object.values(env)
    .filter((value) => value.length >= SECRET_LENGTH_MIN)
    .toSorted((a, b) => b.length - a.length);
  let windowEndsMs = 0;
  let lines = 0;
  return ({ bytes, cut }) => {
    if (mono() >= windowEndsMs) {
      if (lines > LINES_MAX) write(`[${lines - LINES_MAX} more lines]`);
      windowEndsMs = mono() + WINDOW_MS;
      lines = 0;
    }
    lines += 1;
    if (lines > LINES_MAX) return;
    // Half a secret at the edge of a cut could not be recognised.
    if (cut) return write("[a line that is too long]");
    const text = secrets.reduce((kept, secret) => kept.replaceAll(secret, "[redacted]"), bytes.toString());
    if (text.trim() !== "") write(text.slice(0, TEXT_MAX));
  };
}
