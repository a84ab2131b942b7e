import type { Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import type { Answer } from "../../src/call/accept/answer.ts";
import { refuse } from "../../src/refusal.ts";
import { dial, type Front, type FrontOptions, isWhole, knock, LEGACY_PING, openFront, parseReply, post, readUntil } from "./front.ts";

const open: Front[] = [];
const front = async (live: NonNullable<FrontOptions["live"]>, options: FrontOptions = {}) => {
  const opened = await openFront({ ...options, live });
  open.push(opened);
  return opened;
};
afterEach(async () => {
  await Promise.all(open.splice(0).map(({ listener }) => listener.close()));
});

const SSE = { "content-type": "text/event-stream" };
const event = (text: string) => Buffer.from(`data: ${text}\n\n`);
const GET = "GET /mcp/tickets HTTP/1.1\r\nHost: gate.example\r\nAccept: text/event-stream\r\n\r\n";
const MEBIBYTE = Buffer.alloc(1_048_576, "a");

test("the head of a stream is there before its first event", async () => {
  let answer: Answer | undefined;
  const gate = await front((_, given) => {
    answer = given;
    given.head(200, SSE);
  });
  const socket = await dial(gate);
  socket.write(post(LEGACY_PING));
  expect(await readUntil(socket, (text) => text.includes("\r\n\r\n"))).toContain("text/event-stream");
  expect(answer?.started).toBe(true);
  const first = readUntil(socket, (text) => text.includes("data: 1"));
  answer?.piece(event("1"));
  expect(await first).toContain("data: 1");
  answer?.last(event("2"));
  expect(await readUntil(socket, (text) => text.endsWith("0\r\n\r\n"))).toContain("data: 2");
  socket.destroy();
});

test("a refusal or a fault behind the head is the last event of the stream, with the id", async () => {
  for (const end of [(answer: Answer) => answer.refuse(refuse("upstream_invalid")), (answer: Answer) => answer.fault()]) {
    const gate = await front((_, answer) => {
      answer.head(200, SSE);
      answer.piece(event("1"));
      end(answer);
      // Whatever a step still says afterwards is not said.
      answer.piece(event("late"));
      answer.last(event("later"));
      answer.refuse(refuse("overloaded"));
    });
    const { status, body } = await knock(gate, post(LEGACY_PING));
    expect(status).toBe(200);
    const [last] = [...body.matchAll(/data: (\{.*\})\n/g)].map(([, json]) => JSON.parse(json ?? ""));
    expect(last).toMatchObject({ jsonrpc: "2.0", id: 7, error: { code: expect.any(Number), data: { call_id: expect.any(String) } } });
    expect(body).not.toContain("late");
    expect(body).not.toContain("overloaded");
  }
});

test("a stream without a request just ends", async () => {
  const gate = await front((_, answer) => {
    answer.head(200, SSE);
    answer.piece(event("1"));
    answer.refuse(refuse("upstream_invalid"));
  });
  const { body } = await knock(gate, GET);
  expect(body).toContain("data: 1");
  expect(body).not.toContain("upstream_invalid");
});

test("half a JSON answer is cut, not completed with something else", async () => {
  const gate = await front((_, answer) => {
    answer.head(200, { "content-type": "application/json", "content-length": "100" });
    answer.piece(Buffer.from('{"jsonrpc"'));
    answer.refuse(refuse("upstream_invalid"));
  });
  const socket = await dial(gate);
  socket.write(post(LEGACY_PING));
  expect(await readUntil(socket)).not.toContain("upstream_invalid");
});

test("a piece waits until the client takes more", async () => {
  const settled: boolean[] = [];
  const gate = await front(async (_, answer) => {
    answer.head(200, SSE);
    for (let i = 0; i < 24; i++) {
      const more = answer.piece(MEBIBYTE);
      settled.push(more === undefined);
      await more;
    }
    answer.last(event("end"));
  });
  const socket = await dial(gate);
  socket.pause();
  socket.write(post(LEGACY_PING));
  await new Promise((resolve) => setTimeout(resolve, 300));
  const before = settled.length;
  expect(before).toBeLessThan(24);
  const tail = tailOf(socket);
  socket.resume();
  expect(await tail).toContain("data: end");
  expect(settled).toHaveLength(24);
  socket.destroy();
});

test.each(["between pieces", "behind the last piece"])("a client that reads nothing is cut off %s", async (where) => {
  const gone = new Promise<void>((resolve, reject) => {
    void front(
      async (_, answer) => {
        answer.gone.addEventListener("abort", () => resolve());
        answer.head(200, SSE);
        if (where === "between pieces") for (let i = 0; i < 64; i++) await answer.piece(MEBIBYTE);
        else answer.last(Buffer.alloc(64 * 1_048_576));
      },
      { timeouts: { stallMs: 200 } },
    )
      .then(dial)
      .then((socket) => {
        socket.pause();
        socket.write(post(LEGACY_PING));
      }, reject);
  });
  await gone;
});

test.each([10, 8 * 1_048_576])("a slow step behind a piece of %i bytes is not a stalled client", async (bytes) => {
  const gate = await front(
    async (_, answer) => {
      answer.head(200, SSE);
      await answer.piece(Buffer.alloc(bytes, "a"));
      setTimeout(() => answer.last(event("end")), 1_000);
    },
    { timeouts: { stallMs: 400 } },
  );
  const socket = await dial(gate);
  socket.write(post(LEGACY_PING));
  expect(await tailOf(socket)).toContain("data: end");
  socket.destroy();
});

test("a silent stream hears a comment in every period; a JSON answer, or a client that reads nothing, hears none", async () => {
  const answers = new Map<string | null, Answer>();
  const gate = await front(
    async ({ idText }, answer) => {
      answers.set(idText, answer);
      answer.head(200, idText === "8" ? { "content-type": "application/json" } : SSE);
      if (idText !== "9") return;
      await answer.piece(Buffer.alloc(24 * 1_048_576, "a"));
      answer.last(event("end"));
    },
    { timeouts: { heartbeatMs: 60 } },
  );
  const [silent, json, stalled] = [await dial(gate), await dial(gate), await dial(gate)];
  stalled.pause();
  for (const [i, socket] of [silent, json, stalled].entries()) socket.write(post(LEGACY_PING.replace("7", String(7 + i))));
  while (answers.size < 3) await new Promise((resolve) => setTimeout(resolve, 5));

  await readUntil(silent, (text) => text.split(": keep-alive\n\n").length === 4);
  const rest = readUntil(silent, (text) => text.endsWith("0\r\n\r\n"));
  answers.get("7")?.piece(event("1"));
  answers.get("7")?.last(event("2"));
  expect(await rest).toMatch(/data: 1\n\n[\s\S]*data: 2\n\n/);
  const whole = readUntil(json, isWhole);
  answers.get("8")?.last(Buffer.from("{}"));
  expect(parseReply(await whole).body).toBe("2\r\n{}\r\n0\r\n\r\n");
  let comments = 0;
  stalled.on("data", (chunk: Buffer) => {
    if (chunk.includes(": keep-alive\n")) comments += 1;
  });
  const tail = tailOf(stalled);
  stalled.resume();
  expect(await tail).toContain("data: end");
  expect(comments).toBe(0);
  for (const socket of [silent, json, stalled]) socket.destroy();
});

test("gone aborts when the client leaves early, also for whoever asks later, and never after a whole answer", async () => {
  const answers = new Map<string | null, Answer>();
  const left = Promise.withResolvers<void>();
  const gate = await front(({ idText }, answer) => {
    answers.set(idText, answer);
    if (idText === "7") answer.last(Buffer.from("{}"));
    if (idText === "8") answer.gone.addEventListener("abort", () => left.resolve());
  });
  await knock(gate, post(LEGACY_PING));
  const sockets = [await dial(gate), await dial(gate)];
  for (const [i, socket] of sockets.entries()) socket.write(post(`{"jsonrpc":"2.0","id":${8 + i},"method":"ping"}`));
  while (answers.size < 3) await new Promise((resolve) => setTimeout(resolve, 5));
  for (const socket of sockets) socket.destroy();
  await left.promise;
  while ((await connectionsOf(gate)) > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  const aborted = ["7", "8", "9"].map((id) => answers.get(id)?.gone.aborted);
  expect(aborted).toEqual([false, true, true]);
  // Steps that have not noticed yet may go on talking: nobody hears it and nothing breaks.
  const answer = answers.get("9");
  expect(await answer?.piece(event("x"))).toBeUndefined();
  answer?.refuse(refuse("overloaded"));
  answer?.last(null);
  expect(gate.faults).toEqual([]);
});

/** The last bytes of a long answer, without keeping the others. */
function tailOf(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let tail = "";
    socket.on("data", (chunk: Buffer) => {
      tail = (tail + chunk.subarray(-40).toString("latin1")).slice(-40);
      if (tail.endsWith("0\r\n\r\n")) resolve(tail);
    });
    socket.on("close", () => resolve(tail));
  });
}

