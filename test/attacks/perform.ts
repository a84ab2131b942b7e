/** Plays one scene against one gateway: what comes before it, the attack, a good call, and a look at what it left behind. */
import { modernRequest } from "../e2e/gateway-process.ts";
import type { Request, Scene } from "./attack.ts";
import { bearsMark, type Fill, piecesOf } from "./bytes.ts";
import type { Aftermath, Course } from "./judge.ts";
import { isServed, openSession, type Session } from "./session.ts";
import { send } from "./socket.ts";
import { type Stage, UPSTREAM_AUTHORIZATION } from "./stage.ts";

/** A gateway that has not answered and ended the connection by then has failed. */
const WAIT_MS = 6_000;
/** The longest time limit that an attack waits for is that of a body: 30 s. */
const SLOW_WAIT_MS = 35_000;
/** A record may follow an answer that nobody waited for. */
const RECORD_WAIT_MS = 4_000;

/** `early`: the requests of a slow attack were sent before, beside all others. */
export async function perform(scene: Scene, stage: Stage, early: Promise<Course[]> | null = null): Promise<Aftermath> {
  const session = scene.setup.session === undefined ? null : await openSession(stage, scene.setup.session);
  const fill = fillFor(stage, scene.name, session?.id ?? "");
  if (scene.setup.first !== undefined) await first(scene.setup.first, stage, fill);
  const before = {
    bytes: stage.bytesBehind(),
    heard: early === null ? stage.heard().length : 0,
    printed: early === null ? stage.gateway.output.length : 0,
  };
  const courses = await (early ?? play(scene, stage, session));
  const records = await recordsOf(scene, stage);
  const bytesBehind = stage.bytesBehind() - before.bytes;
  return {
    mode: stage.mode,
    publicUrl: stage.gateway.publicUrl,
    courses,
    heardBehind: stage
      .heard()
      .slice(before.heard)
      .filter((text) => isOf(scene, stage, text)),
    bytesBehind,
    records,
    // With a little of what came before: a secret may be printed in two pieces.
    printed: stage.gateway.output.slice(Math.max(0, before.printed - 1_000)),
    secrets: stage.secrets,
    policyCanaries: stage.policyCanaries,
    upstreamAuthorization: UPSTREAM_AUTHORIZATION,
    victimIsServed: session === null || (await isServed(stage, session)),
  };
}

/** In the user agent of every request, so that its record is found. */
export const userAgentOf = (name: string) => `attack (${name})`;
const markOf = (name: string) => `mark_${name}_`;

export function fillFor(stage: Stage, name: string, session: string, mark = `${markOf(name)}0_`): Fill {
  return {
    mark,
    userAgent: userAgentOf(name),
    host: stage.host,
    session,
    accessToken: stage.accessToken,
    forged: stage.forged,
    publicUrl: stage.gateway.publicUrl,
    client: stage.client,
  };
}

export function play(scene: Scene, stage: Stage, session: Session | null): Promise<Course[]> {
  const fill = fillFor(stage, scene.name, session?.id ?? "");
  return Promise.all(Array.from({ length: scene.repeat }, (_, i) => course(scene, stage, fill, i)));
}

async function course(scene: Scene, stage: Stage, fill: Fill, i: number): Promise<Course> {
  const mark = `${markOf(scene.name)}${i}_`;
  const { request, upstream } = scene;
  if (upstream !== undefined) stage.arm(mark, upstream);
  const pieces = piecesOf(request, { ...fill, mark });
  if (!bearsMark(scene, pieces, fill)) throw new Error(`${scene.name}: no {{agent}}, so its record could not be found`);
  const leaves = scene.leavesOnceHeard ? () => stage.heard().some((text) => text.includes(mark)) : null;
  const waitMs = scene.slow ? SLOW_WAIT_MS : WAIT_MS;
  const heard = await send({ port: stage.port, pieces, pauseMs: pauseOf(request), waitMs, leaves });
  return { mark, heard };
}

function pauseOf(request: Request): number {
  return "raw" in request ? request.pauseMs : 0;
}

async function first(request: Request, stage: Stage, fill: Fill): Promise<void> {
  const pieces = piecesOf(request, { ...fill, userAgent: "setup", mark: "mark_known_first_" });
  const { answers } = await send({ port: stage.port, pieces, pauseMs: 1, waitMs: WAIT_MS, leaves: null });
  if (answers[0]?.status !== 200) throw new Error(`the call before it was answered ${answers[0]?.status} ${answers[0]?.body}`);
}

/** Its own, and what nobody is known to have sent: part of an attack that was torn off its mark. */
function isOf({ name, slow }: Scene, stage: Stage, text: string): boolean {
  return text.includes(markOf(name)) || (!slow && !text.includes("mark_") && !isErrand(stage, text));
}

/** The gateway reads catalogues, greets and wakes its children, and ends the sessions that it opened for that. */
function isErrand({ sessions }: Stage, text: string): boolean {
  if (text.startsWith("DELETE ")) return ![...sessions].some((id) => text.includes(id));
  return /"method":"(tools\/list|server\/discover|initialize|notifications\/initialized|ping)"/.test(text);
}

async function recordsOf(scene: Scene, stage: Stage) {
  const wanted = scene.recorded === "counted" ? 0 : scene.recorded * scene.repeat;
  const own = () => stage.records().filter(({ request }) => request?.user_agent?.includes(userAgentOf(scene.name)) === true);
  const deadline = Date.now() + RECORD_WAIT_MS;
  while (own().length < wanted && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
  return own();
}

/** So many requests were none for node's parser, since the start. */
export async function parserRefusals(stage: Stage): Promise<number> {
  return Number(/^tollgate_http_parser_refusals_total (\d+)/m.exec(await stage.metrics())?.[1] ?? 0);
}

export async function goodCall(stage: Stage): Promise<boolean> {
  const url = `${stage.gateway.publicUrl}/mcp/modern`;
  const params = { name: "echo", arguments: { text: "mark_known_good" } };
  const answer = await modernRequest(url, stage.accessToken("agent", "modern"), "tools/call", params);
  return answer.status === 200 && (await answer.text()).includes("mark_known_good");
}
