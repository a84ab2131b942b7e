/** `npm run prove:parser [-- --quick] [--count N] [--seed N]`: whenever a body passes, three different readers agree with the gateway on what it says. */
import { parseArgs } from "node:util";
import { type MessageHeaders, parseMessage } from "../../src/call/accept/parse.ts";
import { seededRandom } from "../fixtures/seeded-random.ts";
import { type HostileBody, hostileBody } from "./hostile-bodies.ts";
import { lenient, readings } from "./readings.ts";

export type ParserReport = {
  readonly seed: number;
  readonly bodies: number;
  /** Bodies that the gateway would forward. */
  readonly passed: number;
  readonly violations: readonly string[];
};

/** What a gateway takes a body for; null: refused. Ids and arguments are JSON text. */
export type Judged = {
  readonly method: string | null;
  readonly id: string | null;
  readonly name: string | null;
  readonly arguments: string | null;
};
export type Judge = (body: HostileBody) => Judged | null;

export const asTollgate: Judge = ({ bytes, protocolVersion, method, name }) => {
  const modern = protocolVersion === "2026-07-28";
  const named = method === "tools/call" || method === "prompts/get" || method === "resources/read";
  const headers: MessageHeaders = {
    protocolVersion,
    mcpMethod: modern ? method : null,
    mcpName: modern && named ? encoded(name) : null,
  };
  const { message, refusal } = parseMessage(bytes, headers);
  if (refusal !== null) return null;
  const { argumentsSpan, targetSpan, target } = message;
  return {
    method: message.method,
    id: message.idText,
    name: targetSpan === null ? null : (target?.name ?? null),
    arguments: argumentsSpan === null ? null : bytes.toString("utf8", argumentsSpan.start, argumentsSpan.end),
  };
};

export function proveParser(options: { seed: number; count: number; judge?: Judge; progress?: (done: number) => void }): ParserReport {
  const { seed, count, judge = asTollgate, progress } = options;
  const random = seededRandom(seed);
  const violations: string[] = [];
  let passed = 0;
  for (let i = 1; i <= count; i++) {
    const body = hostileBody(random);
    const judged = judge(body);
    if (judged !== null) {
      passed += 1;
      const fault = disagreement(judged, body.bytes);
      if (fault !== null && violations.length < 20) violations.push(`${fault}: ${JSON.stringify(body.bytes.toString("latin1"))}`);
    }
    if (i % 50_000 === 0) progress?.(i);
  }
  return { seed, bodies: count, passed, violations };
}

/** In which reading the forwarded bytes say something else. */
function disagreement(judged: Judged, bytes: Buffer): string | null {
  const root = lenient(bytes);
  if (root === null) return "a lenient reader cannot read it at all";
  for (const [reader, read] of Object.entries(readings(root))) {
    if (read.method !== judged.method) return `${reader} reads another method`;
    if (!sameValue(read.id, judged.id)) return `${reader} reads another id`;
    const name = judged.method === "resources/read" ? read.uri : read.name;
    if (judged.name !== null && name !== judged.name) return `${reader} reads another name`;
    if (judged.arguments !== null && JSON.stringify(read.arguments) !== JSON.stringify(argumentsIn(judged.arguments)))
      return `${reader} reads other arguments`;
  }
  return null;
}

function sameValue(read: unknown, text: string | null): boolean {
  return text === null ? read === undefined : JSON.stringify(read) === JSON.stringify(lenient(Buffer.from(text)));
}

function argumentsIn(text: string): unknown {
  const wrapped = lenient(Buffer.from(`{"params":{"arguments":${text}}}`));
  return wrapped === null ? undefined : readings(wrapped).lastWins.arguments;
}

function encoded(name: string): string {
  return /^[\x21-\x7e]+$/.test(name) ? name : `=?base64?${Buffer.from(name).toString("base64")}?=`;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { quick: { type: "boolean" }, json: { type: "boolean" }, count: { type: "string" }, seed: { type: "string" } },
  });
  const count = Number(values.count ?? (values.quick ? 100_000 : 1_000_000));
  const seed = Number(values.seed ?? 1);
  const report = proveParser({ seed, count, progress: (done) => process.stderr.write(`\r${done.toLocaleString("en")} bodies`) });
  process.stderr.write("\n");
  const { passed, violations } = report;
  console.log(
    values.json
      ? JSON.stringify(report)
      : `seed ${seed}: ${count.toLocaleString("en")} bodies, ${passed.toLocaleString("en")} would be forwarded, ${violations.length} read differently\n${violations.join("\n")}`,
  );
  process.exitCode = violations.length === 0 ? 0 : 1;
}
