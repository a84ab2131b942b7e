/** Pure. What is wrong with how one scene ended: an empty list, or each promise that was not kept. */
import type { AuditRecord } from "../../src/call/record/audit-record.ts";
import type { Scene } from "./attack.ts";
import { type Mode, type Subject, type Told, toldIn, toldInStream } from "./contract.ts";
import { saidIn } from "./said.ts";
import type { Answer, Heard } from "./socket.ts";

/** What came of one request of an attack; `repeat` makes several. */
export type Course = { readonly mark: string; readonly heard: Heard };

export type Aftermath = {
  readonly mode: Mode;
  readonly publicUrl: string;
  readonly courses: readonly Course[];
  /** What the servers behind heard of it, or of nobody that is known. */
  readonly heardBehind: readonly string[];
  /** On every connection to the servers over HTTP while the attack went on. */
  readonly bytesBehind: number;
  readonly records: readonly AuditRecord[];
  /** What the process printed meanwhile. */
  readonly printed: string;
  readonly secrets: ReadonlyMap<string, string>;
  readonly policyCanaries: readonly string[];
  /** The only authorization that a server behind may be shown. */
  readonly upstreamAuthorization: string;
  readonly victimIsServed: boolean;
};

export function faultsOf(scene: Scene, after: Aftermath): string[] {
  const faults = [
    ...after.courses.flatMap((course) => courseFaults(scene, after, course)),
    ...behindFaults(scene, after),
    ...recordFaults(scene, after),
    ...leaks(after),
  ];
  if (!after.victimIsServed) faults.push("the victim's session is not served afterwards, or its stream has ended");
  return faults.map((fault) => `${scene.name}: ${fault}`);
}

function courseFaults(scene: Scene, after: Aftermath, { mark, heard }: Course): string[] {
  const wanted = scene.expect.status === null ? 0 : scene.answers;
  const faults = heard.answers.flatMap((answer) => answerFaults(scene, after, answer, mark));
  if (heard.answers.length !== wanted) faults.push(`${heard.answers.length} answers instead of ${wanted}: ${excerpt(heard.text)}`);
  if (!heard.closed && !scene.leavesOnceHeard) faults.push("the connection is still open");
  return faults;
}

function answerFaults(scene: Scene, after: Aftermath, answer: Answer, mark: string): string[] {
  const { expect } = scene;
  const faults = [...toldFaults(scene, after, answer, mark)];
  for (const [name, value] of Object.entries(expect.headers)) {
    const got = answer.headers.get(name.toLowerCase());
    if (!new RegExp(value.replaceAll("{{url}}", after.publicUrl)).test(got ?? "")) faults.push(`${name} is ${got}, not ${value}`);
  }
  const whole = [...answer.headers].flat().join("\n") + answer.body;
  const shows = expect.shows.map((text) => text.replaceAll("{{mark}}", mark));
  for (const text of shows) if (!whole.includes(text)) faults.push(`does not show ${text}: ${excerpt(answer.body)}`);
  for (const text of expect.hides) if (whole.includes(text)) faults.push(`shows ${text}: ${excerpt(whole)}`);
  return [...faults, ...surfaceFaults(scene, answer, whole, mark)];
}

/** Status, code, reason and form, the page of the reason, the call's id and the request's own. */
function toldFaults({ request, expect }: Scene, { mode, publicUrl }: Aftermath, answer: Answer, mark: string): string[] {
  const { reason, code, form, type, callId, id } = saidIn(answer);
  if (expect.reason === undefined) {
    const got = { status: answer.status, reason, code: code ?? null };
    const wanted = { status: expect.status, reason: null, code: expect.code ?? null };
    return JSON.stringify(got) === JSON.stringify(wanted)
      ? []
      : [`answered ${JSON.stringify(got)}, not ${JSON.stringify(wanted)}: ${excerpt(answer.body)}`];
  }
  const subject = expect.subject ?? subjectOf(request);
  const told = expect.inStream
    ? toldInStream(expect.reason)
    : toldIn(mode, expect.reason, subject, expect.era ?? request.era, expect.code ?? null);
  const wanted: Told & { reason: string } = { reason: expect.reason, ...told };
  const got = { reason, status: answer.status, code, form };
  const faults: string[] = [];
  if (JSON.stringify(got) !== JSON.stringify(wanted)) {
    faults.push(`answered ${JSON.stringify(got)}, not ${JSON.stringify(wanted)}: ${excerpt(answer.body)}`);
  }
  if (form !== "result" && type !== `${publicUrl}/problems/${expect.reason}`) faults.push(`its type is ${type}`);
  if (!/^call_[a-z0-9]+$/.test(callId ?? "")) faults.push(`its call id is ${callId}`);
  const ownId = "message" in request && request.message !== undefined && !("id" in request.message);
  const idToldBack = expect.unread ? null : mark;
  if (ownId && form !== "problem" && id !== idToldBack) faults.push(`it answers the id ${id}`);
  return faults;
}

