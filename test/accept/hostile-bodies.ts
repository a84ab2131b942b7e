/** Pure. Bodies that try to mean two things: valid requests of both eras, bent by a seeded hand. */
import type { Random } from "../fixtures/seeded-random.ts";

export type HostileBody = {
  readonly bytes: Buffer;
  readonly protocolVersion: string | null;
  readonly method: string;
  readonly name: string;
};

const NAMES = ["echo", "search", "delete_all", "__proto__", "naïve", "a/b", "Echo", "ec\\u0068o", ""];
const METHODS = ["tools/call", "tools/call", "tools/call", "prompts/get", "resources/read", "tools/list", "ping", "completion/complete"];
const VALUES = [
  "1",
  "-0",
  "1.0",
  "1e3",
  "9007199254740993",
  "1e400",
  '"x"',
  '"\\ud800"',
  '"\\u0000"',
  "null",
  "true",
  "[]",
  "{}",
  '[{"a":1,"a":2}]',
  "NaN",
  "01",
];
const TWINS = [
  "method",
  "Method",
  "m\\u0065thod",
  "METHOD",
  "params",
  "Params",
  "id",
  "ID",
  "\\u0069d",
  "name",
  "Name",
  "na\\u006de",
  "arguments",
  "Arguments",
  "argument\\u0073",
  "argument\u017f",
  "uri",
  "jsonrpc",
  "_meta",
  "to\u212aen",
  "__proto__",
];

export function hostileBody(random: Random): HostileBody {
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
  const modern = random() < 0.5;
  const method = pick(METHODS);
  const name = pick(NAMES);
  const key = method === "resources/read" ? "uri" : "name";
  const args = members(pick, random, 3);
  const meta = modern
    ? ['"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}']
    : [];
  const params = [`"${key}":"${name}"`, `"arguments":{${args.join(",")}}`, ...meta];
  const root = ['"jsonrpc":"2.0"', `"id":${random() < 0.8 ? "7" : pick(VALUES)}`, `"method":"${method}"`];
  bend(params, pick, random);
  root.push(`"params":{${shuffled(params, random).join(",")}}`);
  bend(root, pick, random);
  let bytes: Buffer = Buffer.from(`{${shuffled(root, random).join(random() < 0.9 ? "," : " ,\n")}}`);
  if (random() < 0.25) bytes = damaged(bytes, pick, random);
  return { bytes, protocolVersion: modern ? "2026-07-28" : pick(["2025-11-25", null]), method, name: JSON.parse(`"${name}"`) as string };
}

type Pick = <T>(from: readonly T[]) => T;

function members(pick: Pick, random: Random, most: number): string[] {
  return Array.from(
    { length: Math.floor(random() * most) },
    () => `"${pick(["limit", "text", "Limit", "a", "l\\u0069mit"])}":${pick(VALUES)}`,
  );
}

/** Now and then a twin of a known member, which one parser would prefer and another would not. */
function bend(into: string[], pick: Pick, random: Random): void {
  while (random() < 0.3)
    into.push(
      `"${pick(TWINS)}":${random() < 0.5 ? pick(VALUES) : pick(['"tools/call"', '"delete_all"', '{"name":"delete_all"}', '{"limit":1000000}'])}`,
    );
}

function shuffled(from: readonly string[], random: Random): string[] {
  const to = [...from];
  for (let i = to.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [to[i], to[j]] = [to[j] as string, to[i] as string];
  }
  return to;
}

function damaged(bytes: Buffer, pick: Pick, random: Random): Buffer {
  const at = Math.floor(random() * bytes.length);
  const cut = (end: number, ...middle: readonly Uint8Array[]) => Buffer.concat([bytes.subarray(0, at), ...middle, bytes.subarray(end)]);
  const inserts = [
    ...["\u00a0", "\ufeff", "\u2028", "/*,*/", "//\n", ",", "\0", "\\", '"', "}", "{", "[", "]", "\v"].map((text) => Buffer.from(text)),
    ...[[0xff], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xe2, 0x82]].map((each) => Buffer.from(each)),
  ];
  const kind = random();
  if (kind < 0.15) return Buffer.concat([Buffer.from("\ufeff"), bytes]);
  if (kind < 0.25) return Buffer.concat([Buffer.from("["), bytes, Buffer.from("]")]);
  if (kind < 0.35) return Buffer.concat([bytes, pick([bytes, Buffer.from(" {}"), Buffer.from("\0"), Buffer.from("\n")])]);
  if (kind < 0.7) return cut(at, pick(inserts));
  if (kind < 0.85) return cut(at + 1);
  return cut(at + 1, Buffer.from([Math.floor(random() * 256)]));
}
