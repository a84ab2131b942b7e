/** A session of the older era that a victim has open while it is attacked, with its stream of server messages where the attack is on that. */
import { connect, type Socket } from "node:net";
import type { Scene, Who } from "./attack.ts";
import { type Fill, piecesOf } from "./bytes.ts";
import { type Answer, send } from "./socket.ts";
import type { Stage } from "./stage.ts";

const WAIT_MS = 6_000;

export type Session = {
  readonly id: string;
  readonly as: Who;
  readonly server: string;
  /** The owner's own GET stream. */
  readonly stream: Socket | null;
};

export async function openSession(stage: Stage, { as, server, stream }: NonNullable<Scene["setup"]["session"]>): Promise<Session> {
  const params = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "mark_known_session", version: "1" } };
  const opened = await inSession(stage, { as, server, id: "", stream: null }, { id: 0, method: "initialize", params });
  const session: Session = { as, server, id: opened.headers.get("mcp-session-id") ?? "", stream: null };
  if (session.id === "") throw new Error(`no session: ${opened.status} ${opened.body}`);
  stage.sessions.add(session.id);
  await inSession(stage, session, { method: "notifications/initialized", params: { _meta: { known: "mark_known_session" } } });
  return stream ? { ...session, stream: await openStream(stage, session) } : session;
}

export async function isServed(stage: Stage, session: Session): Promise<boolean> {
  const isStreaming = session.stream === null || !session.stream.destroyed;
  session.stream?.destroy();
  const call = { id: 9, method: "tools/call", params: { name: "echo", arguments: { text: "mark_known_session" } } };
  const answer = await inSession(stage, session, call);
  return isStreaming && answer.status === 200 && answer.body.includes("mark_known_session");
}

async function inSession(stage: Stage, { as, server, id }: Session, message: object): Promise<Answer> {
  const headers: Record<string, string> = id === "" ? {} : { "mcp-session-id": id };
  const pieces = piecesOf(
    { as, server, method: "POST", era: "legacy", headers, body: JSON.stringify({ jsonrpc: "2.0", ...message }) },
    fillOf(stage, id),
  );
  const heard = await send({ port: stage.port, pieces, pauseMs: 1, waitMs: WAIT_MS, leaves: null });
  const [answer] = heard.answers;
  if (answer === undefined) throw new Error("no answer in a session");
  return answer;
}

async function openStream(stage: Stage, { as, server, id }: Session): Promise<Socket> {
  const headers = { "mcp-session-id": id, accept: "text/event-stream" };
  const pieces = piecesOf({ as, server, method: "GET", era: "legacy", headers }, fillOf(stage, id));
  const socket = connect(stage.port, "127.0.0.1").on("error", () => {});
  socket.write(Buffer.concat(pieces));
  const head = await new Promise<string>((resolve) => socket.once("data", (bytes) => resolve(bytes.toString("latin1"))));
  if (!head.startsWith("HTTP/1.1 200 ")) throw new Error(`no stream in a session: ${head}`);
  return socket.resume();
}

function fillOf(stage: Stage, session: string): Fill {
  const { host, accessToken, forged, client, gateway } = stage;
  return { mark: "mark_known_session", userAgent: "setup", host, session, accessToken, forged, client, publicUrl: gateway.publicUrl };
}
