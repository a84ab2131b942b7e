/** Pure. The member names of one object: no name twice, however it is written. */

/** Up to here bytes are compared one by one; beyond it a Set, whose hashes no sender can foresee, keeps the work linear. */
const COMPARED_MAX = 16;

export class MemberNames {
  readonly #bytes: Buffer;
  /** Hash, start and end of each name in turn, while all are plain and few. */
  readonly #spans: number[] = [];
  #decoded: Set<string> | null = null;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** The name between its quotes, already scanned. What is wrong with it, or null. */
  add(start: number, end: number): string | null {
    const bytes = this.#bytes;
    let hash = 0;
    let escaped = false;
    for (let i = start; i < end; i++) {
      const c = bytes[i] ?? 0;
      hash = (hash * 31 + c) | 0;
      if (c === 0x5c) escaped = true;
    }
    if (this.#decoded === null && !escaped && this.#spans.length < COMPARED_MAX * 3) return this.#addPlain(hash, start, end);
    this.#decoded ??= this.#decodeAll();
    const raw = bytes.toString("utf8", start, end);
    const name = escaped ? (JSON.parse(`"${raw}"`) as string) : raw;
    if (escaped && name.includes("\u0000")) return "NUL in a member name";
    if (this.#decoded.has(name)) return TWICE;
    this.#decoded.add(name);
    return null;
  }

  #addPlain(hash: number, start: number, end: number): string | null {
    const spans = this.#spans;
    for (let i = 0; i < spans.length; i += 3) {
      if (spans[i] !== hash) continue;
      const from = spans[i + 1] ?? 0;
      const to = spans[i + 2] ?? 0;
      if (to - from === end - start && this.#bytes.compare(this.#bytes, from, to, start, end) === 0) return TWICE;
    }
    spans.push(hash, start, end);
    return null;
  }

  #decodeAll(): Set<string> {
    const decoded = new Set<string>();
    for (let i = 0; i < this.#spans.length; i += 3) decoded.add(this.#bytes.toString("utf8", this.#spans[i + 1], this.#spans[i + 2]));
    return decoded;
  }
}

const TWICE = "a member stands twice";
