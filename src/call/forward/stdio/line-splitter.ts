/** Pure. Bytes become lines; of a line that is too long only the two ends are kept, and the next one is whole again. */

export type Line = {
  /** Without its line break; of a cut line, its two ends side by side. */
  readonly bytes: Buffer;
  /** True: the line was longer than allowed. */
  readonly cut: boolean;
};

export type LineSplitter = { push(chunk: Buffer): Line[] };

const LF = 0x0a;
const CR = 0x0d;

/** What is kept of each end of a cut line: enough for the id of a JSON-RPC message, which stands first or last. */
const END_BYTES = 128;

export function createLineSplitter(lineBytesMax: number): LineSplitter {
  let parts: Buffer[] = [];
  let length = 0;
  const add = (chunk: Buffer) => {
    length += chunk.length;
    parts.push(chunk);
    if (length > lineBytesMax) parts = endsOf(Buffer.concat(parts));
  };
  const take = (): Line => {
    const line = {
      bytes: withoutCr(parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts)),
      cut: length > lineBytesMax,
    };
    parts = [];
    length = 0;
    return line;
  };
  return {
    push(chunk) {
      const lines: Line[] = [];
      let start = 0;
      for (let end = chunk.indexOf(LF); end !== -1; end = chunk.indexOf(LF, start)) {
        add(chunk.subarray(start, end));
        const line = take();
        if (line.bytes.length > 0) lines.push(line);
        start = end + 1;
      }
      if (start < chunk.length) add(Buffer.from(chunk.subarray(start)));
      return lines;
    },
  };
}

function endsOf(bytes: Buffer): Buffer[] {
  return bytes.length <= 2 * END_BYTES ? [bytes] : [Buffer.from(bytes.subarray(0, END_BYTES)), Buffer.from(bytes.subarray(-END_BYTES))];
}

function withoutCr(line: Buffer): Buffer {
  return line.at(-1) === CR ? line.subarray(0, -1) : line;
}