function connectionsOf({ listener }: Front): Promise<number> {
  return new Promise((resolve) => listener.server.getConnections((_, count) => resolve(count)));
}

test.each(["jsonrpc", "http", "toolResult"] as const)("%s: a refusal before the head has its row's status and length", async (mode) => {
  const gate = await front((_, answer) => answer.refuse(refuse("entitlement_denied")), { mode });
  const call = '{"jsonrpc":"2.0","id":"q","method":"tools/call","params":{"name":"x"}}';
  const reply = await knock(gate, post(call));
  expect(reply.status).toBe(mode === "http" ? 403 : 200);
  expect(Number(reply.headers.get("content-length"))).toBe(reply.body.length);
  expect(JSON.parse(reply.body).id).toBe("q");
  expect(reply.headers.get("cache-control")).toBe("no-store");
});

test.each<[string, string, number]>([
  ["{", "null", -32700],
  ["[]", "null", -32600],
  ['{"jsonrpc":"1.0","id":"x","method":"ping"}', '"x"', -32600],
  ['{"jsonrpc":"2.0","id":3,"method":"tools/call","params":[]}', "3", -32600],
  ['{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{}}', "3", -32602],
])("%s is answered as JSON-RPC with the id %s", async (body, id, code) => {
  const gate = await front(() => {});
  const reply = await knock(gate, post(body));
  expect([reply.status, reply.headers.get("content-type")]).toEqual([400, "application/json"]);
  expect(reply.body).toContain(`"id":${id},"error":{"code":${code},`);
  expect(gate.refused[0]?.sketch).toMatchObject({ idText: id === "null" ? null : id, server: "tickets", era: "legacy" });
});

test("nothing of a malformed body comes back", async () => {
  const gate = await front(() => {});
  const reply = await knock(gate, post('{"canary":1,"canary":2}'));
  expect(parseReply(reply.text).body).not.toContain("canary");
});