const HANDSHAKES = new Set<unknown>(["initialize", "server/discover", "ping"]);

function subjectOf(request: Scene["request"]): Subject {
  if ("raw" in request) return "request";
  if (request.method !== "POST") return "bodyless";
  const method = request.message?.method;
  if (typeof method === "string" && method.startsWith("notifications/")) return "bodyless";
  return method === "tools/call" ? "call" : HANDSHAKES.has(method) ? "handshake" : "request";
}

/** H26, H29: whatever is wrong is said in the gateway's own words. */
function surfaceFaults({ reaches, expect }: Scene, { status, headers, body }: Answer, whole: string, mark: string): string[] {
  const faults: string[] = [];
  if (headers.get("x-content-type-options") !== "nosniff") faults.push("no x-content-type-options: nosniff");
  // What may be kept says so in its file.
  if (!("cache-control" in expect.headers) && headers.get("cache-control") !== "no-store")
    faults.push(`cache-control: ${headers.get("cache-control")}`);
  for (const name of ["server", "x-powered-by", "set-cookie", "via"]) if (headers.has(name)) faults.push(`a ${name} header`);
  if (status >= 400 && body !== "" && !/^application\/(problem\+)?json(; charset=utf-8)?$/.test(headers.get("content-type") ?? "")) {
    faults.push(`an error as ${headers.get("content-type")}`);
  }
  if (/\n {4}at |node:internal|\.ts:[0-9]/.test(whole)) faults.push("a stack trace");
  // The id is the client's own, and comes back as it was.
  const isRefused = reaches !== "call" || expect.reason !== undefined;
  if (isRefused && whole.replaceAll(`"id":"${mark}"`, "").includes(mark)) faults.push(`what was sent comes back: ${excerpt(body)}`);
  return faults;
}

function behindFaults(scene: Scene, { heardBehind, bytesBehind, courses, secrets, upstreamAuthorization }: Aftermath): string[] {
  const faults: string[] = [];
  if (scene.reaches !== "call" && heardBehind.length > 0) faults.push(`the server behind heard ${excerpt(heardBehind[0] ?? "")}`);
  if (scene.reaches === "nothing" && bytesBehind > 0) faults.push(`the servers behind received ${bytesBehind} bytes`);
  if (scene.hears !== undefined && heardBehind.length !== scene.hears * courses.length) {
    faults.push(`the server behind heard ${heardBehind.length} messages, not ${scene.hears * courses.length}`);
  }
  for (const text of heardBehind) {
    // The credential of the gateway is at home there.
    const foreign = text.replaceAll(upstreamAuthorization, "");
    for (const [name, secret] of secrets) if (foreign.includes(secret)) faults.push(`the server behind heard ${name}`);
    for (const word of scene.unheard) if (text.toLowerCase().includes(word.toLowerCase())) faults.push(`the server behind heard ${word}`);
  }
  return faults;
}

function recordFaults(scene: Scene, { records, courses, secrets }: Aftermath): string[] {
  const faults: string[] = [];
  const wanted = scene.recorded === "counted" ? 0 : scene.recorded * courses.length;
  if (records.length !== wanted) faults.push(`${records.length} audit records instead of ${wanted}`);
  for (const { reason, outcome } of records) {
    if (reason !== (scene.recordedAs ?? scene.expect.reason ?? null)) faults.push(`recorded as ${reason}`);
    if (scene.outcome !== undefined && outcome !== scene.outcome) faults.push(`recorded with the outcome ${outcome}`);
  }
  const text = JSON.stringify(records);
  for (const word of scene.unrecorded) if (text.includes(word)) faults.push(`the audit record shows ${word}`);
  for (const [name, secret] of secrets) if (text.includes(secret)) faults.push(`the audit record shows ${name}`);
  return faults;
}

function leaks({ courses, printed, secrets, policyCanaries }: Aftermath): string[] {
  const answers = courses.map(({ heard }) => heard.text).join("\n");
  return [...secretsIn("the answer", answers, secrets, policyCanaries), ...secretsIn("the log", printed, secrets, policyCanaries)];
}

export function secretsIn(place: string, text: string, secrets: ReadonlyMap<string, string>, policyCanaries: readonly string[]): string[] {
  const canaries = [...secrets, ...policyCanaries.map((each): [string, string] => [`${each} of the policy`, each])];
  return canaries.filter(([, canary]) => text.includes(canary)).map(([name]) => `${place} shows ${name}`);
}

function excerpt(text: string): string {
  return JSON.stringify(text.length > 300 ? `${text.slice(0, 300)}...` : text);
}
